// Curves between places, in pixels.

export type Point = readonly [number, number];

export interface Curve {
  from: Point;
  control: Point;
  to: Point;
}

// curve bows to its left, by a part of its length and some pixels at least: from here and from there it takes two
// different ways. At both ends it leaves a gap for the marker.
export function curve(from: Point, to: Point, bow: number, least: number, gap: number): Curve {
  const dx = to[0] - from[0];
  const dy = to[1] - from[1];
  const length = Math.hypot(dx, dy) || 1;
  const b = Math.max(bow, least / length);
  const control: Point = [(from[0] + to[0]) / 2 + dy * b, (from[1] + to[1]) / 2 - dx * b];
  if (length < 3 * gap) return { from, control, to };
  return { from: towards(from, control, gap), control, to: towards(to, control, gap) };
}

function towards(from: Point, to: Point, distance: number): Point {
  const dx = to[0] - from[0];
  const dy = to[1] - from[1];
  const length = Math.hypot(dx, dy) || 1;
  return [from[0] + (dx / length) * distance, from[1] + (dy / length) * distance];
}

const mix = (a: Point, b: Point, t: number): Point => [a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t];

// at gives the point of a curve at t in [0, 1], and the direction there as an angle in degrees.
export function at(c: Curve, t: number): { point: Point; degrees: number } {
  const a = mix(c.from, c.control, t);
  const b = mix(c.control, c.to, t);
  return { point: mix(a, b, t), degrees: (Math.atan2(b[1] - a[1], b[0] - a[0]) * 180) / Math.PI };
}

// split cuts a curve in two at t.
export function split(c: Curve, t: number): [Curve, Curve] {
  const a = mix(c.from, c.control, t);
  const b = mix(c.control, c.to, t);
  const m = mix(a, b, t);
  return [{ from: c.from, control: a, to: m }, { from: m, control: b, to: c.to }];
}

export function path(c: Curve): string {
  const p = ([x, y]: Point): string => `${x.toFixed(1)} ${y.toFixed(1)}`;
  return `M${p(c.from)}Q${p(c.control)} ${p(c.to)}`;
}

// thickness of a line that stands for n accesses: more is thicker, slowly.
export function thickness(n: number): number {
  return n > 0 ? Math.min(6, 1.8 + Math.log10(n)) : 1;
}
