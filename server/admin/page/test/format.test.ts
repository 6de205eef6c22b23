import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as f from '../src/format.ts';

const table = <T>(name: string, write: (x: T) => string, rows: [T, string][]): void => {
  describe(name, () => {
    for (const [x, want] of rows) it(`writes ${String(x)} as ${want}`, () => assert.equal(write(x), want));
  });
};

table('count', f.count, [[0, '0'], [1204, '1,204'], [999_999, '999,999'], [1_250_000, '1.25 M'], [NaN, f.UNKNOWN]]);
table('rate', f.rate, [[0, '0'], [0.004, '< 0.01'], [0.25, '0.25'], [12.34, '12.3'], [1234.4, '1,234'], [NaN, f.UNKNOWN]]);
table('bytes', f.bytes, [[0, '0 B'], [999, '999 B'], [999.9, '1.00 kB'], [1000, '1.00 kB'], [49_130, '49.1 kB'], [999_999, '1.00 MB'], [5e15, '5.00 PB'], [NaN, f.UNKNOWN]]);
table('seconds', f.seconds, [[0.00042, '0.42 ms'], [0.0083, '8.3 ms'], [0.25, '250 ms'], [1.234, '1.2 s'], [45, '45 s'], [NaN, f.UNKNOWN]]);
table('span', f.span, [[-3, '0 s'], [59, '59 s'], [61, '1 min'], [3600, '1 h'], [4000, '1 h 6 min'], [93_784, '1 d 2 h'], [NaN, f.UNKNOWN]]);
table('within', f.within, [[1, 'in the last second'], [12.4, 'in the last 12 seconds'], [60.003, 'in the last minute'], [64.9, 'in the last minute'], [300, 'in the last 5 minutes'], [904, 'in the last 15 minutes'], [NaN, 'lately']]);
table('country', f.country, [['CH', 'Switzerland'], ['US', 'United States'], ['', ''], ['not a code', 'not a code']]);
table('sentence', f.sentence, [['region us: no answer', 'Region us: no answer.'], ['Yes.', 'Yes.'], ['', '']]);

describe('ago', () => {
  const now = new Date('2026-11-24T02:13:05Z');
  it('is never negative', () => assert.equal(f.ago(new Date(now.getTime() + 400), now), 'just now'));
  it('counts from the gateway’s own clock', () => assert.equal(f.ago(new Date(now.getTime() - 185_000), now), '3 min ago'));
  it('is unknown without either', () => assert.equal(f.ago(null, now), f.UNKNOWN));
});

describe('clock', () => {
  it('has two digits for each part', () => assert.equal(f.clock(new Date(2026, 10, 4, 2, 3, 5)), '02:03:05'));
});
