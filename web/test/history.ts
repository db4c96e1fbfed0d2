// Points become lines: gaps stay gaps, windows keep their length, and rates are of counters that only grow.

import assert from "node:assert";
import test from "node:test";
import { GROUPS } from "../src/chart/group";
import { prepare } from "../src/chart/prepare";
import { Track } from "../src/chart/track";
import { Meter } from "../src/rate";
import { parse, workload } from "../src/route";
import type { History, Line, Points, Report, Tier } from "../src/type";

const SECOND = 1e9;
const [MEMORY] = GROUPS;

function points(series: string, tier: Tier, times: number[], values: (number | null)[]): Points {
  const step_seconds = { second: 1, ten_seconds: 10, minute: 60, quarter_hour: 900 }[tier];
  const [min, max] = [-1, 1].map((by) => values.map((value) => (value === null || tier === "second" ? value : value + by)));
  return { series, tier, step_seconds, kept_from: 0, times: times.map((time) => time * SECOND), min: min!, mean: values, max: max! };
}

/** Answers these histories one after the other, and notes what was asked. */
function answers(...histories: History[]): string[] {
  const asked: string[] = [];
  globalThis.fetch = (async (address: string) => {
    asked.push(address);
    return { ok: true, json: async () => histories.shift() };
  }) as unknown as typeof fetch;
  return asked;
}

function history(time: number, ...series: Points[]): History {
  return { time: time * SECOND, window_seconds: 300, series, missing: [] };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, at) => from + at);

test("an open chart asks for what is new, and keeps no more than its window", async () => {
  const known = range(0, 301);
  const full = history(300, points("memory_bytes", "second", known, known));
  const more = range(1, 200).map((tick) => {
    const times = range(300 + tick - 4, 301 + tick);
    const parts = tick < 5 ? [] : [points("swap_bytes", "second", times, times)];
    return history(300 + tick, points("memory_bytes", "second", times, times), ...parts);
  });
  const asked = answers(full, ...more);
  const track = new Track("/a b&c", 300);
  const signal = new AbortController().signal;
  for (let tick = 0; tick < 200; tick += 1) assert.ok(await track.extend(signal));
  assert.match(asked[0] ?? "", /window_seconds=300&workload=%2Fa%20b%26c$/);
  assert.match(asked[9] ?? "", /window_seconds=[56]&workload/);
  assert.ok(track.times.length <= 303, `${track.times.length}`);
  assert.equal(track.times[track.times.length - 1], 499);
  for (const series of track.series) {
    for (const part of ["min", "mean", "max"] as const) assert.equal(series[part].length, track.times.length);
  }
  const swap = track.series.find((series) => series.name === "swap_bytes");
  assert.deepEqual(swap?.mean.slice(-2), [498, 499]);
  assert.equal(swap?.mean[0], null);
});

test("a longer window shows the tier that reaches as far, with a band", async () => {
  answers(
    history(
      600,
      points("memory_bytes", "minute", [0, 60, 120, 300, 360], [5, 6, 7, 8, 9]),
      points("swap_bytes", "second", range(590, 600), range(0, 10)),
      points("major_faults_per_second", "second", range(590, 600), range(0, 10)),
    ),
  );
  const track = new Track(undefined, 86_400);
  await track.extend(new AbortController().signal);
  assert.equal(track.tier, "minute");
  assert.deepEqual(track.series.map((series) => series.name), ["memory_bytes"]);
  assert.equal(await track.extend(new AbortController().signal), false, "nothing is new within a minute");
  const prepared = prepare(track, MEMORY!, 20)!;
  assert.deepEqual(prepared.data[0], [0, 60, 120, 180, 300, 360]);
  assert.deepEqual(prepared.data[1], [5, 6, 7, null, 8, 9], "what is missing is a gap");
  assert.deepEqual(prepared.lines.map((line) => [line.label, line.band]), [["in use", [2, 3]], ["total", undefined]]);
  assert.deepEqual(prepared.summaries[0], { now: 9, min: 4, mean: 7, max: 10 });
  assert.equal(prepared.bound, 20);
});

test("what is read now and then is drawn over, and what was not known is a gap", async () => {
  const times = range(0, 6);
  answers(
    history(
      5,
      points("memory_bytes", "second", times, [1, null, null, 4, 5, 6]),
      points("memory_anon_bytes", "second", times, [1, null, null, 2, null, null]),
    ),
  );
  const track = new Track("/a", 300);
  await track.extend(new AbortController().signal);
  const prepared = prepare(track, MEMORY!)!;
  assert.deepEqual(prepared.data[1], [1, null, null, 4, 5, 6]);
  assert.deepEqual(prepared.data[2], [1, undefined, undefined, 2, null, null]);
});

test("an agent that has no points says why", async () => {
  globalThis.fetch = (async () => ({ ok: false, status: 503, json: async () => ({ detail: "not read yet" }) })) as unknown as typeof fetch;
  const track = new Track("/a", 300);
  assert.ok(await track.extend(new AbortController().signal));
  assert.equal(track.problem, "not read yet");
  globalThis.fetch = (async () => {
    throw new TypeError("refused");
  }) as unknown as typeof fetch;
  await assert.rejects(new Track("/a", 300).extend(new AbortController().signal), /cannot be reached/);
});

test("rates are over ten seconds, and a counter that went back has none", () => {
  const meter = new Meter();
  const report = (second: number, ...lines: Partial<Line>[]): Report =>
    ({ time: second * SECOND, workloads: lines.map((line) => ({ workload: "/a", ...line })) }) as unknown as Report;
  assert.equal(meter.measure(report(0, { major_faults: 0 })).size, 0);
  for (const second of range(1, 20)) meter.measure(report(second, { major_faults: second * second }));
  const rates = meter.measure(report(20, { major_faults: 400, block_read_bytes: 5 })).get("/a")!;
  assert.equal(rates.faults, 30, "from second 10 to second 20");
  assert.equal(rates.read, undefined);
  assert.equal(meter.measure(report(21, { major_faults: 3 })).get("/a")?.faults, undefined);
  assert.equal(meter.measure(report(22)).size, 0);
});

test("rates stay while nothing was read again", () => {
  const meter = new Meter();
  const seen = [0, 15, 30, 35, 45, 59, 60].map((second) => {
    const measured = Math.floor(second / 30) * 30;
    const report = { time: second * SECOND, measured: measured * SECOND, workloads: [{ workload: "/a", major_faults: measured * 2 }] };
    return meter.measure(report as unknown as Report).get("/a")?.faults;
  });
  assert.deepEqual(seen, [undefined, undefined, 2, 2, 2, 2, 2]);
});

test("addresses lead back to what they were made of", () => {
  for (const name of ["/a/b", "<img src=x>", "100%", "a?b&c=d#e", "…", "/quote\"\\"]) {
    assert.deepEqual(parse(workload(name, 3600)), { view: "workload", name, window: 3600 });
    assert.deepEqual(parse(workload(name)), { view: "workload", name, window: 300 });
  }
  for (const strange of ["", "#", "#/", "#/nothing", "#/workload/", "#/incident"]) {
    assert.equal(parse(strange).view, "overview", strange);
  }
  assert.deepEqual(parse("#/workload/%E0%A4%A?window=7"), { view: "workload", name: "%E0%A4%A", window: 300 });
});
