// The last fifteen minutes as lines. Two lines of one chart differ in dashes as well as in colour, and all
// numbers stand in a table beneath.

import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';
import { el, say, set, Table } from './dom.ts';
import { bytes, clock, rate, seconds } from './format.ts';
import type { Sample } from './status.ts';

const SPAN = 15 * 60; // seconds
const HEIGHT = 132;

interface Line {
  name: string;
  color: 'calls' | 'bad' | 'allowed' | 'blocked'; // a variable of the style sheet
  dash?: number[];
  of: (s: Sample) => number;
}

interface Kind {
  title: string;
  unit: string;
  text: (n: number) => string;
  least: number; // the axis reaches this far at least: noise near zero must not look like much
  lines: [Line, ...Line[]];
}

const KINDS: Kind[] = [
  {
    title: 'Calls', unit: 'per second', text: rate, least: 1,
    lines: [
      { name: 'answered', color: 'calls', of: (s) => s.callsPerSecond },
      { name: 'failed', color: 'bad', dash: [5, 4], of: (s) => s.errorsPerSecond },
    ],
  },
  {
    title: 'Time to answer', unit: 'of calls', text: seconds, least: 0.005,
    lines: [
      { name: 'median', color: 'calls', of: (s) => s.p50Seconds },
      { name: '99 %', color: 'blocked', dash: [5, 4], of: (s) => s.p99Seconds },
    ],
  },
  {
    title: 'At the border', unit: 'accesses per second', text: rate, least: 1,
    lines: [
      { name: 'allowed', color: 'allowed', of: (s) => s.borderAllowedPerSecond },
      { name: 'blocked', color: 'blocked', dash: [5, 4], of: (s) => s.borderBlockedPerSecond },
    ],
  },
  {
    title: 'Across the border', unit: 'per second', text: bytes, least: 1000,
    lines: [{ name: 'bytes allowed', color: 'allowed', of: (s) => s.borderBytesPerSecond }],
  },
];

// Group is the charts, and the table of what they show.
export class Charts {
  readonly charts = KINDS.map((k) => new Chart(k));
  readonly table: HTMLElement;
  private readonly rows = new Table<Sample>('Every sample of the last 15 minutes, newest first', [
    { head: 'Time', text: (s) => clock(s.time), kind: 'name' },
    ...KINDS.flatMap((k) => k.lines.map((l) => ({ head: `${k.title}: ${l.name}`, text: (s: Sample) => k.text(l.of(s)), kind: 'number' as const }))),
  ], 'No sample has been taken yet.');
  private samples: Sample[] = [];
  private shownAt = 0;

  constructor() {
    const details = el('details', { class: 'numbers' }, el('summary', {}, 'The numbers behind the charts'), this.rows.element);
    details.addEventListener('toggle', () => this.showTable());
    this.table = details;
  }

  show(samples: Sample[], now: Date): void {
    this.samples = samples;
    for (const c of this.charts) c.show(samples, now);
    const newest = samples.at(-1)?.time.getTime() ?? 0;
    if (newest !== this.shownAt) this.showTable();
    this.shownAt = newest;
  }

  recolor(): void {
    for (const c of this.charts) c.recolor();
  }

  private showTable(): void {
    if (this.table.hasAttribute('open')) this.rows.show([...this.samples].reverse());
  }
}

class Chart {
  readonly element: HTMLElement;
  private readonly frame = el('div', { class: 'plot', role: 'img' });
  private readonly values: HTMLElement[];
  private plot: uPlot | undefined;
  private data: uPlot.AlignedData = [[]];
  private now = Date.now() / 1000;
  private hovered: number | null = null;

  constructor(private readonly kind: Kind) {
    this.values = kind.lines.map(() => el('b'));
    const keys = kind.lines.map((l, i) => el('span', { class: `series ${l.color}${l.dash ? ' dashed' : ''}` }, l.name, ' ', this.values[i] ?? ''));
    this.element = el('section', { class: 'card chart' }, el('h3', {}, kind.title, el('small', {}, ' ', kind.unit)), el('p', { class: 'legend' }, ...keys), this.frame);
    new ResizeObserver(() => this.resize()).observe(this.frame);
  }

  show(samples: Sample[], now: Date): void {
    this.now = now.getTime() / 1000;
    this.data = [samples.map((s) => s.time.getTime() / 1000), ...this.kind.lines.map((l) => samples.map((s) => finite(l.of(s))))];
    if (this.plot) this.plot.setData(this.data);
    else this.make();
    this.tell();
    set(this.frame, 'aria-label', this.inWords());
  }

  recolor(): void {
    this.plot?.destroy();
    this.plot = undefined;
    if (this.data[0].length > 0) this.make();
  }

  private resize(): void {
    if (this.plot && this.frame.clientWidth > 0) this.plot.setSize({ width: this.frame.clientWidth, height: HEIGHT });
  }

  // tell writes the newest values, or those under the pointer, beside the lines' names.
  private tell(): void {
    const i = this.hovered ?? this.data[0].length - 1;
    this.values.forEach((v, n) => say(v, this.kind.text(this.data[n + 1]?.[i] ?? NaN)));
  }

  private inWords(): string {
    const lines = this.kind.lines.map((l, n) => {
      const known = (this.data[n + 1] ?? []).filter((v) => typeof v === 'number');
      return known.length === 0 ? `${l.name}: nothing yet` : `${l.name}: now ${this.kind.text(known.at(-1) ?? NaN)}, at most ${this.kind.text(Math.max(...known))}`;
    });
    return `${this.kind.title} ${this.kind.unit}, last 15 minutes. ${lines.join('; ')}.`;
  }

  private make(): void {
    if (this.frame.clientWidth === 0) return;
    const color = colors(this.frame);
    const axis: uPlot.Axis = { stroke: color('muted'), font: '11px system-ui, sans-serif', grid: { stroke: color('rule'), width: 1 }, ticks: { show: false } };
    this.plot = new uPlot({
      width: this.frame.clientWidth,
      height: HEIGHT,
      padding: [8, 4, 0, 0],
      legend: { show: false },
      cursor: { sync: { key: 'domicile' }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
      scales: { x: { time: true, range: () => [this.now - SPAN, this.now] }, y: { range: (_, __, max) => [0, Math.max(this.kind.least, (max || 0) * 1.08)] } },
      axes: [
        { ...axis, size: 22, space: 60, values: (_, ticks) => ticks.map((t) => clock(new Date(t * 1000)).slice(0, 5)) },
        { ...axis, size: 52, space: 32, values: (_, ticks) => ticks.map((t) => this.kind.text(t)) },
      ],
      series: [{}, ...this.kind.lines.map((l): uPlot.Series => ({
        label: l.name, stroke: color(l.color), width: 2, points: { show: false }, spanGaps: false,
        ...(l.dash ? { dash: l.dash } : { fill: color(l.color + '-soft') }),
      }))],
      hooks: { setCursor: [(u) => { this.hovered = u.cursor.idx ?? null; this.tell(); }] },
    }, this.data, this.frame);
  }
}

const finite = (n: number): number | null => (Number.isFinite(n) ? n : null);

// colors reads the style sheet's variables as they are now, light or dark: a canvas knows no variables.
function colors(near: HTMLElement): (name: string) => string {
  const probe = near.appendChild(el('i', { hidden: true }));
  const known = new Map<string, string>();
  queueMicrotask(() => probe.remove());
  return (name) => {
    const have = known.get(name);
    if (have) return have;
    probe.style.color = `var(--${name})`;
    const value = getComputedStyle(probe).color;
    known.set(name, value);
    return value;
  };
}
