import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { at, curve, path, split, thickness, type Point } from '../src/geometry.ts';

const near = (a: Point, b: Point): void => assert.ok(Math.hypot(a[0] - b[0], a[1] - b[1]) < 1e-9, `${a.join()} is not ${b.join()}`);

describe('curve', () => {
  const there = curve([0, 100], [200, 100], 0.2, 0, 10);
  const back = curve([200, 100], [0, 100], 0.2, 0, 10);

  it('goes another way back', () => {
    assert.ok(at(there, 0.5).point[1] < 100);
    assert.ok(at(back, 0.5).point[1] > 100);
  });

  it('leaves room for the markers', () => {
    assert.ok(Math.abs(Math.hypot(there.from[0], there.from[1] - 100) - 10) < 1e-9);
    assert.ok(Math.abs(Math.hypot(there.to[0] - 200, there.to[1] - 100) - 10) < 1e-9);
  });

  it('bows by some pixels at least', () => near(curve([0, 0], [100, 0], 0.1, 50, 10).control, [50, -50]));

  it('is finite between one place and itself', () => {
    const c = curve([5, 5], [5, 5], 0.2, 10, 10);
    assert.ok([c.from, c.control, c.to].flat().every(Number.isFinite));
  });
});

describe('split', () => {
  it('gives two parts that meet where the whole is', () => {
    const c = curve([0, 0], [120, 60], 0.3, 0, 5);
    const [first, rest] = split(c, 0.5);
    near(first.from, c.from);
    near(first.to, at(c, 0.5).point);
    near(rest.from, first.to);
    near(rest.to, c.to);
    near(at(first, 0.5).point, at(c, 0.25).point);
  });
});

describe('at', () => {
  it('tells the direction', () => assert.equal(at({ from: [0, 0], control: [10, 0], to: [20, 0] }, 0.5).degrees, 0));
});

describe('path', () => {
  it('is what SVG reads', () => assert.equal(path({ from: [0, 0], control: [1.25, 2], to: [3, 4] }), 'M0.0 0.0Q1.3 2.0 3.0 4.0'));
});

describe('thickness', () => {
  it('grows slowly, and has an end', () => {
    assert.ok(thickness(0) < thickness(1) && thickness(1) < thickness(1000) && thickness(1e12) === 6);
  });
});
