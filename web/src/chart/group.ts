// Which series stand together in one chart, and how they are written.

import { bytes, cores, count, percent, rate, seconds } from "../format";

export interface Shown {
  series: string;
  label: string;
  /** It bounds the others: dashed, and not drawn if it is far above them. */
  bound?: boolean;
  /** It has a value only where it was read; its line goes on until the next one. */
  sparse?: boolean;
}

export interface Group {
  title: string;
  /** What the numbers are, for those who do not know. */
  what: string;
  series: readonly Shown[];
  write: (value: number | undefined | null) => string;
  /** Axes go up to this at least, so that noise does not look like a mountain. */
  least: number;
  /** Marks of the axis are at multiples of powers of two. */
  binary?: boolean;
  /** It is left out while it is zero throughout. */
  rare?: boolean;
}

const AMOUNT = { write: bytes, least: 1 << 20, binary: true };
const TRAFFIC = { write: rate, least: 64 * 1024, binary: true };

/** The series of the memory limit. */
export const LIMIT = "memory_limit_bytes";

export const GROUPS: readonly Group[] = [
  {
    title: "Memory",
    what: "by kind, against the limit; its parts are read less often",
    series: [
      { series: "memory_bytes", label: "in use" },
      { series: "memory_anon_bytes", label: "anonymous", sparse: true },
      { series: "memory_file_bytes", label: "page cache", sparse: true },
      { series: "memory_shmem_bytes", label: "shared", sparse: true },
      { series: "memory_kernel_bytes", label: "kernel", sparse: true },
      { series: LIMIT, label: "limit", bound: true },
    ],
    ...AMOUNT,
  },
  {
    title: "Pressure (PSI)",
    what: "share of time in which tasks waited: some of them, or all at once (full)",
    series: [
      { series: "memory_waiting_ratio", label: "memory, some" },
      { series: "memory_stalled_ratio", label: "memory, full" },
      { series: "io_waiting_ratio", label: "IO, some" },
      { series: "io_stalled_ratio", label: "IO, full" },
    ],
    write: percent,
    least: 0.05,
  },
  {
    title: "CPU",
    what: "CPUs in use",
    series: [{ series: "cpu_seconds_per_second", label: "CPUs" }],
    write: cores,
    least: 0.1,
  },
  {
    title: "Reclaim stalls",
    what: "time in reclaim and compaction per second, summed over tasks",
    series: [{ series: "stall_seconds_per_second", label: "stalled" }],
    write: (value) => (value == null ? seconds(value) : `${seconds(value)}/s`),
    least: 0.01,
  },
  {
    title: "Major faults",
    what: "page faults that needed IO, per second",
    series: [{ series: "major_faults_per_second", label: "faults" }],
    write: (value) => (value == null ? count(value) : `${count(value)}/s`),
    least: 5,
  },
  {
    title: "Block IO",
    what: "bytes per second",
    series: [
      { series: "read_bytes_per_second", label: "read" },
      { series: "written_bytes_per_second", label: "written" },
    ],
    ...TRAFFIC,
  },
  {
    title: "Swap",
    what: "swap used",
    series: [{ series: "swap_bytes", label: "swap" }],
    ...AMOUNT,
    rare: true,
  },
  {
    title: "GPU memory",
    what: "held on all GPUs",
    series: [{ series: "vram_bytes", label: "GPU memory" }],
    ...AMOUNT,
    rare: true,
  },
  {
    title: "PCIe",
    what: "bytes copied per second",
    series: [
      { series: "host_to_device_bytes_per_second", label: "to GPUs" },
      { series: "device_to_host_bytes_per_second", label: "from GPUs" },
    ],
    ...TRAFFIC,
    rare: true,
  },
  {
    title: "Pinned memory",
    what: "host memory pinned for GPUs",
    series: [{ series: "pinned_bytes", label: "pinned" }],
    ...AMOUNT,
    rare: true,
  },
];

export function label(series: string): string {
  for (const group of GROUPS) {
    const found = group.series.find((it) => it.series === series);
    if (found) return group.series.length > 1 ? `${group.title}: ${found.label}` : group.title;
  }
  return series;
}
