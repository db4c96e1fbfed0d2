// Severity, health and level: a word, and a colour that says the same.

import { UNKNOWN } from "../format";
import type { Health, LevelLine, Severity } from "../type";

export function Badge({ level }: { level: Severity | Health }) {
  return <span class={`badge ${level}`}>{level}</span>;
}

/** Colours of the levels, from 0 on. */
const GRADES = ["healthy", "info", "moderate", "warning", "critical"];

/** How degraded the host is. */
export function Level({ level }: { level: LevelLine }) {
  const known = level.level !== undefined;
  return (
    <span class={`badge ${known ? (GRADES[level.level ?? 0] ?? "critical") : "moderate"}`}>
      level {known ? `${level.level} ${level.name ?? ""}` : level.at_least > 0 ? `not known, ${level.at_least} or higher` : "not known"}
    </span>
  );
}

/** The level of a GPU; 0 is nothing to see. */
export function GpuLevel({ level }: { level: number | undefined }) {
  if (level === undefined || level === 0) return <>{level ?? UNKNOWN}</>;
  return <span class={`badge ${GRADES[level] ?? "critical"}`}>{level}</span>;
}
