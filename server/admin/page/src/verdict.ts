// The sentence at the top: what somebody woken at night must know first. It is derived from the answer alone.

import { clock, count, country, sentence, within } from './format.ts';
import type { Flow, Region, Status } from './status.ts';

// asking: nothing is known yet · silent: the gateway does not answer, what is shown is old · down: a region does
// not serve · warning: something is wrong, and every region serves · well.
export type State = 'asking' | 'silent' | 'down' | 'warning' | 'well';

export interface Verdict {
  state: State;
  headline: string;
  detail: string;
  problems: string[];
}

export interface Sum {
  allowed: number;
  blocked: number;
  bytes: number;
  allowedTotal: number;
  blockedTotal: number;
  bytesTotal: number;
}

// sum adds flows up. Account data names nobody and needs no consent: what crosses of it is not counted as allowed by
// consent, and stands in the table of flows alone.
export function sum(flows: Flow[]): Sum {
  const total = { allowed: 0, blocked: 0, bytes: 0, allowedTotal: 0, blockedTotal: 0, bytesTotal: 0 };
  for (const f of flows) {
    total.blocked += f.blocked;
    total.blockedTotal += f.blockedTotal;
    if (f.dataClass === 'account data') continue;
    total.allowed += f.allowed;
    total.bytes += f.bytes;
    total.allowedTotal += f.allowedTotal;
    total.bytesTotal += f.bytesTotal;
  }
  return total;
}

// ofBorders says what was blocked and allowed.
export function ofBorders(s: Status): string {
  const { allowed, blocked } = sum(s.flows);
  const when = within(s.windowSeconds);
  if (allowed === 0 && blocked === 0) return `nothing crossed a border, and nothing had to be blocked, ${when}`;
  const crossed = allowed === 0 ? 'none allowed' : `${count(allowed)} allowed by consent`;
  return `${blocked === 0 ? 'none' : count(blocked)} blocked, ${crossed} ${when}`;
}

export function verdict(status: Status | null, silentSince: Date | null): Verdict {
  if (silentSince) {
    return {
      state: 'silent',
      headline: `No answer since ${clock(silentSince)}`,
      detail: status ? 'What is shown below is as of then, not of now.' : 'The gateway has not answered yet. This page goes on asking.',
      problems: [],
    };
  }
  if (!status) return { state: 'asking', headline: 'Asking the gateway …', detail: '', problems: [] };
  const down = status.regions.filter((r) => !r.up);
  if (down.length > 0) return ofDown(status, down);
  if (status.problems.length > 0) {
    const [first = '', ...more] = status.problems;
    return { state: 'warning', headline: `Attention: ${first}`, detail: `Every region answers, and data stays home: ${ofBorders(status)}.`, problems: more.map(sentence) };
  }
  return { state: 'well', headline: `Data stays home: ${ofBorders(status)}`, detail: serves(status), problems: [] };
}

function ofDown(status: Status, down: Region[]): Verdict {
  const names = down.map((r) => r.region);
  const which = names.length === 1 ? `Region ${names[0]} is down` : `Regions ${names.join(' and ')} are down`;
  const parts = down.length === 1 ? (down[0]?.downParts ?? []) : [];
  const refused = names.length === 1 ? 'Its data is refused, and no other region stands in for it.' : 'Their data is refused, and no other region stands in for them.';
  return {
    state: 'down',
    headline: which + (parts.length > 0 ? `: no answer from its ${parts.join(', ')}` : ''),
    detail: `${refused} ${sentence(ofBorders(status))}`,
    // What the headline has said is not said again.
    problems: status.problems.filter((p) => parts.length === 0 || !p.startsWith(`region ${names[0] ?? ''}: no answer`)).map(sentence),
  };
}

function serves(status: Status): string {
  const places = [...new Set(status.regions.map((r) => country(r.jurisdiction)))];
  return places.length === 0 ? '' : `Every region answers: ${places.join(', ')}.`;
}

// mixed lists the jurisdictions whose plaintext can exist in this one process, when there are several.
export function mixed(status: Status): string[] {
  if (!status.mixedJurisdictions) return [];
  const here = new Set(status.regions.filter((r) => r.served).map((r) => r.jurisdiction));
  if (status.jurisdiction) here.add(status.jurisdiction);
  return [...here].sort();
}

// Announcer decides what a screen reader is told: a change of state at once, new numbers once a minute at most,
// since the headline's numbers change every second.
export class Announcer {
  private said = '';
  private situation = '';
  private at = 0;

  next(v: Verdict, now: number): string {
    const situation = [v.state, ...v.problems].join();
    if (situation !== this.situation || now - this.at >= 60_000) {
      this.said = [v.headline, ...v.problems].join(' ');
      this.situation = situation;
      this.at = now;
    }
    return this.said;
  }
}
