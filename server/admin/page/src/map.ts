// The map: where the regions are, how they fare, and what goes between them. Health is told by colour, shape and
// word; what is allowed is a solid arrow that arrives, what is blocked a dashed one that ends at a barrier.

import { geoGraticule10, geoNaturalEarth1, geoPath, type GeoProjection } from 'd3-geo';
import { feature } from 'topojson-client';
import type { GeometryCollection, Topology } from 'topojson-specification';
import world from 'world-atlas/countries-110m.json';
import { el, renew, say, set, svg, type Child } from './dom.ts';
import { count, country } from './format.ts';
import { at, curve, path, split, thickness, type Curve, type Point } from './geometry.ts';
import places from './places.json';
import type { Flow, Region, Status } from './status.ts';
import { sum } from './verdict.ts';

type Place = readonly [shape: string, longitude: number, latitude: number];
type Health = 'up' | 'down' | 'none'; // none: no region is there, callers are

const placeOf = (code: string): Place | undefined => (places as unknown as Record<string, Place>)[code];
const topology = world as unknown as Topology<{ countries: GeometryCollection }>;
const countries = feature(topology, topology.objects.countries).features;

const GAP = 22; // pixels between a marker's centre and its arrows
const NARROW = 480; // pixels: where there is room for the regions' names and little else
const CROWDED = 70; // pixels between places that stand in the way of each other's names
const LARGEST = 1100; // scale of the projection: closer, the coarse shapes look crude

interface Leg {
  key: string;
  flows: Flow[];
}

interface Lines {
  hairline: SVGPathElement;
  allowed: SVGPathElement;
  arrow: SVGPathElement;
  allowedLabel: SVGGElement;
  blocked: SVGPathElement;
  barrier: SVGPathElement;
  blockedLabel: SVGGElement;
}

export class WorldMap {
  readonly element: HTMLElement;
  private readonly picture = svg('svg', { role: 'img', 'aria-labelledby': 'map-title', focusable: 'false' });
  private readonly title = svg('title', { id: 'map-title' });
  private readonly land = svg('g');
  private readonly arrows = svg('g');
  private readonly markers = svg('g');
  private readonly elsewhere = el('p', { class: 'note' });
  private readonly legs = new Map<string, Lines>();
  private readonly homes = new Map<string, SVGPathElement>(); // the countries' shapes
  private layout = '';
  private points = new Map<string, Point>();
  private status: Status | null = null;

  constructor() {
    this.picture.append(this.title, this.land, this.arrows, this.markers);
    const frame = el('div', { class: 'map' }, this.picture);
    this.element = el('div', {}, frame, legend(), this.elsewhere);
    new ResizeObserver(() => this.draw()).observe(frame);
  }

  show(status: Status): void {
    this.status = status;
    this.draw();
  }

  private draw(): void {
    const s = this.status;
    const frame = this.picture.parentElement;
    if (!s || !frame || frame.clientWidth === 0) return;
    const width = frame.clientWidth;
    const height = frame.clientHeight;
    const codes = jurisdictions(s);
    const legs = legsOf(s.flows);
    const layout = JSON.stringify([width, height, codes, legs.map((l) => l.key)]);
    if (layout !== this.layout) {
      this.layout = layout;
      this.lay(codes, legs, s.regions, width, height);
    }
    for (const leg of legs) this.showLeg(leg);
    this.showMarkers(s, width);
    say(this.title, inWords(s));
    const off = codes.filter((c) => !this.points.has(c));
    say(this.elsewhere, off.length > 0 ? `Not on this map: ${off.map(country).join(', ')}.` : '');
  }

  // lay draws what changes with the size and with who is on the map.
  private lay(codes: string[], legs: Leg[], regions: Region[], width: number, height: number): void {
    set(this.picture, 'viewBox', `0 0 ${width} ${height}`);
    const projection = project(codes, width, height);
    this.points = new Map();
    for (const code of codes) {
      const place = placeOf(code);
      const point = place && projection([place[1], place[2]]);
      if (point) this.points.set(code, point);
    }
    const draw = geoPath(projection).digits(1);
    const home = new Set(regions.map((r) => placeOf(r.jurisdiction)?.[0]));
    this.homes.clear();
    this.land.replaceChildren(svg('path', { class: 'graticule', d: draw(geoGraticule10()) ?? '' }));
    for (const c of countries) {
      const shape = svg('path', { class: home.has(String(c.id)) ? 'land home' : 'land', d: draw(c) ?? '' });
      this.homes.set(String(c.id), shape);
      this.land.append(shape);
    }
    this.legs.clear();
    this.arrows.replaceChildren();
    for (const leg of legs) this.layLeg(leg);
  }

  private layLeg(leg: Leg): void {
    const [from, to] = [leg.flows[0]?.from ?? '', leg.flows[0]?.to ?? ''];
    const [a, b] = [this.points.get(from), this.points.get(to)];
    if (!a || !b || from === to) return;
    const through = curve(a, b, 0.13, 36, GAP);
    const against = curve(a, b, 0.36, 110, GAP);
    const [first, rest] = split(against, 0.5);
    const stop = at(against, 0.5);
    const tip = at(through, 1);
    const lines: Lines = {
      hairline: svg('path', { class: 'hairline', d: path(rest) }),
      blocked: svg('path', { class: 'blocked', d: path(first) }),
      barrier: svg('path', { class: 'barrier', d: 'M0 -11V11M5 -11V11', transform: turn(stop) }),
      blockedLabel: label('blocked', below(against, stop.point)),
      allowed: svg('path', { class: 'allowed', d: path(through) }),
      arrow: svg('path', { class: 'arrow', d: 'M1 0L-11 -6V6Z', transform: turn(tip) }),
      allowedLabel: label('allowed', at(through, 0.5).point),
    };
    this.arrows.prepend(lines.hairline, lines.blocked, lines.barrier, lines.allowed, lines.arrow);
    // Where two places nearly touch there is no room for labels; the table beneath has the numbers.
    if (Math.hypot(a[0] - b[0], a[1] - b[1]) > 2 * CROWDED) this.arrows.append(lines.blockedLabel, lines.allowedLabel);
    this.legs.set(leg.key, lines);
  }

  private showLeg(leg: Leg): void {
    const lines = this.legs.get(leg.key);
    if (!lines) return;
    const { allowed, blocked } = sum(leg.flows);
    lines.allowed.classList.toggle('idle', allowed === 0);
    set(lines.allowed, 'stroke-width', String(thickness(allowed)));
    toggle(allowed > 0, lines.arrow, lines.allowedLabel);
    write(lines.allowedLabel, `${count(allowed)} allowed`);
    set(lines.blocked, 'stroke-width', String(thickness(blocked)));
    toggle(blocked > 0, lines.hairline, lines.blocked, lines.barrier, lines.blockedLabel);
    write(lines.blockedLabel, `${count(blocked)} blocked`);
  }

  private showMarkers(s: Status, width: number): void {
    for (const code of new Set(s.regions.map((r) => r.jurisdiction))) {
      const down = s.regions.some((r) => r.jurisdiction === code && !r.up);
      this.homes.get(placeOf(code)?.[0] ?? '')?.classList.toggle('down', down);
    }
    const model = [...this.points].map(([code, point]) => ({ code, point, regions: s.regions.filter((r) => r.jurisdiction === code).map(({ region, up }) => ({ region, up })) }));
    renew(this.markers, [model, width], () => model.map((m) => marker(m.code, m.point, m.regions, width, above(m.point, this.points.values()))));
  }
}

function legend(): HTMLElement {
  const line = (kind: string, text: string): HTMLElement =>
    el('span', {}, svg('svg', { class: 'key', viewBox: '0 0 44 14', 'aria-hidden': 'true' }, ...keys(kind)), text);
  return el('p', { class: 'legend' }, line('allowed', 'allowed by consent'), line('blocked', 'blocked at the border'));
}

function keys(kind: string): Node[] {
  if (kind === 'allowed') return [svg('path', { class: 'allowed still', d: 'M2 7H34', 'stroke-width': 2.5 }), svg('path', { class: 'arrow', d: 'M43 7L32 1V13Z' })];
  return [svg('path', { class: 'blocked', d: 'M2 7H34', 'stroke-width': 2.5 }), svg('path', { class: 'barrier', d: 'M36 1V13M41 1V13' })];
}

function jurisdictions(s: Status): string[] {
  const codes = new Set(s.regions.map((r) => r.jurisdiction));
  for (const f of s.flows) if (f.allowedTotal + f.blockedTotal > 0) codes.add(f.from).add(f.to);
  codes.delete('');
  return [...codes].sort();
}

// legsOf sums up flows by where they go. Between places that no region is at, only what has moved is shown.
function legsOf(flows: Flow[]): Leg[] {
  const legs = new Map<string, Leg>();
  for (const f of flows) {
    const key = `${f.from}>${f.to}`;
    const leg = legs.get(key) ?? { key, flows: [] };
    leg.flows.push(f);
    legs.set(key, leg);
  }
  return [...legs.values()];
}

// project chooses the part of the world that holds every place, with room around it for names and arrows.
function project(codes: string[], width: number, height: number): GeoProjection {
  const at = codes.map(placeOf).filter((p) => p !== undefined).map(([, longitude, latitude]): [number, number] => [longitude, latitude]);
  const projection = geoNaturalEarth1().rotate([-middle(at.map((p) => p[0])), 0]);
  if (at.length === 0) return projection.fitExtent([[0, 0], [width, height]], { type: 'Sphere' });
  const side = width < NARROW ? 46 : Math.min(width * 0.2, 190);
  projection.fitExtent([[side, height * 0.3], [width - side, height * 0.7]], { type: 'MultiPoint', coordinates: at });
  if (!(projection.scale() < LARGEST)) {
    const x = at.reduce((sum, p) => sum + p[0], 0) / at.length;
    const y = at.reduce((sum, p) => sum + p[1], 0) / at.length;
    projection.scale(LARGEST).center([x + projection.rotate()[0], y]).translate([width / 2, height / 2]);
  }
  return projection;
}

// middle is the longitude halfway between the ends of the shortest stretch that holds all: places on both sides
// of the Pacific are shown with the Pacific between them.
function middle(longitudes: number[]): number {
  const sorted = [...longitudes].sort((a, b) => a - b);
  let [widest, start] = [-1, sorted[0] ?? 0];
  sorted.forEach((l, i) => {
    const next = sorted[i + 1] ?? (sorted[0] ?? 0) + 360;
    if (next - l > widest) [widest, start] = [next - l, next];
  });
  return ((start + (360 - widest) / 2 + 540) % 360) - 180;
}

// below is where a label stands beside a barrier: on the outer side of the bow.
function below(c: Curve, p: Point): Point {
  const [cx, cy] = [c.control[0] - p[0], c.control[1] - p[1]];
  const length = Math.hypot(cx, cy) || 1;
  return [p[0] + (cx / length) * 24, p[1] + (cy / length) * 24];
}

const turn = ({ point, degrees }: { point: Point; degrees: number }): string => `translate(${point[0].toFixed(1)} ${point[1].toFixed(1)}) rotate(${degrees.toFixed(1)})`;

function label(kind: string, at: Point): SVGGElement {
  return svg('g', { class: `label ${kind}`, transform: `translate(${at[0].toFixed(1)} ${at[1].toFixed(1)})` }, svg('rect', { rx: 10, y: -10, height: 20 }), svg('text', { 'text-anchor': 'middle', dy: '0.34em' }));
}

function write(g: SVGGElement, text: string): void {
  const [rect, words] = [g.children[0], g.children[1] as SVGTextElement];
  if (!rect || words.textContent === text) return;
  say(words, text);
  const width = words.getComputedTextLength() + 18;
  set(rect, 'width', width.toFixed(1));
  set(rect, 'x', (-width / 2).toFixed(1));
}

function toggle(visible: boolean, ...elements: SVGElement[]): void {
  for (const e of elements) set(e, 'visibility', visible ? 'visible' : 'hidden');
}

// above says whether a place's name stands above it: another place is close beneath.
function above([x, y]: Point, others: Iterable<Point>): boolean {
  return [...others].some(([ox, oy]) => (ox !== x || oy !== y) && oy >= y && Math.hypot(ox - x, oy - y) < CROWDED);
}

function marker(code: string, [x, y]: Point, regions: { region: string; up: boolean }[], width: number, upwards: boolean): Child {
  const health: Health = regions.length === 0 ? 'none' : regions.every((r) => r.up) ? 'up' : 'down';
  const names = regions.map((r) => r.region).join(', ');
  const state = { up: 'up', down: 'DOWN', none: 'callers only' }[health];
  const g = svg('g', { class: `marker ${health}`, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})` }, ...symbol(health, 13));
  const lines = names === '' ? [country(code)] : [names, width < NARROW ? state : `${country(code)} · ${state}`];
  // Near a side of the map, names are written towards the middle.
  const anchor = x < 90 ? 'start' : x > width - 90 ? 'end' : 'middle';
  const shift = anchor === 'start' ? -14 : anchor === 'end' ? 14 : 0;
  lines.forEach((line, i) => g.append(svg('text', { class: names !== '' && i === 0 ? 'name' : 'state', 'text-anchor': anchor, x: shift, y: upwards ? -4 - 17 * (lines.length - i) : 34 + 17 * i }, line)));
  return g;
}

// symbol is a circle with a check for what is up, an octagon with a cross for what is down, a ring for the rest.
export function symbol(health: Health, r: number): SVGElement[] {
  const n = (x: number): string => (x * r).toFixed(1);
  if (health === 'none') return [svg('circle', { class: 'ring', r: r * 0.6 })];
  if (health === 'up') return [svg('circle', { class: 'body', r }), svg('path', { class: 'sign', d: `M${n(-0.45)} ${n(0.02)}L${n(-0.12)} ${n(0.36)}L${n(0.46)} ${n(-0.34)}` })];
  const corners = [...Array(8).keys()].map((i) => {
    const angle = ((i + 0.5) * Math.PI) / 4;
    return `${n(1.15 * Math.cos(angle))} ${n(1.15 * Math.sin(angle))}`;
  });
  return [svg('path', { class: 'body', d: `M${corners.join('L')}Z` }), svg('path', { class: 'sign', d: `M${n(-0.38)} ${n(-0.38)}L${n(0.38)} ${n(0.38)}M${n(0.38)} ${n(-0.38)}L${n(-0.38)} ${n(0.38)}` })];
}

function inWords(s: Status): string {
  const regions = s.regions.map((r) => `Region ${r.region}, ${country(r.jurisdiction)}, is ${r.up ? 'up' : 'down'}.`);
  const legs = legsOf(s.flows).map((l) => {
    const { allowed, blocked } = sum(l.flows);
    const [from, to] = l.key.split('>').map(country);
    return `From ${from} to ${to}: ${count(blocked)} blocked, ${count(allowed)} allowed.`;
  });
  return [...regions, ...legs].join(' ');
}
