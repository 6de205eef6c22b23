// A gateway that is made up: answers of /status as the protos' JSON has them, in scenes that are hard to bring about.

const CLASSES = ['PERSONAL_INFORMATION', 'VIRTUAL_DRIVE_DATA', 'ACCOUNT_DATA'];

type Answer = Record<string, unknown>;

function region(name: string, jurisdiction: string, controller: string, now: Date): Answer {
  const before = (s: number): string => new Date(now.getTime() - 1000 * s).toISOString();
  return {
    region: name, jurisdiction, controller, served: true, up: true, leads: true, downParts: [],
    policyVersion: `${name}-2012-05-02`, policyDigest: 'sha256:' + 'a1b2c3d4'.repeat(8),
    audit: { known: true, pendingEntries: '3', checkpointEntries: '18204', checkpointTime: before(1.4), witnessedTime: before(2.2), failures: '0', witnessFailures: '0' },
    consents: [
      { kind: 'CONSENT_KIND_BORDER_CROSSING', state: 'CONSENT_STATE_ACTIVE', count: '214' },
      { kind: 'CONSENT_KIND_BORDER_CROSSING', state: 'CONSENT_STATE_WITHDRAWN', count: '31' },
      { kind: 'CONSENT_KIND_MARKETING_OPT_IN', state: 'CONSENT_STATE_ACTIVE', count: '1029' },
    ],
    erasuresPending: '0', consentsGranted: '4', consentsWithdrawn: '1', decisionsPerSecond: 84.2, deniedPerSecond: 0.4,
  };
}

function flow(from: string, to: string, dataClass: string, allowed: number, blocked: number, bytes: number): Answer {
  return {
    from, to, dataClass: 'DATA_CLASS_' + dataClass, allowed: String(allowed), blocked: String(blocked), bytes: String(bytes),
    allowedTotal: String(allowed * 17), blockedTotal: String(blocked * 23), bytesTotal: String(bytes * 17),
  };
}

const rates = (perSecond: number): Answer => ({ perSecond, errorsPerSecond: 0, deniedPerSecond: perSecond / 90, p50Seconds: 0.0011, p99Seconds: 0.0083 });

function samples(now: Date): Answer[] {
  return Array.from({ length: 180 }, (_, i) => {
    const wave = Math.sin(i / 14) + Math.sin(i / 5) / 3;
    return {
      time: new Date(now.getTime() - (179 - i) * 5000).toISOString(),
      callsPerSecond: 120 + 40 * wave, errorsPerSecond: i > 120 && i < 128 ? 6 : 0, p50Seconds: 0.0011 + 0.0001 * wave, p99Seconds: 0.008 + 0.003 * Math.abs(wave),
      borderAllowedPerSecond: Math.max(0, 2 + wave), borderBlockedPerSecond: Math.max(0, 0.6 + wave / 2), borderBytesPerSecond: Math.max(0, 52_000 + 30_000 * wave),
    };
  });
}

function well(now: Date): Answer {
  const pairs = [['CH', 'US', 9, 12], ['US', 'CH', 31, 2]] as const;
  return {
    time: now.toISOString(), window: '60.003s', gateway: 'zrh-1', jurisdiction: 'CH', version: 'v0.9.0', startTime: new Date(now.getTime() - 93_784_000).toISOString(),
    regions: [region('ch', 'CH', 'CloudSigma AG', now), region('us', 'US', 'CloudSigma Inc', now)],
    flows: pairs.flatMap(([from, to, allowed, blocked]) => CLASSES.map((c, i) => (i === 2 ? flow(from, to, c, 0, 0, 0) : flow(from, to, c, Math.ceil(allowed / (i + 1)), i === 0 ? blocked : 0, allowed * 41_000 * (i + 1))))),
    blocked: [
      { from: 'CH', to: 'US', clause: 'ch.transfer.consent', count: '11', countTotal: '251' },
      { from: 'US', to: 'CH', clause: 'us.drive.never-shared', count: '2', countTotal: '46' },
      { from: 'CH', to: 'US', clause: 'none', count: '1', countTotal: '25' },
    ],
    calls: rates(127.3),
    methods: [['RecordService', 'GetRecord', 92], ['RecordService', 'PutRecord', 21], ['DriveService', 'ReadDrive', 8], ['ConsentService', 'GrantConsent', 0.3]].map(([s, m, r]) => ({ service: `residency.v1.${s}`, method: m, rates: rates(Number(r)), countTotal: String(Math.round(Number(r) * 93_784)) })),
    saturation: { connections: '38', connectionsLimit: '1024', inFlight: '6', inFlightLimit: '512' },
    history: samples(now), problems: [], revocationP99Seconds: 1.01, mixedJurisdictions: true,
  };
}

// The scenes: what differs from a gateway that is well.
const scenes: Record<string, (a: Answer) => void> = {
  well: () => undefined,
  down(a) {
    Object.assign((a.regions as Answer[])[1] ?? {}, { up: false, downParts: ['rows', 'audit'] });
    a.problems = ['region us: no answer from its rows'];
  },
  warning(a) {
    a.problems = ['certificate server: ends within 7 days'];
  },
  idle(a) {
    a.flows = CLASSES.flatMap((c) => [flow('CH', 'US', c, 0, 0, 0), flow('US', 'CH', c, 0, 0, 0)]);
    Object.assign(a, { blocked: [], methods: [], history: [], calls: { perSecond: 0, errorsPerSecond: 0, deniedPerSecond: 0, p50Seconds: 0, p99Seconds: 0 } });
  },
  // A gateway of one region, which knows the others as peers only; and callers in a country without a region.
  peers(a) {
    const regions = a.regions as Answer[];
    regions.push({ ...regions[1], region: 'sg', jurisdiction: 'SG', controller: 'CloudSigma Pte' });
    for (const r of regions.slice(1)) Object.assign(r, { served: false, leads: false, policyVersion: '', policyDigest: '', consents: [], audit: { known: false } });
    (a.flows as Answer[]).push(flow('CH', 'SG', 'PERSONAL_INFORMATION', 0, 3, 0), flow('CH', 'GB', 'PERSONAL_INFORMATION', 2, 0, 900));
    a.mixedJurisdictions = false;
  },
};

export function answerOf(scene: string, now: Date): Answer {
  const answer = well(now);
  (scenes[scene] ?? (() => undefined))(answer);
  return answer;
}
