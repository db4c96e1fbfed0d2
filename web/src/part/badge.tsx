// Severity and health: a word, and a colour that says the same.

import type { Health, Severity } from "../type";

export function Badge({ level }: { level: Severity | Health }) {
  return <span class={`badge ${level}`}>{level}</span>;
}
