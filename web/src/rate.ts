// How fast the counters of workloads grow: over the last ten seconds, as for the host, because the kernel and the agent bring
// some of them up to date every few seconds only.

import type { Line, Report } from "./type";

/** Nanoseconds that a rate goes back, and between two readings that are kept for it. */
const BACK = 10e9;
const APART = 1.9e9;

const COUNTERS = {
  memoryWaiting: "memory_waiting_seconds",
  ioWaiting: "io_waiting_seconds",
  stalls: "reclaim_stall_seconds",
  faults: "major_faults",
  read: "block_read_bytes",
  written: "block_written_bytes",
} as const satisfies Record<string, keyof Line>;

/** Per second; what is not known is absent. */
export type Rates = { -readonly [name in keyof typeof COUNTERS]?: number };

const NAMES = Object.entries(COUNTERS) as [keyof Rates, (typeof COUNTERS)[keyof Rates]][];

interface Reading {
  time: number;
  counts: Map<string, (number | undefined)[]>;
}

export class Meter {
  /** Oldest first. */
  private kept: Reading[] = [];

  /** The rates by name of the workload, up to this report; empty after the first. */
  measure(report: Report): Map<string, Rates> {
    // Events move the time of a report, also between two ticks.
    const reading: Reading = { time: report.measured ?? report.time, counts: new Map() };
    for (const line of report.workloads) reading.counts.set(line.workload, NAMES.map(([, counter]) => line[counter]));
    // A clock that was set back, or a page that nobody looked at for long.
    this.kept = this.kept.filter((it) => it.time < reading.time && it.time >= reading.time - 3 * BACK);
    while (this.kept.length > 1 && (this.kept[1]?.time ?? Infinity) <= reading.time - BACK) this.kept.shift();
    const found = new Map<string, Rates>();
    for (const [name, counts] of reading.counts) {
      const old = this.kept.find((it) => it.counts.has(name));
      if (old) found.set(name, grown(old.counts.get(name) ?? [], counts, (reading.time - old.time) / 1e9));
    }
    const last = this.kept[this.kept.length - 1];
    if (!last || reading.time - last.time >= APART) this.kept.push(reading);
    return found;
  }
}

function grown(old: (number | undefined)[], now: (number | undefined)[], seconds: number): Rates {
  const rates: Rates = {};
  NAMES.forEach(([name], place) => {
    const [then, after] = [old[place], now[place]];
    // A counter that went back is another one: the workload began anew.
    if (then !== undefined && after !== undefined && after >= then) rates[name] = (after - then) / seconds;
  });
  return rates;
}
