// Amounts as text, in the units and with the figures that the terminal uses.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
/** Stands for what is not known. */
export const UNKNOWN = "–";

export function bytes(value: number | undefined | null): string {
  if (value == null) return UNKNOWN;
  let amount = Math.abs(value);
  let unit = 0;
  while (amount >= 999.5 && unit + 1 < UNITS.length) {
    amount /= 1024;
    unit += 1;
  }
  const digits = unit === 0 ? 0 : amount < 9.995 ? 2 : amount < 99.95 ? 1 : 0;
  return `${value < 0 ? "-" : ""}${amount.toFixed(digits)} ${UNITS[unit]}`;
}

export function rate(value: number | undefined | null): string {
  return value == null ? UNKNOWN : `${bytes(value)}/s`;
}

export function percent(ratio: number | undefined | null): string {
  if (ratio == null) return UNKNOWN;
  const value = 100 * ratio;
  const digits = Math.abs(value) >= 0.05 && Math.abs(value) < 9.95 ? 1 : 0;
  return `${value.toFixed(digits)} %`;
}

export function seconds(value: number | undefined | null): string {
  if (value == null) return UNKNOWN;
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 0.9995) return `${(value * 1e3).toFixed(0)} ms`;
  if (size < 9.95) return `${value.toFixed(1)} s`;
  if (size < 120) return `${value.toFixed(0)} s`;
  return `${(value / 60).toFixed(0)} min`;
}

export function watts(value: number): string {
  return `${value.toFixed(0)} W`;
}

/** A count, with as many digits as it needs below ten. */
export function count(value: number | undefined | null): string {
  if (value == null) return UNKNOWN;
  if (Number.isInteger(value)) return grouped(value);
  return Math.abs(value) < 10 ? value.toFixed(value < 0.1 ? 2 : 1) : grouped(Math.round(value));
}

function grouped(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

export function cores(value: number | undefined | null): string {
  return value == null ? UNKNOWN : value.toFixed(2);
}

/** How long something took or has lasted, coarser the longer: `12 s`, `5 min`, `3 h 20 min`, `2 d 4 h`. */
export function span(value: number): string {
  const whole = Math.max(0, Math.round(value));
  if (whole < 120) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 120) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`;
  return hours % 24 === 0 ? `${hours / 24} d` : `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** Time since then, by the agent's clock. */
export function ago(time: number, now: number): string {
  const passed = (now - time) / 1e9;
  return passed < 1 ? "now" : `${span(passed)} ago`;
}

const two = (value: number): string => String(value).padStart(2, "0");

/** Time of day of the reader's clock, from nanoseconds since the Unix epoch. */
export function clock(time: number): string {
  const date = new Date(time / 1e6);
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

export function moment(time: number): string {
  const date = new Date(time / 1e6);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock(time)}`;
}

/** A number by the unit that its name ends in. */
export function named(name: string, value: number): string {
  if (name.endsWith("bytes_per_second")) return rate(value);
  if (name.endsWith("bytes")) return bytes(value);
  if (name.endsWith("_ratio") || name.endsWith("_share")) return percent(value);
  if (name.endsWith("seconds")) return seconds(value);
  return count(value);
}

/** The words of a name, without the unit that the number has anyway. */
export function plain(name: string): string {
  return name.replace(/_(bytes|bytes_per_second|ratio)$/, "").replace(/_seconds$/, "_time").replace(/_/g, " ");
}
