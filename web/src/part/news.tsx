// Says new alerts to those who do not see the page: only what fires since it was opened, and once.

import { useRef } from "preact/hooks";
import type { Status } from "../type";

/** Alerts of one tick that are said one by one. */
const FEW = 3;

export function News({ status }: { status: Status | undefined }) {
  const known = useRef<Set<string>>();
  const said = useRef("");
  if (status) {
    const now = new Map(status.alerts.map((alert) => [`${alert.alert} ${JSON.stringify(alert.labels)} ${alert.fired}`, alert]));
    const fresh = [...now].filter(([name]) => known.current && !known.current.has(name)).map(([, alert]) => alert);
    if (fresh.length > FEW) said.current = `${fresh.length} new alerts.`;
    else if (fresh.length > 0) said.current = fresh.map((it) => `New alert, ${it.severity}: ${it.summary}`).join(" ");
    known.current = new Set(now.keys());
  }
  return (
    <p class="hidden" role="status" aria-live="polite">
      {said.current}
    </p>
  );
}
