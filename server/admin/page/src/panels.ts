// The cards around the map and the charts. Each shows one answer, and is made once.

import { el, renew, say, set, svg, Table, type Child } from './dom.ts';
import { ago, bytes, capital, count, counted, country, rate, seconds, sentence, UNKNOWN, within } from './format.ts';
import { symbol } from './map.ts';
import type { Consent, Method, Region, Status } from './status.ts';
import { mixed, sum } from './verdict.ts';

export interface Panel {
  element: HTMLElement;
  show: (status: Status) => void;
}

function card(title: string, className: string, ...children: Child[]): HTMLElement {
  return el('section', { class: `card ${className}` }, el('h2', {}, title), ...children);
}

function chip(r: Region): HTMLElement {
  const health = r.up ? 'up' : 'down';
  const sign = svg('svg', { viewBox: '-12 -12 24 24', 'aria-hidden': 'true', class: `marker ${health}` }, ...symbol(health, 9));
  return el('span', { class: `chip ${health}` }, sign, r.up ? 'up' : 'down');
}

const facts = (...pairs: [string, string | Node][]): HTMLElement =>
  el('dl', {}, ...pairs.map(([name, value]) => el('div', {}, el('dt', {}, name), el('dd', {}, value))));

export function tiles(): Panel {
  const tile = (name: string, className: string): { box: HTMLElement; number: HTMLElement; note: HTMLElement } => {
    const [number, note] = [el('b'), el('small')];
    return { box: el('div', { class: `tile ${className}` }, el('span', {}, name), number, note), number, note };
  };
  const blocked = tile('Blocked at the border', 'blocked');
  const allowed = tile('Allowed by consent', 'allowed');
  const crossed = tile('Crossed a border', '');
  const log = tile('Entries in the audit log', '');
  const calls = tile('Calls', '');
  return {
    element: el('div', { class: 'tiles' }, blocked.box, allowed.box, crossed.box, log.box, calls.box),
    show(s) {
      const t = sum(s.flows);
      say(blocked.number, count(t.blocked));
      say(blocked.note, `${count(t.blockedTotal)} since the start`);
      say(allowed.number, count(t.allowed));
      say(allowed.note, `${count(t.allowedTotal)} since the start`);
      say(crossed.number, bytes(t.bytes));
      say(crossed.note, `${bytes(t.bytesTotal)} since the start`);
      const [number, note] = ofLogs(s);
      say(log.number, number);
      say(log.note, note);
      say(calls.number, `${rate(s.calls.perSecond)}/s`);
      say(calls.note, `${rate(s.calls.errorsPerSecond)}/s failed, 99 % within ${seconds(s.calls.p99Seconds)}`);
    },
  };
}

// ofLogs tells of the audit logs that this gateway leads how many entries they hold, and how fresh they are.
function ofLogs(s: Status): [string, string] {
  const logs = s.regions.map((r) => r.audit).filter((a) => a.known);
  if (logs.length === 0) return [UNKNOWN, 'known to other gateways'];
  const waiting = logs.reduce((n, a) => n + a.pendingEntries, 0);
  const times = logs.flatMap((a) => (a.witnessedTime ? [a.witnessedTime.getTime()] : []));
  const verified = times.length === 0 ? 'not verified by a witness' : `verified ${ago(new Date(Math.min(...times)), s.time)}`;
  return [count(logs.reduce((n, a) => n + a.checkpointEntries, 0)), `${count(waiting)} waiting, ${verified}`];
}

export function regions(): Panel {
  const list = el('div', { class: 'regions' });
  return {
    element: list,
    show: (s) => renew(list, [s.regions, s.windowSeconds], () => s.regions.map((r) => regionCard(r, s.windowSeconds))),
  };
}

function regionCard(r: Region, windowSeconds: number): HTMLElement {
  const parts = r.up ? [] : [el('p', { class: 'trouble' }, r.downParts.length > 0 ? `No answer from its ${r.downParts.join(', ')}.` : 'No answer.')];
  const rows: [string, string][] = [['Place', `${country(r.jurisdiction)} (${r.jurisdiction})`], ['Controller', r.controller]];
  if (r.served) {
    rows.push(['Decisions', `${rate(r.decisionsPerSecond)}/s, ${rate(r.deniedPerSecond)}/s denied`]);
    rows.push(['Consents', `${count(r.consentsGranted)} granted, ${count(r.consentsWithdrawn)} withdrawn ${within(windowSeconds)}`]);
    rows.push(['Erasures', r.leads ? `${count(r.erasuresPending)} under way` : 'counted by another gateway']);
  }
  const how = r.served ? `Served here${r.leads ? ', which leads its background work' : '; another gateway leads its background work'}.` : 'Served by other gateways: what they count is not known here.';
  return el('section', { class: `card region ${r.up ? 'up' : 'down'}`, 'data-region': r.region }, el('h2', {}, `Region ${r.region} `, chip(r)), ...parts, facts(...rows), el('p', { class: 'note' }, how));
}

interface FlowRow { way: string; what: string; allowed: string; blocked: string; bytes: string; total: string }

export function flows(): Panel {
  const table = new Table<FlowRow>('What was to cross a border', [
    { head: 'From → to', text: (r) => r.way, kind: 'name' },
    { head: 'Data', text: (r) => r.what },
    { head: 'Allowed', text: (r) => r.allowed, kind: 'number' },
    { head: 'Blocked', text: (r) => r.blocked, kind: 'number' },
    { head: 'Bytes', text: (r) => r.bytes, kind: 'number' },
    { head: 'Since the start', text: (r) => r.total, kind: 'wide' },
  ], 'There is one jurisdiction only, and so no border.');
  const when = el('small');
  const note = el('p', { class: 'note' }, 'Personal information and drives cross with a recorded consent only. Account data, which names nobody, needs none, nor does an order to destroy a drive. The charts count all of it.');
  const element = card('What was to cross a border ', 'flows', table.element, note);
  element.querySelector('h2')?.append(when);
  return {
    element,
    show(s) {
      say(when, within(s.windowSeconds));
      table.show(s.flows.map((f) => ({
        way: `${f.from} → ${f.to}`, what: capital(f.dataClass), allowed: count(f.allowed), blocked: count(f.blocked), bytes: bytes(f.bytes),
        total: f.allowedTotal + f.blockedTotal === 0 ? 'nothing' : `${count(f.allowedTotal)} allowed, ${count(f.blockedTotal)} blocked, ${bytes(f.bytesTotal)}`,
      })));
    },
  };
}

// clauses lists why accesses were blocked, as bars whose lengths are also numbers.
export function clauses(): Panel {
  const list = el('ol', { class: 'bars' });
  return {
    element: card('Why it was blocked', 'clauses', el('p', { class: 'note' }, 'By the clause of the privacy policy that refused.'), list),
    show: (s) => renew(list, [s.blocked, s.windowSeconds], () => bars(s)),
  };
}

function bars(s: Status): Child[] {
  const seen = s.blocked.filter((b) => b.countTotal > 0);
  if (seen.length === 0) return [el('li', { class: 'none' }, 'Nothing has been blocked since the start.')];
  const most = Math.max(...seen.map((b) => b.countTotal));
  return seen.slice(0, 8).map((b) => {
    // In an SVG, since the page's policy allows no style attribute, and a meter cannot be drawn alike everywhere.
    const bar = svg('svg', { class: 'bar', 'aria-hidden': 'true', viewBox: '0 0 100 4', preserveAspectRatio: 'none' }, svg('rect', { class: 'track', width: 100, height: 4 }), svg('rect', { width: (100 * b.countTotal) / most, height: 4 }));
    const name = b.clause === '' || b.clause === 'none' ? 'no clause allows it' : b.clause;
    return el('li', {}, el('b', {}, name), el('span', {}, `${b.from} → ${b.to}`), el('span', { class: 'number' }, `${count(b.count)} ${within(s.windowSeconds)}, ${count(b.countTotal)} in all`), bar);
  });
}

export function audit(): Panel {
  const body = el('div', { class: 'columns' });
  return {
    element: card('Audit log', 'audit', body),
    show: (s) => renew(body, s.regions.map((r) => auditRows(r, s.time)), () => s.regions.map((r) => auditOf(r, s.time))),
  };
}

function auditRows(r: Region, now: Date | null): [string, string][] {
  const a = r.audit;
  return [
    ['Entries under checkpoint', count(a.checkpointEntries)],
    ['Waiting for the next', count(a.pendingEntries)],
    ['Newest checkpoint', ago(a.checkpointTime, now)],
    ['Verified by a witness', a.witnessedTime ? ago(a.witnessedTime, now) : 'not yet'],
    ['Decisions not recorded', a.failures === 0 ? 'none' : count(a.failures)],
    ['Refused by a witness', a.witnessFailures === 0 ? 'never' : counted(a.witnessFailures, 'time')],
  ];
}

function auditOf(r: Region, now: Date | null): HTMLElement {
  if (!r.audit.known) return el('div', {}, el('h3', {}, `Region ${r.region}`), el('p', { class: 'none' }, r.served ? 'Known to the gateway that leads this region.' : 'Known to the gateways that serve this region.'));
  return el('div', {}, el('h3', {}, `Region ${r.region}`), facts(...auditRows(r, now)));
}

export function consents(): Panel {
  const body = el('div', { class: 'columns' });
  const revocation = el('p', { class: 'note' });
  return {
    element: card('Consents', 'consents', body, revocation),
    show(s) {
      renew(body, s.regions.map((r) => [r.region, r.served, r.leads, r.consents]), () => s.regions.map(consentsOf));
      const p99 = s.revocationP99Seconds;
      say(revocation, Number.isNaN(p99) ? `No consent was withdrawn here ${within(s.windowSeconds)}.` : `Withdrawals ${within(s.windowSeconds)} took effect within ${seconds(p99)} (99 of 100).`);
    },
  };
}

function consentsOf(r: Region): HTMLElement {
  const rows = r.consents.filter((c) => c.count > 0);
  const head = el('h3', {}, `Region ${r.region}`);
  if (!r.leads) return el('div', {}, head, el('p', { class: 'none' }, r.served ? 'Counted by the gateway that leads this region.' : 'Counted by the gateways that serve this region.'));
  if (rows.length === 0) return el('div', {}, head, el('p', { class: 'none' }, 'No consent is recorded.'));
  const kinds = [...new Set(rows.map((c) => c.kind))];
  return el('div', {}, head, facts(...kinds.map((k): [string, string] => [capital(k), states(rows.filter((c) => c.kind === k))])));
}

const states = (rows: Consent[]): string => rows.map((c) => `${count(c.count)} ${c.state}`).join(', ');

export function methods(): Panel {
  const table = new Table<Method>('Calls by method', [
    { head: 'Method', text: (m) => `${m.service.split('.').at(-1) ?? ''}/${m.method}`, kind: 'name' },
    { head: 'Calls', text: (m) => count(m.countTotal), kind: 'number' },
    { head: 'Per second', text: (m) => rate(m.rates.perSecond), kind: 'number' },
    { head: 'Denied/s', text: (m) => rate(m.rates.deniedPerSecond), kind: 'number' },
    { head: 'Failed/s', text: (m) => rate(m.rates.errorsPerSecond), kind: 'number' },
    { head: 'Median', text: (m) => seconds(m.rates.p50Seconds), kind: 'number' },
    { head: '99 %', text: (m) => seconds(m.rates.p99Seconds), kind: 'number' },
  ], 'No method has been called since the start.');
  return { element: card('Methods', 'methods', table.element), show: (s) => table.show(s.methods) };
}

export function policies(): Panel {
  const body = el('div', { class: 'columns' });
  return {
    element: card('Policies in force', 'policies', body),
    show: (s) => renew(body, s.regions.map((r) => [r.region, r.policyVersion, r.policyDigest]), () => s.regions.map((r) =>
      el('div', {}, el('h3', {}, `Region ${r.region}`), el('p', {}, r.policyVersion || 'not known here'), el('p', { class: 'digest' }, r.policyDigest)))),
  };
}

export function saturation(): Panel {
  const [connections, inFlight] = [gauge('Connections'), gauge('Calls being handled')];
  return {
    element: card('How full it is', 'saturation', connections.element, inFlight.element),
    show(s) {
      connections.show(s.saturation.connections, s.saturation.connectionsLimit);
      inFlight.show(s.saturation.inFlight, s.saturation.inFlightLimit);
    },
  };
}

function gauge(name: string): { element: HTMLElement; show: (n: number, limit: number) => void } {
  const [text, part] = [el('span', { class: 'number' }), svg('rect', { height: 4, width: 0 })];
  const bar = svg('svg', { class: 'bar', 'aria-hidden': 'true', viewBox: '0 0 100 4', preserveAspectRatio: 'none' }, svg('rect', { class: 'track', width: 100, height: 4 }), part);
  const element = el('div', { class: 'gauge' }, el('b', {}, name), text, bar);
  return {
    element,
    show(n, limit) {
      const known = Number.isFinite(limit) && limit > 0;
      const full = known && Number.isFinite(n) ? Math.min(1, n / limit) : 0;
      say(text, known ? `${count(n)} of ${count(limit)}` : Number.isFinite(n) ? `${count(n)}, no limit` : UNKNOWN);
      set(part, 'width', (100 * full).toFixed(1));
      element.classList.toggle('full', full >= 0.8);
    },
  };
}

// notice says that plaintext of several jurisdictions exists in this one process, where it does.
export function notice(): Panel {
  const text = el('p', { class: 'notice' });
  return {
    element: text,
    show(s) {
      const places = mixed(s);
      text.hidden = places.length < 2;
      say(text, sentence(`this one process serves ${places.map(country).join(' and ')}: plaintext of each can exist in its memory`));
    },
  };
}
