// Which view the address shows. All of it is behind the #, so the page works below any path.

import { encode } from "./api";

export type Route =
  | { view: "overview" }
  | { view: "events" }
  | { view: "models" }
  | { view: "advice" }
  | { view: "reservations" }
  | { view: "host"; window: number }
  | { view: "workload"; name: string; window: number }
  | { view: "incident"; id: string };

/** Seconds that the charts of a workload show, with the words for it. */
export const WINDOWS: readonly (readonly [number, string])[] = [
  [300, "5 min"],
  [3600, "1 h"],
  [86_400, "24 h"],
  [604_800, "7 d"],
  [7_776_000, "90 d"],
];

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  const [view = "", part = ""] = path.split("/");
  const name = decode(part);
  if (view === "events" || view === "models" || view === "advice" || view === "reservations") return { view };
  if (view === "incident" && name) return { view, id: name };
  const asked = Number(new URLSearchParams(query).get("window"));
  const window = WINDOWS.some(([seconds]) => seconds === asked) ? asked : 300;
  if (view === "host") return { view, window };
  if (view === "workload" && name) return { view, name, window };
  return { view: "overview" };
}

/** An address that somebody cut short may end in half a character. */
function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

export const OVERVIEW = "#/";
export const EVENTS = "#/events";
export const MODELS = "#/models";
export const ADVICE = "#/advice";
export const RESERVATIONS = "#/reservations";

export function incident(id: string): string {
  return `#/incident/${encode(id)}`;
}

export function workload(name: string, window = 300): string {
  return `#/workload/${encode(name)}${query(window)}`;
}

export function host(window = 300): string {
  return `#/host${query(window)}`;
}

function query(window: number): string {
  return window === 300 ? "" : `?window=${window}`;
}
