// Numbers of advice are written as the terminal writes them: the cases come from it.

import assert from "node:assert";
import { readFileSync } from "node:fs";
import test from "node:test";
import { span } from "../src/format";
import { parse } from "../src/route";
import { amount, effect, saved } from "../src/saving";
import type { AdviceEvidence, AdviceSaves } from "../src/suggestion";

interface Cases {
  spans: [number, string][];
  saves: [AdviceSaves, string | null][];
  evidence: [AdviceEvidence, string][];
}

const cases = JSON.parse(readFileSync(process.env.HEADROOM_CASES ?? "", "utf8")) as Cases;

test("spans, savings and evidence are written as in the terminal", () => {
  assert.ok(cases.spans.length > 10 && cases.saves.length > 5 && cases.evidence.length > 40);
  for (const [value, text] of cases.spans) assert.equal(span(value), text);
  for (const [value, text] of cases.saves) assert.equal(saved(value), text ?? undefined);
  for (const [value, text] of cases.evidence) assert.equal(amount(value), text, `${value.value} ${value.unit}`);
});

test("what a followed advice did is told by day, and what is not known is not zero", () => {
  assert.equal(effect({ seconds: 172_800, kills_per_day: 0, stall_seconds_per_day: 1 }), "no OOM kill and 1.0 s of stalls a day (2 d)");
  assert.equal(effect({ seconds: 86_400, kills_per_day: 0.5 }), "0.5 OOM kills a day (24 h)");
  assert.equal(effect({ seconds: 86_400 }), "not known");
});

test("advice has an address", () => {
  assert.deepEqual(parse("#/advice"), { view: "advice" });
});
