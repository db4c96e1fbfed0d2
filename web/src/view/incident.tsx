// One incident: what happened, why, what to do, and the minute before.

import { useMemo } from "preact/hooks";
import { Chart } from "../chart/chart";
import { GROUPS } from "../chart/group";
import { prepare } from "../chart/prepare";
import { Track } from "../chart/track";
import type { Evidence, Lines } from "../evidence";
import type { World } from "../feed";
import { ago, moment, named } from "../format";
import { Subject, words } from "../part/alert";
import { Amounts, Changes, Consumers, Kills, Limits, Lost } from "../part/evidence";
import type { Alert, Incident as Data } from "../type";

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
  const evidence = incident.evidence as Evidence;
  const waits = incident.kind.endsWith("pressure");
  const owner = incident.labels.workload ?? "the workload";
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
        <Actions alerts={(status?.alerts ?? []).filter((alert) => alert.incident === incident.id)} />
      </section>
      <Minute incident={incident} owner={owner} />
      <Kills evidence={evidence} />
      <Limits evidence={evidence} />
      <Lost gpu={evidence.gpu} />
      <Amounts title={`Memory of ${owner}`} figures={evidence.workload} />
      <Amounts title="The same, read after the kill" figures={evidence.after} />
      <Consumers title={`Largest workloads below ${evidence.limit?.workload ?? "the limit"}`} consumers={evidence.within} />
      <Consumers
        title={waits ? "Workloads that waited most on this host" : "Largest workloads on this host"}
        consumers={evidence.consumers}
      />
      <Amounts title="Memory of the host" figures={evidence.host} />
      <Changes changes={evidence.changes} time={incident.time} />
      <p class="dim">
        Incident {incident.id}. In a terminal: <code>headroom explain {incident.id}</code>
      </p>
    </>
  );
}

/** The numbers behind the sentence. */
function Numbers({ incident }: { incident: Data }) {
  const numbers = Object.entries(incident.cause.numbers ?? {});
  if (numbers.length === 0) return null;
  return (
    <dl class="facts">
      {numbers.map(([name, value]) => (
        <div key={name}>
          <dt>{name.replace(/_(bytes|seconds|ratio)$/, "").replace(/_/g, " ")}</dt>
          <dd>{named(name, value)}</dd>
        </div>
      ))}
    </dl>
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

/** The minute before, of the workload, of whose limit was hit, and of the host. */
function Minute({ incident, owner }: { incident: Data; owner: string }) {
  const evidence = incident.evidence as Evidence;
  const { ago = [], workload, limited, host } = evidence.history ?? {};
  const limit = evidence.limit;
  const parts: [string, Lines | undefined, number | undefined][] = [
    [owner, workload, limit?.own ? limit.bytes : undefined],
    [limit?.workload ?? "the limit", limited, limit?.bytes],
    ["the host", host, undefined],
  ];
  return (
    <>
      {parts.map(([name, lines, bound]) =>
        lines && ago.length > 1 ? (
          <section key={name}>
            <h2>The minute before, of {name}</h2>
            <Charts ago={ago} lines={lines} limit={bound} />
          </section>
        ) : null,
      )}
    </>
  );
}

function Charts({ ago, lines, limit }: { ago: number[]; lines: Lines; limit?: number }) {
  const track = useMemo(() => past(ago, lines), [ago, lines]);
  const known = useMemo(
    () => GROUPS.map((group) => ({ group, prepared: prepare(track, group) })).filter(({ prepared }) => moves(prepared)),
    [track],
  );
  const from = Math.min(-(ago[0] ?? 60), -1);
  return (
    <div class="charts">
      {known.map(
        ({ group, prepared }) =>
          prepared && (
            <Chart
              key={group.title}
              group={group}
              prepared={prepared}
              newest="last"
              frame={{ from, to: 0, limit: group.limit ? limit : undefined, relative: true }}
            />
          ),
      )}
    </div>
  );
}

/** What was zero for the whole minute says nothing. */
function moves(prepared: ReturnType<typeof prepare>): boolean {
  return prepared?.summaries.some((summary) => (summary.max ?? 0) > 0) ?? false;
}

/** The points with times before the incident. */
function past(ago: number[], lines: Lines): Track {
  const track = new Track(undefined, 60);
  track.tier = "second";
  track.times = ago.map((seconds) => -seconds);
  track.series = Object.entries(lines).map(([name, values]) => ({ name, min: values, mean: values, max: values }));
  return track;
}
