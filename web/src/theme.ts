// Dark or light: as the system says, or as the reader chose.

import { recall, remember } from "./store";

export type Choice = "system" | "light" | "dark";

const ORDER: readonly Choice[] = ["system", "light", "dark"];
const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

export function choice(): Choice {
  const kept = recall("theme");
  return ORDER.find((it) => it === kept) ?? "system";
}

/** The theme that shows now. */
export function shown(): "light" | "dark" {
  const chosen = choice();
  if (chosen !== "system") return chosen;
  return dark.matches ? "dark" : "light";
}

export function next(): void {
  const after = ORDER[(ORDER.indexOf(choice()) + 1) % ORDER.length] ?? "system";
  remember("theme", after);
  apply();
}

/** Calls back whenever the theme changes, until the returned function is called. */
export function watch(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function apply(): void {
  document.documentElement.dataset.theme = shown();
  for (const listener of listeners) listener();
}

dark.addEventListener("change", apply);
apply();
