// From points to the columns that a chart draws: gaps stay gaps, and minimum and maximum are a band around the mean.

import type { AlignedData } from "uplot";
import { LIMIT, type Group, type Shown } from "./group";
import type { Series, Track, Value } from "./track";

/** How long a part of memory that is read now and then counts as known, in seconds. */
const SPAN = 200;

type Column = (number | null | undefined)[];

/** A line of a chart: what it is, and where its columns are. */
export interface Line extends Shown {
  /** Column of the mean. */
  mean: number;
  /** Columns of maximum and minimum, where they differ from it. */
  band?: [number, number];
}

export interface Summary {
  now: number | null;
  min: number | null;
  mean: number | null;
  max: number | null;
}

export interface Prepared {
  data: AlignedData;
  lines: Line[];
  summaries: Summary[];
  /** The most of the line that bounds the others. */
  bound?: number;
  /** Whether anything is above zero. */
  moves: boolean;
  /** Changes if other lines have to be drawn. */
  shape: string;
}

/** The lines of this group that are known at all; undefined if none is. `limit` stands for one whose past is not known. */
export function prepare(track: Track, group: Group, limit?: number): Prepared | undefined {
  const times = withGaps(track);
  const columns: Column[] = [];
  const lines: Line[] = [];
  const summaries: Summary[] = [];
  for (const shown of group.series) {
    const series = track.series.find((it) => it.name === shown.series) ?? constant(track, shown.series, limit);
    if (!series || series.mean.every((value) => value === null)) continue;
    const sparse = track.tier === "second" && shown.sparse === true;
    const place = columns.push(column(track, times, series.mean, sparse));
    const label = shown.bound && track.workload === undefined ? "total" : shown.label;
    const line: Line = { ...shown, label, mean: place };
    if (!shown.bound && series.mean.some((mean, at) => mean !== series.max[at] || mean !== series.min[at])) {
      line.band = [
        columns.push(column(track, times, series.max, false)),
        columns.push(column(track, times, series.min, false)),
      ];
    }
    lines.push(line);
    summaries.push(summary(series.min, series.mean, series.max));
  }
  if (lines.every((line) => line.bound)) return undefined;
  const bound = summaries[lines.findIndex((line) => line.bound)]?.max ?? undefined;
  const moves = lines.some((line, at) => !line.bound && (summaries[at]?.max ?? 0) > 0);
  const shape = lines.map((line) => `${line.series}${line.band ? "±" : ""}`).join(" ");
  return { data: [times, ...columns] as unknown as AlignedData, lines, summaries, bound, moves, shape };
}

/** The limit of now, for all times. */
function constant(track: Track, name: string, limit: number | undefined): Series | undefined {
  if (name !== LIMIT || limit === undefined) return undefined;
  const values = track.times.map(() => limit);
  return { name, min: values, mean: values, max: values };
}

/** The times, with one more where some are missing. */
function withGaps(track: Track): number[] {
  const times: number[] = [];
  const steps = track.times.slice(1).map((time, place) => time - (track.times[place] ?? time));
  const usual = Math.max(track.step, steps.sort((one, other) => one - other)[steps.length >> 1] ?? 0);
  let last = Infinity;
  for (const time of track.times) {
    if (time - last > 2.5 * usual) times.push(last + usual);
    times.push(time);
    last = time;
  }
  return times;
}

function column(track: Track, times: number[], values: Value[], sparse: boolean): Column {
  const column: Column = new Array<number | null>(times.length).fill(null);
  let from = 0;
  let known = -1;
  track.times.forEach((time, place) => {
    const value = values[place] ?? null;
    while (times[from] !== time) from += 1;
    column[from] = value;
    if (value === null) return;
    const since = known < 0 ? Infinity : time - (times[known] ?? 0);
    // What is undefined is drawn over, what is null is a gap.
    if (sparse && since <= SPAN) column.fill(undefined, known + 1, from);
    known = from;
  });
  return column;
}

export function summary(min: Value[], mean: Value[], max: Value[]): Summary {
  let least: Value = null;
  let most: Value = null;
  let now: Value = null;
  let sum = 0;
  let known = 0;
  mean.forEach((value, place) => {
    if (value === null) return;
    now = value;
    sum += value;
    known += 1;
    least = Math.min(least ?? Infinity, min[place] ?? value);
    most = Math.max(most ?? -Infinity, max[place] ?? value);
  });
  return { now, min: least, mean: known > 0 ? sum / known : null, max: most };
}
