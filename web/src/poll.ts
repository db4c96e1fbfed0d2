// When to ask: about once a second, just after a tick of the agent; one request at a time; never while nobody looks; less often after errors.

import { Failure } from "./api";

/** Milliseconds between two polls. */
const TICK = 1000;
/** A poll comes a little earlier each time, until an answer is the same as the one before: then the tick is found. */
const SEARCH = 150;
const EARLIER = 20;
/** Pause after an answer that is the same as the one before, doubled each time: the tick may be longer. */
const AGAIN = 150;
const LONGEST = 30_000;

export interface State {
  /** Milliseconds since the Unix epoch, by this machine's clock, of the last answer. */
  answered?: number;
  /** Why there is no newer one. */
  error?: Failure;
}

/** Repeats `ask`, which returns the time of the answer in nanoseconds. */
export class Poll {
  private timer?: ReturnType<typeof setTimeout>;
  private control?: AbortController;
  /** Time of the newest answer, and how many before it had the same. */
  private last = 0;
  private same = 0;
  private found = false;
  private failures = 0;
  private running = false;
  private state: State = {};

  constructor(
    private readonly ask: (signal: AbortSignal) => Promise<number>,
    private readonly tell: (state: State) => void,
  ) {}

  start(): void {
    this.running = true;
    document.addEventListener("visibilitychange", this.look);
    addEventListener("online", this.look);
    this.now();
  }

  stop(): void {
    this.running = false;
    document.removeEventListener("visibilitychange", this.look);
    removeEventListener("online", this.look);
    clearTimeout(this.timer);
    this.control?.abort();
    this.control = undefined;
  }

  /** Asks at once, for something else than before: what is under way does not matter any more. */
  restart(): void {
    this.control?.abort();
    this.control = undefined;
    this.last = 0;
    this.now();
  }

  /** Asks at once, unless a request is under way. */
  private now(): void {
    clearTimeout(this.timer);
    if (this.running && !document.hidden && !this.control) void this.run();
  }

  private readonly look = (): void => {
    if (document.hidden) clearTimeout(this.timer);
    else this.now();
  };

  private async run(): Promise<void> {
    const control = new AbortController();
    this.control = control;
    const began = performance.now();
    let wait: number;
    try {
      const time = await this.ask(control.signal);
      if (this.control !== control) return;
      this.failures = 0;
      wait = this.pause(time, performance.now() - began);
      this.state = { answered: Date.now() };
    } catch (error) {
      if (this.control !== control) return;
      this.failures += 1;
      wait = Math.min(LONGEST, TICK * 2 ** (this.failures - 1));
      const failure = error instanceof Failure ? error : new Failure(String(error), 0);
      this.state = { answered: this.state.answered, error: failure };
    }
    this.control = undefined;
    if (!this.running) return;
    this.tell(this.state);
    if (!document.hidden) this.timer = setTimeout(() => this.now(), wait);
  }

  /** How long to wait after an answer of this time that took so long. */
  private pause(time: number, took: number): number {
    this.same = time === this.last ? this.same + 1 : 0;
    this.last = time;
    this.found ||= this.same > 0;
    const earlier = this.found ? EARLIER : SEARCH;
    const next = this.same === 0 ? TICK - earlier - took : Math.min(TICK, AGAIN * 2 ** (this.same - 1));
    // An answer that takes long says that there is much: asking less often leaves most of the time to others.
    return Math.max(next, took * 4);
  }
}
