// Asking the gateway: every second while the tab is seen, with the samples of the last minutes every fifth time.

import { read, type Sample, type Status } from './status.ts';

const EVERY = 1000; // ms
const PATIENCE = 2500; // ms that an answer may take
const HISTORY_EVERY = 5; // answers; the gateway takes a sample every 5 s

export interface Listener {
  answered: (status: Status, history: Sample[], at: Date) => void;
  silent: (since: Date) => void;
}

export class Poll {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private answers = 0;
  private history: Sample[] = [];
  private lastAnswer = new Date(); // before the first, when this page began to ask
  private asked = 0; // tells the newest question from those before it

  constructor(
    private readonly listener: Listener,
    private windowSeconds: number,
  ) {}

  start(): void {
    document.addEventListener('visibilitychange', () => this.seen());
    this.seen();
  }

  // look sets the time over which things are counted.
  look(windowSeconds: number): void {
    this.windowSeconds = windowSeconds;
    void this.ask();
  }

  // seen goes on with asking when the tab is seen again. Until then what is there is old, and is said to be.
  private seen(): void {
    clearTimeout(this.timer);
    if (document.hidden) return;
    if (this.answers > 0 && Date.now() - this.lastAnswer.getTime() > 3 * EVERY) this.listener.silent(this.lastAnswer);
    this.answers = 0;
    void this.ask();
  }

  private async ask(): Promise<void> {
    clearTimeout(this.timer);
    const mine = ++this.asked;
    const start = performance.now();
    const withHistory = this.answers % HISTORY_EVERY === 0;
    try {
      const status = await this.fetch(withHistory);
      if (mine !== this.asked) return;
      this.answers++;
      this.lastAnswer = new Date();
      if (status.history) this.history = status.history;
      this.listener.answered(status, this.history, this.lastAnswer);
    } catch {
      if (mine !== this.asked) return;
      this.answers = 0;
      this.listener.silent(this.lastAnswer);
    }
    if (!document.hidden) this.timer = setTimeout(() => void this.ask(), Math.max(0, EVERY - (performance.now() - start)));
  }

  private async fetch(withHistory: boolean): Promise<Status> {
    const question = `/status?window=${this.windowSeconds}s${withHistory ? '&history=1' : ''}`;
    const response = await fetch(question, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE) });
    if (!response.ok) throw new Error(`/status answered ${response.status}`);
    return read(await response.json(), withHistory);
  }
}
