// When the page asks: once a tick, one request at a time, not while nobody looks, and less often after errors.

import assert from "node:assert";
import test from "node:test";
import { Failure } from "../src/api";
import { Poll, type State } from "../src/poll";

interface Waiting {
  act: () => void;
  wait: number;
}

/** A browser without time: what was to happen later happens when the test says so. */
class Browser {
  hidden = false;
  waiting = new Map<number, Waiting>();
  private number = 0;
  private look: () => void = () => undefined;

  constructor() {
    const scope = globalThis as unknown as Record<string, unknown>;
    const browser = this;
    scope.document = {
      get hidden() {
        return browser.hidden;
      },
      addEventListener: (_: string, look: () => void) => (browser.look = look),
      removeEventListener: () => (browser.look = () => undefined),
    };
    scope.addEventListener = () => undefined;
    scope.removeEventListener = () => undefined;
    scope.setTimeout = (act: () => void, wait: number) => {
      this.number += 1;
      this.waiting.set(this.number, { act, wait });
      return this.number;
    };
    Object.defineProperty(globalThis, "performance", { value: { now: () => 0 }, configurable: true });
    scope.clearTimeout = (number: number) => this.waiting.delete(number);
  }

  /** Lets the next thing happen, and says how long it would have waited. */
  async next(): Promise<number> {
    const [[number, { act, wait }] = [0, { act: () => undefined, wait: -1 }]] = this.waiting;
    this.waiting.delete(number);
    act();
    await settle();
    return wait;
  }

  show(shown: boolean): Promise<void> {
    this.hidden = !shown;
    this.look();
    return settle();
  }
}

/** Lets everything happen that waits for nothing. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
}

test("a poll moves back until it meets the tick, and then stays there", async () => {
  const browser = new Browser();
  const times = [1, 2, 3, 3, 4, 5, 5, 5, 5, 6];
  const poll = new Poll(async () => (times.shift() ?? 0) * 1e9, () => undefined);
  poll.start();
  await settle();
  const waits = [];
  while (times.length > 0) waits.push(Math.round(await browser.next()));
  assert.deepEqual(waits, [850, 850, 850, 150, 980, 980, 150, 300, 600]);
  poll.stop();
});

test("one request at a time, and none while nobody looks", async () => {
  const browser = new Browser();
  let answer: (time: number) => void = () => undefined;
  let asked = 0;
  const poll = new Poll(
    () => {
      asked += 1;
      return new Promise((resolve) => (answer = resolve));
    },
    () => undefined,
  );
  poll.start();
  await browser.show(true);
  await browser.show(true);
  assert.equal(asked, 1, "the first is under way");
  browser.hidden = true;
  answer(1e9);
  await settle();
  assert.equal(browser.waiting.size, 0, "nobody looks");
  await browser.show(true);
  assert.equal(asked, 2);
  answer(2e9);
  await settle();
  assert.equal(browser.waiting.size, 1);
  await browser.show(false);
  assert.equal(browser.waiting.size, 0);
  poll.stop();
});

test("errors are said and make it ask less often, and an answer ends that", async () => {
  const browser = new Browser();
  const states: State[] = [];
  let broken = false;
  let time = 0;
  const poll = new Poll(
    async () => {
      if (broken) throw new Failure("the agent cannot be reached", 0);
      return (time += 1e9);
    },
    (state) => states.push(state),
  );
  poll.start();
  await settle();
  const answered = states[0]?.answered;
  assert.ok(answered);
  broken = true;
  const waits = [];
  for (let turn = 0; turn < 8; turn += 1) waits.push(await browser.next());
  assert.deepEqual(waits.slice(1), [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
  const last = states[states.length - 1];
  assert.equal(last?.error?.message, "the agent cannot be reached");
  assert.equal(last?.answered, answered, "since when");
  broken = false;
  await browser.next();
  assert.equal(states[states.length - 1]?.error, undefined);
  assert.ok((await browser.next()) <= 1000);
  poll.stop();
  assert.equal(browser.waiting.size, 0);
});

test("what was asked for another view is not waited for", async () => {
  const browser = new Browser();
  const signals: AbortSignal[] = [];
  const states: State[] = [];
  const poll = new Poll(
    (signal) => {
      signals.push(signal);
      return new Promise((_, reject) => signal.addEventListener("abort", () => reject(new Failure("left", 0))));
    },
    (state) => states.push(state),
  );
  poll.start();
  poll.restart();
  await settle();
  assert.deepEqual(signals.map((signal) => signal.aborted), [true, false]);
  assert.deepEqual(states, [], "leaving a view is no error");
  assert.equal(browser.waiting.size, 0);
  poll.stop();
});
