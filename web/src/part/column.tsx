// The columns of the table of workloads: what each shows, and the number by which it sorts.

import type { ComponentChildren } from "preact";
import { bytes, cores, count, percent, rate } from "../format";
import type { Rates } from "../rate";
import type { Line } from "../type";
import { Bar, word } from "./bar";
import { Named } from "./plain";

/** A workload with all that is said of it. */
export interface Row {
  line: Line;
  rates: Rates;
  /** The most memory of five minutes. */
  peak?: number;
  vram?: number;
  /** Memory of the host, against which memory without a limit is drawn. */
  host?: number;
}

export interface Column {
  key: string;
  head: string;
  /** What the number is. */
  what: string;
  /** By what rows are sorted; absent where it is not known. */
  value: (row: Row) => number | string | undefined;
  cell: (row: Row) => ComponentChildren;
  /** It is shown only if it is not zero for some workload; any other, if it is known for one. */
  rare?: boolean;
}

export const COLUMNS: readonly Column[] = [
  {
    key: "workload",
    head: "Workload",
    what: "Service, container, pod or cgroup",
    value: ({ line }) => line.workload,
    cell: ({ line }) => (
      <>
        <Named name={line.workload} />
        <span class="kind">
          {line.kind}
          {line.gone ? ", ended" : ""}
          {line.agent ? ", this agent" : ""}
        </span>
      </>
    ),
  },
  {
    key: "memory",
    head: "Memory",
    what: "Memory charged to it, and its limit",
    value: ({ line }) => line.memory_bytes,
    cell: (row) => <Memory row={row} />,
  },
  {
    key: "limit",
    head: "Of limit",
    what: "Share of its memory limit that is in use",
    value: ({ line }) => share(line),
    cell: ({ line }) => {
      const ratio = share(line);
      return ratio === undefined ? <span class="dim">no limit</span> : <>{percent(ratio)} <span class="word">{word(ratio)}</span></>;
    },
  },
  {
    key: "peak",
    head: "Peak 5 min",
    what: "The most memory of the last five minutes",
    value: ({ peak }) => peak,
    cell: ({ peak }) => bytes(peak),
  },
  {
    key: "cpu",
    head: "CPUs",
    what: "CPUs in use",
    value: ({ line }) => line.cpu_cores,
    cell: ({ line }) => cores(line.cpu_cores),
  },
  {
    key: "vram",
    head: "GPU memory",
    what: "Memory that it holds on GPUs",
    value: ({ vram }) => vram,
    cell: ({ vram }) => (vram === undefined ? "" : bytes(vram)),
    rare: true,
  },
  {
    key: "pinned",
    head: "Pinned",
    what: "Host memory pinned for GPUs",
    value: ({ line }) => line.pinned_bytes,
    cell: ({ line }) => bytes(line.pinned_bytes),
    rare: true,
  },
  {
    key: "swap",
    head: "Swap",
    what: "Swap used",
    value: ({ line }) => line.swap_bytes,
    cell: ({ line }) => bytes(line.swap_bytes),
    rare: true,
  },
  {
    key: "waiting",
    head: "Waits: memory",
    what: "Share of time in which some task of it waited for memory (PSI)",
    value: ({ rates }) => rates.memoryWaiting,
    cell: ({ rates }) => percent(rates.memoryWaiting),
  },
  {
    key: "io",
    head: "Waits: IO",
    what: "Share of time in which some task of it waited for IO (PSI)",
    value: ({ rates }) => rates.ioWaiting,
    cell: ({ rates }) => percent(rates.ioWaiting),
  },
  {
    key: "stalls",
    head: "Stalls",
    what: "Time in reclaim and compaction, as a share of time, summed over its tasks",
    value: ({ rates }) => rates.stalls,
    cell: ({ rates }) => percent(rates.stalls),
  },
  {
    key: "faults",
    head: "Faults/s",
    what: "Page faults that needed IO, per second",
    value: ({ rates }) => rates.faults,
    cell: ({ rates }) => count(rates.faults),
  },
  {
    key: "read",
    head: "Read",
    what: "Bytes read from block devices, per second",
    value: ({ rates }) => rates.read,
    cell: ({ rates }) => rate(rates.read),
  },
  {
    key: "written",
    head: "Written",
    what: "Bytes written to block devices, per second",
    value: ({ rates }) => rates.written,
    cell: ({ rates }) => rate(rates.written),
  },
  {
    key: "kills",
    head: "OOM kills",
    what: "Processes that the OOM killer killed since the agent started",
    value: ({ line }) => line.oom_kills,
    cell: ({ line }) => (line.oom_kills ? <strong class="bad">{count(line.oom_kills)}</strong> : count(line.oom_kills)),
  },
];

export function share(line: Line): number | undefined {
  const { memory_bytes: used, memory_limit_bytes: limit } = line;
  return used === undefined || !limit ? undefined : used / limit;
}

function Memory({ row }: { row: Row }) {
  const { line, host } = row;
  const limited = share(line);
  const ofHost = host && line.memory_bytes !== undefined ? line.memory_bytes / host : undefined;
  return (
    <div class="meter">
      {line.memory_bytes !== undefined && <Bar ratio={limited ?? ofHost} free={limited === undefined} />}
      <span>
        {bytes(line.memory_bytes)}
        {line.memory_limit_bytes !== undefined && <span class="dim"> of {bytes(line.memory_limit_bytes)}</span>}
      </span>
    </div>
  );
}
