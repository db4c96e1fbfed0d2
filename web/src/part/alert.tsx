// Alerts that fire, and what happened last, as lists.

import { ago, moment } from "../format";
import * as route from "../route";
import type { Alert, IncidentLine } from "../type";
import { Badge } from "./badge";
import { Named } from "./plain";

/** Labels that say again what another one says. */
const SAID = ["kind", "namespace", "pod", "container", "uuid"];

/** The workload, GPU or filesystem that it is about. Names of alerts and their labels are what /metrics has. */
export function Subject({ labels }: { labels: Record<string, string> }) {
  const { workload, ...rest } = labels;
  const others = Object.entries(rest).filter(([name]) => !SAID.includes(name));
  return (
    <>
      {workload !== undefined && <Named name={workload} />}
      {others.map(([name, value]) => (
        <span key={name} class="label">
          {name} {value}
        </span>
      ))}
    </>
  );
}

interface AlertsProps {
  alerts: Alert[];
  now: number;
  /** Without the cause, which the incident tells. */
  brief?: boolean;
}

export function Alerts({ alerts, now, brief }: AlertsProps) {
  if (alerts.length === 0) return <p class="none">No alert fires.</p>;
  return (
    <ul class="list">
      {alerts.map((alert) => (
        <li key={`${alert.alert} ${JSON.stringify(alert.labels)}`} class={`item ${alert.severity}`}>
          <div class="line">
            <Badge level={alert.severity} />
            <strong>{alert.alert}</strong>
            <Subject labels={alert.labels} />
            <time class="dim" title={moment(alert.fired)}>
              since {moment(alert.fired).slice(5, 16)}, {ago(alert.fired, now)}
            </time>
          </div>
          <p>
            {alert.summary}{" "}
            {brief && alert.incident && <a href={route.incident(alert.incident)}>why</a>}
          </p>
          {!brief && alert.cause && <p>{alert.cause}</p>}
          <p class="action">
            <span class="dim">Do: </span>
            {alert.action}
          </p>
          {!brief && alert.incident && <a href={route.incident(alert.incident)}>Why: the incident</a>}
        </li>
      ))}
    </ul>
  );
}

export function Incidents({ incidents, now }: { incidents: IncidentLine[]; now: number }) {
  if (incidents.length === 0) return <p class="none">No incident so far.</p>;
  return (
    <ul class="list">
      {incidents.map((incident) => (
        <li key={incident.id} class="item">
          <div class="line">
            <time class="dim" title={moment(incident.time)}>
              {moment(incident.time).slice(5)}, {ago(incident.time, now)}
            </time>
            <a href={route.incident(incident.id)}>{incident.title}</a>
          </div>
          <p>{incident.complete ? incident.cause : `${incident.cause} (not complete yet)`}</p>
        </li>
      ))}
    </ul>
  );
}

const KINDS: Record<string, string> = {
  oom: "OOM kill",
  memory_pressure: "memory pressure",
  io_pressure: "IO pressure",
  gpu_lost: "GPU lost",
  killed: "killed",
  latency: "slow model",
  gpu_starved: "starved GPU",
};

/** The kind of an incident in words. */
export function words(kind: string): string {
  return KINDS[kind] ?? kind.replace(/_/g, " ");
}
