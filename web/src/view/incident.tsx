// One incident: what happened, why, what to do, and the minute before.

import { useMemo } from "preact/hooks";
import { Charts, drawn } from "../chart/charts";
import { Track } from "../chart/track";
import type { LastMinute, Lines } from "../evidence";
import type { World } from "../feed";
import { ago, moment, named, plain } from "../format";
import { Subject, words } from "../part/alert";
import { Amounts, Changes, Consumers, Kills, Limits, Lost } from "../part/evidence";
import { Facts } from "../part/plain";
import { Changed, Starving } from "../part/slow";
import type { Alert, Check, Explained } from "../type";

export function Incident({ world, id }: { world: World; id: string }) {
  const { incident, missing, status } = world;
  if (missing !== undefined) {
    return (
      <p class="none">
        {missing} The journal may still have it: <code>headroom explain {id}</code>
      </p>
    );
  }
  if (!incident) return <p class="none">Asking the agent …</p>;
  const { evidence } = incident;
  const waits = incident.kind.endsWith("pressure");
  const owner = incident.labels.workload ?? "the workload";
  const above = evidence.limit?.workload ?? "the limit";
  const own = evidence.limit?.own ? evidence.limit.bytes : undefined;
  return (
    <>
      <p class="dim">
        {words(incident.kind)}, {moment(incident.time)}
        {status ? `, ${ago(incident.time, status.time)}` : ""}
        {incident.complete ? "" : "; not complete yet"} <Subject labels={incident.labels} />
      </p>
      <section aria-labelledby="why" class="why">
        <h2 id="why">Why</h2>
        <p>{incident.cause.sentence}</p>
        <Numbers incident={incident} />
      </section>
      <section aria-labelledby="next" class="next">
        <h2 id="next">What to do</h2>
        <p>{incident.cause.next}</p>
        <Checks checks={incident.checks} />
        <Actions alerts={(status?.alerts ?? []).filter((alert) => alert.incident === incident.id)} />
      </section>
      <Starving starved={evidence.starved} />
      <Changed slow={evidence.slow} />
      <Kills evidence={evidence} />
      <Limits evidence={evidence} />
      <Minute of={owner} history={evidence.history} lines={evidence.history?.workload} limit={own} />
      <Minute of={above} history={evidence.history} lines={evidence.history?.limited} limit={evidence.limit?.bytes} />
      <Lost gpu={evidence.gpu} />
      <Amounts title={`Memory of ${owner}`} figures={evidence.workload} />
      <Amounts title="The same, read after the kill" figures={evidence.after} />
      <Consumers title={`Largest workloads below ${above}`} consumers={evidence.within} />
      <Consumers
        title={waits ? "Workloads that waited most on this host" : "Largest workloads on this host"}
        consumers={evidence.consumers}
      />
      <Minute of="the host" history={evidence.history} lines={evidence.history?.host} />
      <Amounts title="Memory of the host" figures={evidence.host} />
      <Changes changes={evidence.changes} time={incident.time} />
      <p class="dim">
        Incident {incident.id}. In a terminal: <code>headroom explain {incident.id}</code>
      </p>
    </>
  );
}

/** The numbers behind the sentence. */
function Numbers({ incident }: { incident: Explained }) {
  const numbers = Object.entries(incident.cause.numbers ?? {});
  if (numbers.length === 0) return null;
  return <Facts facts={numbers.map(([name, value]) => [plain(name), named(name, value)])} />;
}

/** Steps of the runbook. */
function Checks({ checks }: { checks: Check[] }) {
  if (checks.length === 0) return null;
  return (
    <>
      <h3>How to check</h3>
      <ul class="checks">
        {checks.map(({ run, shows }) => (
          <li key={run}>
            <code>{run}</code> {shows}
          </li>
        ))}
      </ul>
    </>
  );
}

function Actions({ alerts }: { alerts: Alert[] }) {
  if (alerts.length === 0) return null;
  return (
    <ul>
      {alerts.map((alert) => (
        <li key={alert.alert}>
          <strong>{alert.alert}</strong>: {alert.action}
        </li>
      ))}
    </ul>
  );
}

interface MinuteProps {
  of: string;
  history: LastMinute | undefined;
  lines: Lines | undefined;
  limit?: number;
}

function Minute({ of, history, lines, limit }: MinuteProps) {
  const ago = history?.ago ?? [];
  if (!lines || ago.length < 2) return null;
  return (
    <section>
      <h2>The minute before, of {of}</h2>
      <Past ago={ago} lines={lines} limit={limit} />
    </section>
  );
}

/** What was zero for the whole minute says nothing, and is left out. */
function Past({ ago, lines, limit }: { ago: number[]; lines: Lines; limit?: number }) {
  const track = useMemo(() => past(ago, lines), [ago, lines]);
  const known = useMemo(() => drawn(track, limit).filter(({ prepared }) => prepared.moves), [track, limit]);
  const from = Math.min(-(ago[0] ?? 60), -1);
  return <Charts charts={known} newest="last" frame={{ from, to: 0, relative: true }} />;
}

/** The points with times before the incident. */
function past(ago: number[], lines: Lines): Track {
  const track = new Track("", 60);
  track.tier = "second";
  track.times = ago.map((seconds) => -seconds);
  track.series = Object.entries(lines).map(([name, values]) => ({ name, min: values, mean: values, max: values }));
  return track;
}
