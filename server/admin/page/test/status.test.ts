import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { amount, read, seconds, word } from '../src/status.ts';
import { answerOf } from './fixture.ts';

describe('read', () => {
  const now = new Date('2026-11-24T02:13:05.250Z');

  it('reads 64-bit numbers, which are written as strings, enums, times and durations', () => {
    const s = read(answerOf('well', now), true);
    assert.equal(s.windowSeconds, 60.003);
    assert.equal(s.time?.getTime(), now.getTime());
    assert.equal(s.regions.length, 2);
    assert.equal(s.regions[0]?.audit.checkpointEntries, 18204);
    assert.deepEqual(s.regions[0].consents[0], { kind: 'border crossing', state: 'active', count: 214 });
    assert.equal(s.flows[0]?.dataClass, 'personal information');
    assert.equal(s.flows[0].blocked, 12);
    assert.equal(s.history?.length, 180);
    assert.equal(s.methods[0]?.rates.p99Seconds, 0.0083);
    assert.equal(s.mixedJurisdictions, true);
  });

  it('tells apart no history and an empty one', () => {
    assert.equal(read(answerOf('idle', now)).history, null);
    assert.deepEqual(read(answerOf('idle', now), true).history, []);
  });

  it('takes what is not told for unknown, never for nothing', () => {
    const s = read({ regions: [{ region: 'ch', audit: null }], flows: null });
    assert.ok(Number.isNaN(s.calls.perSecond));
    assert.ok(Number.isNaN(s.saturation.inFlight));
    assert.ok(Number.isNaN(s.regions[0]?.audit.pendingEntries));
    assert.equal(s.regions[0]?.up, false, 'a region that is not said to be up is not up');
    assert.deepEqual(s.flows, []);
    assert.equal(s.time, null);
  });

  it('takes a quantile of 0 for "nothing ended"', () => {
    const s = read(answerOf('idle', now));
    assert.ok(Number.isNaN(s.calls.p50Seconds));
    assert.equal(s.calls.perSecond, 0);
  });

  it('refuses what is no status', () => {
    for (const bad of [null, 'ok', [], {}, { regions: 'all' }]) assert.throws(() => read(bad), /lists no regions/);
  });
});

describe('amount', () => {
  it('reads numbers and strings of numbers, and nothing else', () => {
    assert.equal(amount('9007199254740991'), Number.MAX_SAFE_INTEGER);
    assert.equal(amount(1.5), 1.5);
    for (const bad of ['', ' ', 'x', null, undefined, true, {}]) assert.ok(Number.isNaN(amount(bad)), JSON.stringify(bad));
  });
});

describe('seconds', () => {
  it('reads durations', () => {
    assert.equal(seconds('5.003s'), 5.003);
    for (const bad of ['5', 's', '5m', null]) assert.ok(Number.isNaN(seconds(bad)), String(bad));
  });
});

describe('word', () => {
  it('leaves the prefix of an enum away', () => {
    assert.equal(word('DATA_CLASS_VIRTUAL_DRIVE_DATA', 'DATA_CLASS_'), 'virtual drive data');
    assert.equal(word('OTHER_THING', 'DATA_CLASS_'), 'other thing');
  });
});
