// One workload, or the host: what it has now, what fires about it, and its charts over the window that was chosen.

import { useMemo } from "preact/hooks";
import { Charts, drawn } from "../chart/charts";
import { label } from "../chart/group";
import { FINEST, type Track } from "../chart/track";
import type { World } from "../feed";
import { bytes, clock, cores, count, moment, percent, seconds } from "../format";
import { Alerts } from "../part/alert";
import { word } from "../part/bar";
import { share } from "../part/column";
import { type Fact, Facts, Table } from "../part/plain";
import * as route from "../route";
import type { Line, Processes, Tier } from "../type";

const TIERS: Record<Tier, string> = {
  second: "One point a second",
  ten_seconds: "Ten seconds a point: the mean, and a band from minimum to maximum",
  minute: "A minute a point: the mean, and a band from minimum to maximum",
  quarter_hour: "A quarter of an hour a point: the mean, and a band from minimum to maximum",
};

export function Workload({ world, name, window }: { world: World; name: string; window: number }) {
  const { detail, missing, track } = world;
  const line = detail?.workload.workload === name ? detail.workload : undefined;
  return (
    <>
      {line && <Now line={line} />}
      {detail && detail.alerts.length > 0 && (
        <section aria-labelledby="fires">
          <h2 id="fires">Firing alerts</h2>
          <Alerts alerts={detail.alerts} now={detail.time} />
        </section>
      )}
      {missing !== undefined && <p class="none">{line ? `It has ended: ${missing}` : missing}</p>}
      <Span track={track} window={window} limit={line?.memory_limit_bytes} to={(it) => route.workload(name, it)} />
      {line && detail?.processes && <Largest processes={detail.processes} />}
    </>
  );
}

export function Host({ world, window }: { world: World; window: number }) {
  const { status, track } = world;
  const limit = status?.memory.usable_bytes ?? status?.memory.total_bytes;
  return <Span track={track} window={window} limit={limit} to={route.host} />;
}

function Now({ line }: { line: Line }) {
  const ratio = share(line);
  const facts: Fact[] = [
    ["Kind", [line.kind, line.gone ? "ended" : "", line.agent ? "this agent" : ""].filter(Boolean).join(", ")],
    ["Cgroup", line.cgroup],
    ["Pod", [line.namespace, line.pod, line.container].filter(Boolean).join(" / ")],
    ["Memory", `${bytes(line.memory_bytes)}${ratio === undefined ? "" : `, ${percent(ratio)} of the limit ${word(ratio)}`}`],
    ["Working set", bytes(line.memory_working_set_bytes)],
    ["Limit", line.memory_limit_bytes === undefined ? "none" : bytes(line.memory_limit_bytes)],
    ["Swap", bytes(line.swap_bytes)],
    ["Pinned", bytes(line.pinned_bytes)],
    ["CPUs in use", cores(line.cpu_cores)],
    ["Reclaim stalls", `${count(line.reclaim_stalls)}, ${seconds(line.reclaim_stall_seconds)}`],
    ["Major faults", count(line.major_faults)],
    ["OOM kills", count(line.oom_kills)],
  ];
  return <Facts facts={facts} />;
}

function Largest({ processes }: { processes: Processes }) {
  const { count: all, largest, missing } = processes;
  const rest = all !== undefined && all > largest.length ? `: the ${largest.length} largest of ${count(all)}` : "";
  return (
    <>
      {largest.length > 0 && (
        <Table
          title={`Processes${rest}`}
          heads={["Process", "PID", "Resident", "Swap"]}
          rows={largest.map((it) => [
            it.comm,
            String(it.pid),
            it.resident_bytes === undefined ? undefined : bytes(it.resident_bytes),
            it.swap_bytes ? bytes(it.swap_bytes) : undefined,
          ])}
        />
      )}
      {missing && <p class="dim">Processes: {missing}</p>}
    </>
  );
}

/** Since when anything is kept. */
function since(track: Track): number {
  return Math.min(...track.missing.map((gap) => gap.until));
}

interface SpanProps {
  track?: Track;
  window: number;
  limit?: number;
  to: (window: number) => string;
}

function Span({ track, window, limit, to }: SpanProps) {
  const version = track?.version ?? 0;
  const charts = useMemo(
    () => (track ? drawn(track, limit) : []),
    [track, version, limit],
  );
  const known = charts.filter(({ group, prepared }) => prepared.moves || !group.rare);
  const zero = charts.filter(({ group, prepared }) => !prepared.moves && group.rare);
  const end = track?.end ?? 0;
  return (
    <section aria-labelledby="charts">
      <h2 id="charts">Charts</h2>
      <nav class="windows" aria-label="Span of time">
        {route.WINDOWS.map(([seconds, words]) => (
          <a key={seconds} href={to(seconds)} aria-current={seconds === window ? "true" : undefined}>
            {words}
          </a>
        ))}
      </nav>
      <p class="dim">
        {track?.tier ? `${TIERS[track.tier]}. ` : ""}
        {track && end > 0 ? `Up to ${moment(end * 1e9)}. ` : ""}
        {track && window <= FINEST && track.missing.length > 0 ? `Kept since ${clock(since(track))}. ` : ""}
        {zero.length > 0 ? `Zero throughout: ${zero.map(({ group }) => group.title).join(", ")}.` : ""}
      </p>
      {track && window > FINEST && track.missing.length > 0 && (
        <ul class="reasons dim">
          {track.missing.map(({ until, series, reason }) => (
            <li key={`${until} ${reason}`}>
              Before {moment(until)}: {reason} ({series.map(label).join(", ")})
            </li>
          ))}
        </ul>
      )}
      {track?.problem && <p class="none">{track.problem}</p>}
      {version > 0 && !track?.problem && known.length === 0 && <p class="none">Nothing is kept of this span of time.</p>}
      <Charts charts={known} frame={{ from: end - window, to: end }} />
    </section>
  );
}
