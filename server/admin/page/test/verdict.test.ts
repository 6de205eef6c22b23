import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clock } from '../src/format.ts';
import { read, type Status } from '../src/status.ts';
import { Announcer, mixed, sum, verdict } from '../src/verdict.ts';
import { answerOf } from './fixture.ts';

const now = new Date('2026-11-24T02:13:05Z');
const scene = (name: string): Status => read(answerOf(name, now));

describe('verdict', () => {
  it('says that data stays home, and how often it was kept there', () => {
    const v = verdict(scene('well'), null);
    assert.equal(v.state, 'well');
    assert.equal(v.headline, 'Data stays home: 14 blocked, 61 allowed by consent in the last minute');
  });

  it('says that nothing happened', () => {
    assert.equal(verdict(scene('idle'), null).headline, 'Data stays home: nothing crossed a border, and nothing had to be blocked, in the last minute');
  });

  it('puts a region that is down before everything', () => {
    const v = verdict(scene('down'), null);
    assert.equal(v.state, 'down');
    assert.equal(v.headline, 'Region us is down: no answer from its rows, audit');
    assert.match(v.detail, /no other region stands in for it\. 14 blocked/);
    assert.deepEqual(v.problems, [], 'the headline has said it');
  });

  it('names each of several regions that are down, and what else is wrong', () => {
    const s = scene('down');
    s.regions.forEach((r) => (r.up = false));
    s.problems.push('region ch: entries could not be recorded');
    const v = verdict(s, null);
    assert.equal(v.headline, 'Regions ch and us are down');
    assert.deepEqual(v.problems, ['Region us: no answer from its rows.', 'Region ch: entries could not be recorded.']);
  });

  it('is never well while the gateway tells of a problem', () => {
    const v = verdict(scene('warning'), null);
    assert.equal(v.state, 'warning');
    assert.equal(v.headline, 'Attention: certificate server: ends within 7 days');
  });

  it('is never well while the gateway does not answer', () => {
    const v = verdict(scene('well'), now);
    assert.equal(v.state, 'silent');
    assert.equal(v.headline, `No answer since ${clock(now)}`);
    assert.doesNotMatch(v.headline + v.detail, /\d+ blocked/);
    assert.match(verdict(null, now).detail, /has not answered yet/);
  });

  it('knows nothing before the first answer', () => {
    assert.equal(verdict(null, null).state, 'asking');
  });
});

describe('sum', () => {
  it('counts no account data as allowed by consent, and whatever was blocked', () => {
    const [flow] = scene('well').flows;
    assert.ok(flow);
    const account = { ...flow, dataClass: 'account data', allowed: 100, blocked: 7, bytes: 1e9 };
    const t = sum([flow, account]);
    assert.deepEqual([t.allowed, t.blocked, t.bytes], [flow.allowed, flow.blocked + 7, flow.bytes]);
  });
});

describe('mixed', () => {
  it('lists the jurisdictions of one process, when there are several', () => {
    assert.deepEqual(mixed(scene('well')), ['CH', 'US']);
    assert.deepEqual(mixed(scene('peers')), []);
  });
});

describe('Announcer', () => {
  it('tells a change at once and new numbers once a minute', () => {
    const a = new Announcer();
    const well = verdict(scene('well'), null);
    assert.equal(a.next(well, 0), well.headline);
    const later = { ...well, headline: 'Data stays home: 15 blocked' };
    assert.equal(a.next(later, 1000), well.headline, 'new numbers after a second');
    assert.equal(a.next(verdict(null, now), 2000), `No answer since ${clock(now)}`);
    assert.equal(a.next(later, 3000), later.headline);
    assert.equal(a.next(well, 62_999), later.headline);
    assert.equal(a.next(well, 63_000), well.headline);
  });

  it('tells of another problem at once', () => {
    const a = new Announcer();
    const one = verdict(scene('warning'), null);
    a.next(one, 0);
    assert.match(a.next({ ...one, problems: ['Another.'] }, 1000), /Another\./);
  });
});
