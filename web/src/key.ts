// Keys: what each does, and whether single keys are on at all.

import { recall, remember } from "./store";

/** What the reader is told of them. */
export const KEYS: readonly (readonly [string, string])[] = [
  ["j, ↓", "next workload in the table"],
  ["k, ↑", "previous workload in the table"],
  ["Enter", "open what has the focus"],
  ["/", "filter workloads"],
  ["o", "overview"],
  ["e", "alerts and incidents"],
  ["m", "model servers"],
  ["d", "advice: what to do"],
  ["l", "reservations (leases), and who waits for room"],
  ["1 … 5", "span of time of the charts"],
  ["t", "theme: system, light, dark"],
  ["?", "this help"],
  ["Esc", "close the help, leave the filter, or go back to the overview"],
];

export function enabled(): boolean {
  return recall("keys") !== "off";
}

export function enable(on: boolean): void {
  remember("keys", on ? "on" : "off");
}

export interface Actions {
  help: () => void;
  theme: () => void;
  go: (view: "overview" | "events" | "models" | "advice" | "reservations") => void;
  window: (place: number) => void;
  back: () => void;
}

/** Handles a key that nothing else wants. */
export function press(event: KeyboardEvent, actions: Actions): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  const target = event.target as HTMLElement | null;
  if (target?.closest("input, textarea, select, dialog")) return;
  if (event.key === "Escape") {
    actions.back();
    return;
  }
  if (!enabled() || !act(event.key, actions)) return;
  event.preventDefault();
}

function act(key: string, actions: Actions): boolean {
  switch (key) {
    case "j":
    case "ArrowDown":
      return move(1, key === "j");
    case "k":
    case "ArrowUp":
      return move(-1, key === "k");
    case "/":
      return focus(document.querySelector<HTMLElement>("[data-filter]"));
    case "?":
      actions.help();
      return true;
    case "t":
      actions.theme();
      return true;
    case "o":
      actions.go("overview");
      return true;
    case "e":
      actions.go("events");
      return true;
    case "m":
      actions.go("models");
      return true;
    case "d":
      actions.go("advice");
      return true;
    case "l":
      actions.go("reservations");
      return true;
    case "1":
    case "2":
    case "3":
    case "4":
    case "5":
      actions.window(Number(key) - 1);
      return true;
    default:
      return false;
  }
}

/** Moves the focus along the names of the table. Arrows do so only from within it: elsewhere they scroll. */
function move(by: number, from: boolean): boolean {
  const links = [...document.querySelectorAll<HTMLElement>("table[data-rows] tbody th a")];
  const place = links.indexOf(document.activeElement as HTMLElement);
  if (place < 0 && !from) return false;
  const next = place < 0 ? (by > 0 ? 0 : links.length - 1) : place + by;
  return focus(links[Math.min(links.length - 1, Math.max(0, next))] ?? null);
}

function focus(element: HTMLElement | null): boolean {
  element?.focus();
  element?.scrollIntoView({ block: "nearest" });
  return element !== null;
}
