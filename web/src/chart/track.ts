// The points of one workload or of the host within a window that ends now. Of the finest tier only what is new is asked for, and
// what left the window is dropped, so that an open page does not grow.

import { Failure, encode, read } from "../api";
import type { Gap, History, Points, Tier } from "../type";

/** Seconds that the finest tier reaches back. */
export const FINEST = 300;

/** Points of a coarser tier that are asked for at most: more than a screen has pixels for. */
const MOST = 1500;
/** From fine to coarse. */
const TIERS: readonly Tier[] = ["second", "ten_seconds", "minute", "quarter_hour"];

export type Value = number | null;

export interface Series {
  name: string;
  min: Value[];
  mean: Value[];
  max: Value[];
}

export class Track {
  /** Seconds since the Unix epoch. */
  times: number[] = [];
  series: Series[] = [];
  tier?: Tier;
  step = 1;
  /** Of which series something is not there, and why. */
  missing: Gap[] = [];
  /** Why there are no points. */
  problem?: string;
  /** When the window ends: time of the newest answer, in seconds since the Unix epoch. */
  end = 0;
  /** Changes with the points. */
  version = 0;

  constructor(
    readonly workload: string | undefined,
    readonly window: number,
  ) {}

  /** Asks for what is new. True if there was something. */
  async extend(signal: AbortSignal): Promise<boolean> {
    const age = this.version === 0 ? Infinity : Date.now() / 1000 - this.asked;
    const live = this.window <= FINEST;
    if (!live && age < Math.max(10, this.step)) return false;
    const fresh = live && this.tier === "second" && age < this.window / 2;
    const asked = fresh ? Math.ceil(age) + 5 : this.window;
    const whose = this.workload === undefined ? "" : `&workload=${encode(this.workload)}`;
    const least = live ? "" : `&points=${MOST}`;
    try {
      const history = await read<History>(`history?window_seconds=${asked}${least}${whose}`, signal);
      if (fresh) this.append(history);
      else this.replace(history);
      this.end = history.time / 1e9;
      this.problem = undefined;
    } catch (error) {
      // The agent answers, and says why it has no points: all else on the page is as true as before.
      if (!(error instanceof Failure) || error.status === 0 || error.status === 401) throw error;
      this.problem = error.message;
    }
    this.asked = Date.now() / 1000;
    this.version += 1;
    return true;
  }

  /** When it asked last, in seconds, by this machine's clock. */
  private asked = 0;

  private replace(history: History): void {
    // Of some series only the finest tier is kept; the charts of a longer window are of those that reach as far.
    this.tier = [...TIERS].reverse().find((tier) => history.series.some((points) => points.tier === tier));
    const own = history.series.filter((points) => points.tier === this.tier);
    this.missing = history.missing;
    this.step = own[0]?.step_seconds ?? 1;
    const times = [...new Set(own.flatMap((points) => points.times))].sort((one, other) => one - other);
    this.times = times.map((time) => time / 1e9);
    this.series = own.map((points) => aligned(points, times));
  }

  private append(history: History): void {
    const last = this.times[this.times.length - 1] ?? 0;
    const own = history.series.filter((points) => points.tier === "second");
    const all = [...new Set(own.flatMap((points) => points.times))].sort((one, other) => one - other);
    const times = all.filter((time) => time / 1e9 > last + 1e-3);
    const before = this.times.length;
    for (const time of times) this.times.push(time / 1e9);
    for (const points of own) {
      let series = this.series.find((it) => it.name === points.series);
      if (!series) {
        const none = (): Value[] => new Array<Value>(before).fill(null);
        series = { name: points.series, min: none(), mean: none(), max: none() };
        this.series.push(series);
      }
      const more = aligned(points, times);
      for (const part of PARTS) series[part].push(...more[part]);
    }
    const gone = this.times.findIndex((time) => time >= history.time / 1e9 - this.window - this.step);
    for (const series of this.series) {
      for (const part of PARTS) {
        // One that was not answered this time is not known.
        while (series[part].length < this.times.length) series[part].push(null);
        if (gone > 0) series[part].splice(0, gone);
      }
    }
    if (gone > 0) this.times.splice(0, gone);
  }
}

const PARTS = ["min", "mean", "max"] as const;

/** With a value for each of these times. */
function aligned(points: Points, times: number[]): Series {
  const places = new Map(points.times.map((time, place) => [time, place]));
  const pick = (values: Value[]): Value[] => times.map((time) => values[places.get(time) ?? -1] ?? null);
  return { name: points.series, min: pick(points.min), mean: pick(points.mean), max: pick(points.max) };
}
