// How the page writes numbers, times and places. NaN stands for what the gateway does not know, and is a dash.

export const UNKNOWN = '–';

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const countries = new Intl.DisplayNames('en', { type: 'region', fallback: 'code' });

export function count(n: number): string {
  if (!Number.isFinite(n)) return UNKNOWN;
  return n < 1e6 ? whole.format(n) : scaled(n, 1000, ['', ' K', ' M', ' G', ' T']);
}

// counted gives a number with its noun: counted(1, 'entry', 'entries') → "1 entry".
export function counted(n: number, one: string, many = one + 's'): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

export function rate(n: number): string {
  if (!Number.isFinite(n)) return UNKNOWN;
  if (n === 0) return '0';
  if (n < 0.01) return '< 0.01';
  if (n < 1) return n.toFixed(2);
  return n < 100 ? n.toFixed(1) : count(Math.round(n));
}

export function bytes(n: number): string {
  if (!Number.isFinite(n)) return UNKNOWN;
  return scaled(n, 1000, [' B', ' kB', ' MB', ' GB', ' TB', ' PB']);
}

function scaled(n: number, base: number, units: string[]): string {
  let unit = 0;
  for (; n >= base * 0.9995 && unit < units.length - 1; unit++) n /= base;
  const digits = unit === 0 ? 0 : n < 9.995 ? 2 : n < 99.95 ? 1 : 0;
  return n.toFixed(digits) + (units[unit] ?? '');
}

// seconds writes how long something took: 0.00042 → "0.42 ms".
export function seconds(n: number): string {
  if (!Number.isFinite(n)) return UNKNOWN;
  if (n === 0) return '0 s';
  if (n < 0.01) return `${(n * 1000).toFixed(n < 0.001 ? 2 : 1)} ms`;
  if (n < 1) return `${(n * 1000).toFixed(0)} ms`;
  return `${n.toFixed(n < 10 ? 1 : 0)} s`;
}

// span writes a longer time in its largest two units at most: 4,000 → "1 h 6 min".
export function span(s: number): string {
  if (!Number.isFinite(s)) return UNKNOWN;
  s = Math.max(0, Math.round(s));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return both(s, 3600, 'h', 60, 'min');
  return both(s, 86400, 'd', 3600, 'h');
}

function both(s: number, large: number, largeName: string, small: number, smallName: string): string {
  const rest = Math.floor((s % large) / small);
  return `${Math.floor(s / large)} ${largeName}${rest ? ` ${rest} ${smallName}` : ''}`;
}

// within names the window that counts cover: "in the last minute".
export function within(windowSeconds: number): string {
  const s = Math.round(windowSeconds);
  if (!Number.isFinite(s)) return 'lately';
  if (s < 58) return s < 2 ? 'in the last second' : `in the last ${s} seconds`;
  const minutes = Math.max(1, Math.round(s / 60));
  return minutes === 1 ? 'in the last minute' : `in the last ${minutes} minutes`;
}

// ago is how long before another a moment was. A clock a little ahead is no reason for a negative age.
export function ago(then: Date | null, now: Date | null): string {
  if (!then || !now) return UNKNOWN;
  const s = (now.getTime() - then.getTime()) / 1000;
  return s < 1 ? 'just now' : `${span(s)} ago`;
}

// clock writes the time of day where the reader is: 02:13:05.
export function clock(t: Date | null): string {
  if (!t) return UNKNOWN;
  return [t.getHours(), t.getMinutes(), t.getSeconds()].map((n) => String(n).padStart(2, '0')).join(':');
}

export function country(code: string): string {
  try {
    return countries.of(code) ?? code;
  } catch {
    return code; // not a code at all
  }
}

export function capital(s: string): string {
  return s.charAt(0).toUpperCase() + s.slice(1);
}

export function sentence(s: string): string {
  return s === '' ? s : capital(s) + (/[.!?]$/.test(s) ? '' : '.');
}
