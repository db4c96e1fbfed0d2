// Numbers of advice as text, as the terminal writes them.

import { bytes, percent, rate, seconds, span, watts } from "./format";
import type { AdviceEffect, AdviceEvidence, AdviceSaves } from "./suggestion";

/** A number that an advice rests on. */
export function amount({ value, unit }: AdviceEvidence): string {
  switch (unit) {
    case "bytes":
      return bytes(Math.trunc(value));
    case "bytes_per_second":
      return rate(Math.trunc(value));
    case "seconds":
      return time(value);
    case "ratio":
      return percent(value);
    case "cpus":
      return `${value.toFixed(2)} CPUs`;
    case "watts":
      return watts(value);
    case "count":
      return few(value);
  }
}

/** What would have been saved, and in which period; nothing if no number is known. */
export function saved(saves: AdviceSaves): string | undefined {
  const { over_seconds: over, kills, stall_seconds: stalls, bytes: size, watts: power } = saves;
  const parts = [
    kills === undefined ? undefined : kills === 1 ? "1 OOM kill" : `${few(kills)} OOM kills`,
    stalls === undefined ? undefined : `${time(stalls)} of stalls`,
    size === undefined ? undefined : bytes(Math.trunc(size)),
    power === undefined ? undefined : watts(power),
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? undefined : `in ${span(over)}: ${parts.join(", ")}`;
}

/** OOM kills and stalls a day. */
export function effect(effect: AdviceEffect): string {
  const { kills_per_day: kills, stall_seconds_per_day: stalls } = effect;
  const parts = [
    kills === undefined ? undefined : kills === 0 ? "no OOM kill" : `${few(kills)} OOM kills`,
    stalls === undefined ? undefined : `${seconds(stalls)} of stalls`,
  ].filter((part) => part !== undefined);
  return parts.length === 0 ? "not known" : `${parts.join(" and ")} a day (${span(effect.seconds)})`;
}

/** Of seconds and of days. */
function time(value: number): string {
  return value < 120 ? seconds(value) : span(value);
}

/** With a digit after the point where it is a mean of few. */
function few(value: number): string {
  return value.toFixed(Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 1);
}
