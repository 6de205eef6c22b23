// What GET /status answers (residency.v1.GetStatusResponse as JSON), read into the page's own types. Protocol
// buffers' JSON writes 64-bit numbers as strings, enums with their prefix, and null for what is not there.

export interface Status {
  time: Date | null;
  windowSeconds: number; // what the counts cover; less than asked for while the gateway is young
  gateway: string;
  jurisdiction: string;
  version: string;
  startTime: Date | null;
  regions: Region[];
  flows: Flow[];
  blocked: BlockedClause[];
  calls: Rates;
  methods: Method[];
  saturation: Saturation;
  history: Sample[] | null; // null when it was not asked for
  problems: string[];
  revocationP99Seconds: number; // NaN when nothing was withdrawn
  mixedJurisdictions: boolean; // plaintext of several can exist in this one process
}

export interface Region {
  region: string;
  jurisdiction: string;
  controller: string;
  served: boolean; // by this gateway itself
  up: boolean;
  leads: boolean; // this gateway counts what is counted in the region
  downParts: string[];
  policyVersion: string;
  policyDigest: string;
  audit: Audit;
  consents: Consent[];
  erasuresPending: number;
  consentsGranted: number;
  consentsWithdrawn: number;
  decisionsPerSecond: number;
  deniedPerSecond: number;
}

export interface Audit {
  known: boolean;
  pendingEntries: number;
  checkpointEntries: number;
  checkpointTime: Date | null;
  witnessedTime: Date | null;
  failures: number;
  witnessFailures: number;
}

export interface Consent {
  kind: string;
  state: string;
  count: number;
}

export interface Flow {
  from: string;
  to: string;
  dataClass: string;
  allowed: number;
  blocked: number;
  bytes: number;
  allowedTotal: number;
  blockedTotal: number;
  bytesTotal: number;
}

export interface BlockedClause {
  from: string;
  to: string;
  clause: string;
  count: number;
  countTotal: number;
}

export interface Rates {
  perSecond: number;
  errorsPerSecond: number;
  deniedPerSecond: number;
  p50Seconds: number;
  p99Seconds: number;
}

export interface Method {
  service: string;
  method: string;
  rates: Rates;
  countTotal: number;
}

export interface Saturation {
  connections: number;
  connectionsLimit: number;
  inFlight: number;
  inFlightLimit: number;
}

export interface Sample {
  time: Date;
  callsPerSecond: number;
  errorsPerSecond: number;
  p50Seconds: number;
  p99Seconds: number;
  borderAllowedPerSecond: number;
  borderBlockedPerSecond: number;
  borderBytesPerSecond: number;
}

type Fields = Record<string, unknown>;

const fields = (v: unknown): Fields => (typeof v === 'object' && v !== null && !Array.isArray(v) ? (v as Fields) : {});
const list = (v: unknown): Fields[] => (Array.isArray(v) ? v.map(fields) : []);
const texts = (v: unknown): string[] => (Array.isArray(v) ? v.map(text) : []);
const text = (v: unknown): string => (typeof v === 'string' ? v : '');

// amount reads a number, also one written as a string. What is none is NaN, which is shown as unknown, not as 0.
export function amount(v: unknown): number {
  if (typeof v === 'number') return v;
  return typeof v === 'string' && v.trim() !== '' ? Number(v) : NaN;
}

// quantile reads how long something took, where 0 says that nothing did.
const quantile = (v: unknown): number => amount(v) || NaN;

// seconds reads a duration, such as "60s" or "5.003s".
export function seconds(v: unknown): number {
  const m = /^(-?\d+(?:\.\d+)?)s$/.exec(text(v));
  return m ? Number(m[1]) : NaN;
}

function time(v: unknown): Date | null {
  const date = new Date(text(v));
  return Number.isNaN(date.getTime()) ? null : date;
}

// word reads an enum's value: ("DATA_CLASS_ACCOUNT_DATA", "DATA_CLASS_") → "account data".
export function word(v: unknown, prefix: string): string {
  const name = text(v);
  return (name.startsWith(prefix) ? name.slice(prefix.length) : name).toLowerCase().replaceAll('_', ' ');
}

function readRates(v: unknown): Rates {
  const f = fields(v);
  return {
    perSecond: amount(f.perSecond),
    errorsPerSecond: amount(f.errorsPerSecond),
    deniedPerSecond: amount(f.deniedPerSecond),
    p50Seconds: quantile(f.p50Seconds),
    p99Seconds: quantile(f.p99Seconds),
  };
}

function readAudit(v: unknown): Audit {
  const f = fields(v);
  return {
    known: f.known === true,
    pendingEntries: amount(f.pendingEntries),
    checkpointEntries: amount(f.checkpointEntries),
    checkpointTime: time(f.checkpointTime),
    witnessedTime: time(f.witnessedTime),
    failures: amount(f.failures),
    witnessFailures: amount(f.witnessFailures),
  };
}

function readConsent(f: Fields): Consent {
  return { kind: word(f.kind, 'CONSENT_KIND_'), state: word(f.state, 'CONSENT_STATE_'), count: amount(f.count) };
}

function readRegion(f: Fields): Region {
  return {
    region: text(f.region),
    jurisdiction: text(f.jurisdiction),
    controller: text(f.controller),
    served: f.served === true,
    up: f.up === true,
    leads: f.leads === true,
    downParts: texts(f.downParts),
    policyVersion: text(f.policyVersion),
    policyDigest: text(f.policyDigest),
    audit: readAudit(f.audit),
    consents: list(f.consents).map(readConsent),
    erasuresPending: amount(f.erasuresPending),
    consentsGranted: amount(f.consentsGranted),
    consentsWithdrawn: amount(f.consentsWithdrawn),
    decisionsPerSecond: amount(f.decisionsPerSecond),
    deniedPerSecond: amount(f.deniedPerSecond),
  };
}

function readFlow(f: Fields): Flow {
  return {
    from: text(f.from),
    to: text(f.to),
    dataClass: word(f.dataClass, 'DATA_CLASS_'),
    allowed: amount(f.allowed),
    blocked: amount(f.blocked),
    bytes: amount(f.bytes),
    allowedTotal: amount(f.allowedTotal),
    blockedTotal: amount(f.blockedTotal),
    bytesTotal: amount(f.bytesTotal),
  };
}

function readClause(f: Fields): BlockedClause {
  return { from: text(f.from), to: text(f.to), clause: text(f.clause), count: amount(f.count), countTotal: amount(f.countTotal) };
}

function readSaturation(v: unknown): Saturation {
  const f = fields(v);
  return {
    connections: amount(f.connections),
    connectionsLimit: amount(f.connectionsLimit),
    inFlight: amount(f.inFlight),
    inFlightLimit: amount(f.inFlightLimit),
  };
}

function readSample(f: Fields): Sample[] {
  const at = time(f.time);
  if (!at) return [];
  return [{
    time: at,
    callsPerSecond: amount(f.callsPerSecond),
    errorsPerSecond: amount(f.errorsPerSecond),
    p50Seconds: quantile(f.p50Seconds),
    p99Seconds: quantile(f.p99Seconds),
    borderAllowedPerSecond: amount(f.borderAllowedPerSecond),
    borderBlockedPerSecond: amount(f.borderBlockedPerSecond),
    borderBytesPerSecond: amount(f.borderBytesPerSecond),
  }];
}

// read takes an answer apart. It throws when this is no status at all; a field that an older gateway does not
// tell becomes empty or unknown.
export function read(answer: unknown, withHistory = false): Status {
  const f = fields(answer);
  if (!Array.isArray(f.regions)) throw new Error('the answer of /status lists no regions');
  return {
    time: time(f.time),
    windowSeconds: seconds(f.window),
    gateway: text(f.gateway),
    jurisdiction: text(f.jurisdiction),
    version: text(f.version),
    startTime: time(f.startTime),
    regions: list(f.regions).map(readRegion),
    flows: list(f.flows).map(readFlow),
    blocked: list(f.blocked).map(readClause),
    calls: readRates(f.calls),
    methods: list(f.methods).map((m) => ({ service: text(m.service), method: text(m.method), rates: readRates(m.rates), countTotal: amount(m.countTotal) })),
    saturation: readSaturation(f.saturation),
    history: withHistory ? list(f.history).flatMap(readSample) : null,
    problems: texts(f.problems),
    revocationP99Seconds: quantile(f.revocationP99Seconds),
    mixedJurisdictions: f.mixedJurisdictions === true,
  };
}
