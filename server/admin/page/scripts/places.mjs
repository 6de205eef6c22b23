// Writes src/places.json: for every country code, the number that the map's shapes go by and a point well inside
// of its largest part. World maps know numbers (ISO 3166-1 numeric), the gateway letters (alpha-2).
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { geoArea, geoCentroid } from 'd3-geo';
import { feature } from 'topojson-client';

const require = createRequire(import.meta.url);
/** @param {string} name */
const load = (name) => JSON.parse(readFileSync(require.resolve(name), 'utf8'));

/** @type {[string, string, string, string][]} */
const codes = load('i18n-iso-countries/codes.json');
/** @type {import('topojson-specification').Topology<{countries: import('topojson-specification').GeometryCollection}>} */
const world = load('world-atlas/countries-50m.json');

/**
 * The largest polygon of a shape: France's centre is not to lie in the Atlantic for French Guiana's sake.
 * @param {import('geojson').Geometry} shape
 * @returns {import('geojson').Geometry}
 */
function largest(shape) {
  if (shape.type !== 'MultiPolygon') return shape;
  /** @type {import('geojson').Polygon[]} */
  const parts = shape.coordinates.map((coordinates) => ({ type: 'Polygon', coordinates }));
  return parts.reduce((a, b) => (geoArea(b) > geoArea(a) ? b : a));
}

const centres = new Map();
for (const { id, geometry } of feature(world, world.objects.countries).features) {
  const [longitude, latitude] = geoCentroid(largest(geometry));
  if (id !== undefined) centres.set(String(id), [Number(longitude.toFixed(1)), Number(latitude.toFixed(1))]);
}

const lines = codes
  .filter(([, , number]) => centres.has(number))
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([letters, , number]) => `  ${JSON.stringify(letters)}: ${JSON.stringify([number, ...centres.get(number)])}`);
writeFileSync(new URL('../src/places.json', import.meta.url), `{\n${lines.join(',\n')}\n}\n`);
