// Amounts are written as the terminal writes them: the cases come from it.

import assert from "node:assert";
import { readFileSync } from "node:fs";
import test from "node:test";
import { ago, bytes, count, named, percent, plain, seconds, span, watts } from "../src/format";

const cases = JSON.parse(readFileSync(process.env.HEADROOM_CASES ?? "", "utf8")) as Record<string, [number, string][]>;
const writers: Record<string, (value: number) => string> = { bytes, percent, seconds, watts };

for (const [name, write] of Object.entries(writers)) {
  test(`${name} are written as in the terminal`, () => {
    const wanted = cases[name] ?? [];
    assert.ok(wanted.length > 10);
    for (const [value, text] of wanted) assert.equal(write(value), text);
  });
}

test("what is not known is no number", () => {
  for (const write of [bytes, percent, seconds, count]) assert.equal(write(undefined), "–");
});

test("spans are coarser the longer they are", () => {
  const spans = [0, 1.4, 119, 120, 3599, 7200, 12_000, 86_400, 172_800, 187_200].map(span);
  const wanted = ["0 s", "1 s", "119 s", "2 min", "59 min", "2 h", "3 h 20 min", "24 h", "2 d", "2 d 4 h"];
  assert.deepEqual(spans, wanted);
  assert.equal(ago(1_000_000_000, 1_500_000_000), "now");
  assert.equal(ago(0, 90_000_000_000), "90 s ago");
});

test("a number is written by the unit in its name", () => {
  assert.equal(named("limit_bytes", 1 << 20), "1.00 MiB");
  assert.equal(named("written_bytes_per_second", 2048), "2.00 KiB/s");
  assert.equal(named("used_ratio", 0.5), "50 %");
  assert.equal(named("growth_seconds", 8), "8.0 s");
  assert.equal(named("kills", 12_345), "12\u202f345");
  const names = ["growth_bytes", "growth_seconds", "used_ratio", "read_limit_bytes_per_second"];
  assert.deepEqual(names.map(plain), ["growth", "growth time", "used", "read limit"]);
});
