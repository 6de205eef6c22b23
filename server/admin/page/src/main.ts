// The status page: asks, and shows what is answered. It derives everything from GET /status.

import './style.css';
import { Charts } from './charts.ts';
import { el, renew, say, svg } from './dom.ts';
import { clock, country, span } from './format.ts';
import { WorldMap } from './map.ts';
import * as panels from './panels.ts';
import { Poll } from './poll.ts';
import type { Sample, Status } from './status.ts';
import { button } from './theme.ts';
import { Announcer, verdict, type State, type Verdict } from './verdict.ts';

const WINDOWS = [[60, '1 min'], [300, '5 min'], [900, '15 min']] as const;

// The sign of each state differs in shape, too; the tab's icon is the same.
const HOUSE = 'M2.5 11.5 12 3l9.5 8.5M5 9.5V21h14V9.5';
const SIGNS: Record<State, string[]> = {
  asking: [HOUSE],
  silent: [HOUSE, 'M9 18 15 12M9 12 15 18'],
  down: ['M8 2h8l6 6v8l-6 6H8l-6-6V8Z', 'M8 8l8 8M16 8l-8 8'],
  warning: ['M12 3 1.8 21h20.4Z', 'M12 10v5M12 17.6v.6'],
  well: [HOUSE, 'M8.5 14.5 11 17l4.5-5'],
};
const ICON_COLORS: Record<State, string> = { asking: '#6b7280', silent: '#6b7280', down: '#d33', warning: '#c77700', well: '#1d8a55' };

class Page {
  private readonly headline = el('h1');
  private readonly detail = el('p', { class: 'detail' });
  private readonly problems = el('ul', { class: 'problems' });
  private readonly sign = svg('svg', { class: 'sign', viewBox: '0 0 24 24', 'aria-hidden': 'true' });
  private readonly announced = el('p', { class: 'unseen', 'aria-live': 'polite', id: 'announced' });
  private readonly who = el('p', { class: 'who' });
  private readonly fresh = el('p', { class: 'fresh' });
  private readonly announcer = new Announcer();
  private readonly map = new WorldMap();
  private readonly charts = new Charts();
  private readonly panels: panels.Panel[] = [];
  private readonly poll = new Poll({ answered: (s, h, at) => this.answered(s, h, at), silent: (since) => this.silent(since) }, WINDOWS[0][0]);
  private status: Status | null = null;

  start(root: HTMLElement): void {
    root.append(this.header(), this.main(), footer());
    this.rule(verdict(null, null));
    this.poll.start();
  }

  private use(p: panels.Panel): HTMLElement {
    this.panels.push(p);
    return p.element;
  }

  private header(): HTMLElement {
    const logo = svg('svg', { class: 'logo', viewBox: '0 0 24 24', 'aria-hidden': 'true' }, svg('path', { d: HOUSE }), svg('path', { d: 'M10 21v-6h4v6' }));
    const name = el('div', { class: 'name' }, logo, el('strong', {}, 'Domicile'), this.who);
    return el('header', {}, name, el('div', { class: 'tools' }, this.fresh, this.windows(), button(() => this.charts.recolor())));
  }

  private windows(): HTMLElement {
    const choices = WINDOWS.map(([seconds, name], i) => {
      const input = el('input', { type: 'radio', name: 'window', value: seconds, checked: i === 0 });
      input.addEventListener('change', () => this.poll.look(seconds));
      return el('label', {}, input, el('span', {}, name));
    });
    return el('fieldset', { class: 'windows' }, el('legend', { class: 'unseen' }, 'Counts and rates over the last'), ...choices);
  }

  private main(): HTMLElement {
    const words = el('div', {}, this.headline, this.detail, this.problems);
    const hero = el('section', { class: 'card hero' }, el('div', { class: 'verdict' }, this.sign, words), this.use(panels.tiles()), this.use(panels.notice()));
    const border = el('section', { class: 'card world' }, el('h2', {}, 'Borders'), this.map.element);
    const charts = el('section', { class: 'charts', 'aria-labelledby': 'charts' }, el('h2', { id: 'charts', class: 'unseen' }, 'The last 15 minutes'), ...this.charts.charts.map((c) => c.element));
    const live = el('div', { class: 'live' }, hero, border, this.use(panels.regions()), charts, this.charts.table,
      this.use(panels.flows()), this.use(panels.clauses()), this.use(panels.audit()), this.use(panels.consents()),
      this.use(panels.methods()), el('div', { class: 'stack' }, this.use(panels.saturation()), this.use(panels.policies())));
    return el('main', {}, this.announced, live);
  }

  private answered(status: Status, history: Sample[], at: Date): void {
    const first = this.status === null;
    this.status = status;
    if (first) document.documentElement.classList.add('known');
    this.rule(verdict(status, null));
    say(this.who, [status.gateway, country(status.jurisdiction), status.version].filter((t) => t !== '').join(' · '));
    const up = status.startTime && status.time ? `, up for ${span((status.time.getTime() - status.startTime.getTime()) / 1000)}` : '';
    say(this.fresh, `Live at ${clock(at)}${up}`);
    this.map.show(status);
    for (const p of this.panels) p.show(status);
    this.charts.show(history, status.time ?? at);
  }

  private silent(since: Date): void {
    this.rule(verdict(this.status, since));
    say(this.fresh, `No answer since ${clock(since)}`);
  }

  private rule(v: Verdict): void {
    const root = document.documentElement;
    if (root.dataset.state !== v.state) {
      root.dataset.state = v.state;
      this.sign.replaceChildren(...SIGNS[v.state].map((d) => svg('path', { d })));
      document.querySelector('link[rel=icon]')?.setAttribute('href', icon(v.state));
    }
    say(this.headline, v.headline);
    say(this.detail, v.detail);
    renew(this.problems, v.problems, () => v.problems.map((p) => el('li', {}, p)));
    this.problems.hidden = v.problems.length === 0;
    say(this.announced, this.announcer.next(v, Date.now()));
    document.title = `${v.state === 'well' ? 'Data stays home' : v.headline} · Domicile`;
  }
}

function icon(state: State): string {
  const paths = SIGNS[state].map((d) => `<path d='${d}'/>`).join('');
  return 'data:image/svg+xml,' + encodeURIComponent(`<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' stroke='${ICON_COLORS[state]}' stroke-width='2.6' stroke-linecap='round' stroke-linejoin='round'>${paths}</svg>`);
}

function footer(): HTMLElement {
  const link = (to: string, name: string): HTMLElement => el('li', {}, el('a', { href: to }, name));
  return el('footer', {},
    el('p', {}, 'Counts and rates are this gateway’s own, not its replicas’. Nothing here names a tenant, a person, a caller or an object.'),
    el('ul', {}, link('/metrics', 'Metrics'), link('/readyz', 'Ready'), link('/healthz', 'Healthy'), link('/status', 'Status as JSON')));
}

const root = document.getElementById('page');
if (root) new Page().start(root);
