// The overview: how the host is and why, what fires, what happened last, and the workloads.

import { useMemo } from "preact/hooks";
import type { World } from "../feed";
import { count } from "../format";
import { Alerts, Incidents } from "../part/alert";
import { Badge, Level } from "../part/badge";
import type { Row } from "../part/column";
import { Gpus } from "../part/gpu";
import { Host } from "../part/host";
import { Workloads } from "../part/table";
import * as route from "../route";
import type { Alert, Report } from "../type";

/** Alerts and incidents that are listed here: the most severe, and the newest. */
const FEW = 5;

export function Overview({ world }: { world: World }) {
  const { report, rates, incidents } = world;
  const rows = useMemo(() => (report ? join(report, rates) : []), [report, rates]);
  if (!report) return <p class="none">Asking the agent …</p>;
  // Firing alerts stand below, with what to do.
  const told = new Set(report.alerts.map((alert) => alert.summary));
  const reasons = report.reasons.filter((reason) => !told.has(reason));
  return (
    <>
      <section class="health" aria-labelledby="health">
        <h2 id="health">
          Health {report.health ? <Badge level={report.health} /> : <span class="dim">not judged: no rule is evaluated</span>}
          {report.level && <Level level={report.level} />}
          {report.alerts.length > 0 && <span class="dim"> {firing(report.alerts)}</span>}
        </h2>
        {reasons.length > 0 && (
          <ul class="reasons">
            {reasons.map((reason) => (
              <li key={reason}>{reason}</li>
            ))}
          </ul>
        )}
        {report.level && report.level.reasons.length > 0 && (
          <ul class="reasons">
            {report.level.reasons.map((reason) => (
              <li key={reason}>level: {reason}</li>
            ))}
          </ul>
        )}
        {report.unavailable.length > 0 && (
          <ul class="reasons">
            {report.unavailable.map(({ source, reason }) => (
              <li key={source}>
                cannot be read: {source}: {reason}
              </li>
            ))}
          </ul>
        )}
      </section>
      <section aria-labelledby="host">
        <h2 id="host">
          Host <a href={route.host()}>charts</a>
        </h2>
        <Host status={report} recent={report.recent?.host} />
      </section>
      <div class="pair">
        <section aria-labelledby="fires">
          <h2 id="fires">
            Firing alerts {report.alerts.length > FEW && <a href={route.EVENTS}>all {count(report.alerts.length)}</a>}
          </h2>
          <Alerts alerts={report.alerts.slice(0, FEW)} now={report.time} brief />
        </section>
        <section aria-labelledby="last">
          <h2 id="last">
            Latest incidents <a href={route.EVENTS}>all</a>
          </h2>
          <Incidents incidents={(incidents?.incidents ?? []).slice(0, FEW)} now={report.time} />
        </section>
      </div>
      {report.gpus.length > 0 && (
        <section aria-labelledby="gpus">
          <h2 id="gpus">GPUs</h2>
          <Gpus gpus={report.gpus} />
        </section>
      )}
      <section aria-labelledby="workloads">
        <h2 id="workloads">Workloads</h2>
        <Workloads rows={rows} />
      </section>
    </>
  );
}

/** How many alerts of each severity fire. */
function firing(alerts: Alert[]): string {
  const counts = (["critical", "warning", "info"] as const).map((severity) => {
    const many = alerts.filter((alert) => alert.severity === severity).length;
    return many === 0 ? undefined : `${count(many)} ${severity}`;
  });
  return `alerts that fire: ${counts.filter(Boolean).join(", ")}`;
}

/** Workloads with their rates, their peaks, and what they hold on GPUs. */
function join(report: Report, rates: World["rates"]): Row[] {
  const vram = new Map<string, number>();
  for (const holder of report.gpus.flatMap((gpu) => (gpu.parent ? [] : (gpu.workloads ?? [])))) {
    if (holder.memory_bytes !== undefined) {
      vram.set(holder.workload, (vram.get(holder.workload) ?? 0) + holder.memory_bytes);
    }
  }
  return report.workloads.map((line) => ({
    line,
    rates: rates?.get(line.workload) ?? {},
    peak: report.recent?.workloads[line.workload]?.memory_bytes?.max,
    vram: vram.get(line.workload),
    host: report.memory.usable_bytes ?? report.memory.total_bytes,
  }));
}
