// The answers of the API that the page reads. A test compares each with the API's own description (openapi.json).
// Times are nanoseconds since the Unix epoch; JavaScript's numbers keep them to a quarter of a microsecond.

import type { Evidence } from "./evidence";

export type Severity = "info" | "warning" | "critical";
export type Health = "healthy" | "moderate" | "warning" | "critical";
export type Tier = "second" | "ten_seconds" | "minute" | "quarter_hour";

export interface Status {
  time: number;
  started: number;
  version?: string;
  kernel?: string;
  health?: Health;
  reasons: string[];
  level?: LevelLine;
  memory: Memory;
  swap: Swap;
  cpu: Cpu;
  pressure: Pressure;
  filesystems: FilesystemLine[];
  disks: DiskLine[];
  network: NetworkLine[];
  gpus: GpuLine[];
  alerts: Alert[];
  incident?: NewestIncident;
  advice?: AdviceCounts;
  unavailable: Unavailable[];
}

export interface AdviceCounts {
  high: number;
  medium: number;
}

export interface Report extends Status {
  recent?: Recent;
  measured?: number;
  workloads: Line[];
}

export interface LevelLine {
  level?: number;
  at_least: number;
  name?: string;
  factor?: number;
  admits_priority?: number;
  reasons: string[];
}

export interface Memory {
  total_bytes?: number;
  available_bytes?: number;
  free_bytes?: number;
  cached_bytes?: number;
  anon_bytes?: number;
  shmem_bytes?: number;
  pinned_bytes?: number;
  used_ratio?: number;
  used_bytes?: number;
  usable_bytes?: number;
}

export interface Swap {
  total_bytes?: number;
  free_bytes?: number;
  used_ratio?: number;
}

export interface Cpu {
  cpus?: number;
  busy_ratio?: number;
  iowait_ratio?: number;
  steal_ratio?: number;
  load1?: number;
  load5?: number;
  load15?: number;
}

export interface Pressure {
  cpu_waiting_ratio?: number;
  memory_waiting_ratio?: number;
  memory_stalled_ratio?: number;
  io_waiting_ratio?: number;
  io_stalled_ratio?: number;
}

export interface FilesystemLine {
  mountpoint: string;
  device: string;
  fstype: string;
  up: boolean;
  read_only?: boolean;
  size_bytes?: number;
  free_bytes?: number;
  available_bytes?: number;
  used_ratio?: number;
  inodes?: number;
  inodes_free?: number;
}

export interface DiskLine {
  device: string;
  busy_ratio?: number;
  in_flight?: number;
  read_bytes_per_second?: number;
  written_bytes_per_second?: number;
}

export interface NetworkLine {
  device: string;
  route: boolean;
  up?: boolean;
  receive_bytes_per_second?: number;
  transmit_bytes_per_second?: number;
  speed_bytes_per_second?: number;
  used_ratio?: number;
  speed_ratio?: number;
}

export interface GpuLine {
  gpu: string;
  uuid: string;
  model: string;
  driver: string;
  parent?: string;
  memory_total_bytes?: number;
  memory_used_bytes?: number;
  memory_free_bytes?: number;
  memory_reserved_bytes?: number;
  memory_used_ratio?: number;
  level?: number;
  utilization_ratio?: number;
  memory_utilization_ratio?: number;
  temperature_celsius?: number;
  power_watts?: number;
  power_limit_watts?: number;
  pcie_link_bytes_per_second?: number;
  pcie_host_to_device_ratio?: number;
  pcie_device_to_host_ratio?: number;
  pcie_method?: string;
  pcie_generation?: number;
  pcie_generation_max?: number;
  pcie_width?: number;
  pcie_width_max?: number;
  compute_capability?: string;
  throttle?: string[];
  ecc_errors_uncorrected?: number;
  xid_errors?: Record<string, number>;
  workloads?: Holder[];
}

export interface Holder {
  workload: string;
  memory_bytes?: number;
}

export interface Alert {
  alert: string;
  severity: Severity;
  state: "firing" | "resolved";
  labels: Record<string, string>;
  summary: string;
  action: string;
  value?: number;
  started: number;
  fired: number;
  resolved?: number;
  updated?: number;
  incident?: string;
  cause?: string;
}

export interface NewestIncident {
  id: string;
  kind: string;
  time: number;
  workload?: string;
  title: string;
  cause: string;
}

export interface Unavailable {
  source: string;
  reason: string;
}

export interface Recent {
  window_seconds: number;
  host: Record<string, Extent>;
  workloads: Record<string, Record<string, Extent>>;
}

export interface Extent {
  mean: number;
  max: number;
}

export interface Line {
  workload: string;
  kind: string;
  namespace?: string;
  pod?: string;
  container?: string;
  cgroup: string;
  agent?: boolean;
  gone?: boolean;
  memory_bytes?: number;
  memory_working_set_bytes?: number;
  memory_limit_bytes?: number;
  swap_bytes?: number;
  pinned_bytes?: number;
  cpu_seconds?: number;
  cpu_cores?: number;
  memory_waiting_seconds?: number;
  io_waiting_seconds?: number;
  cpu_waiting_seconds?: number;
  reclaim_stalls?: number;
  reclaim_stall_seconds?: number;
  major_faults?: number;
  block_read_bytes?: number;
  block_written_bytes?: number;
  oom_kills?: number;
}

export interface Detail {
  time: number;
  workload: Line;
  alerts: Alert[];
  processes?: Processes;
}

export interface Processes {
  count?: number;
  largest: Process[];
  missing?: string;
}

export interface Process {
  pid: number;
  comm: string;
  resident_bytes?: number;
  swap_bytes?: number;
}

export interface Incidents {
  time: number;
  incidents: IncidentLine[];
  left_out: number;
}

export interface IncidentLine {
  id: string;
  kind: string;
  time: number;
  complete: boolean;
  labels: Record<string, string>;
  title: string;
  cause: string;
}

export interface Explained {
  id: string;
  kind: string;
  time: number;
  complete: boolean;
  labels: Record<string, string>;
  title: string;
  cause: Cause;
  evidence: Evidence;
  checks: Check[];
}

export interface Check {
  run: string;
  shows: string;
}

export interface Cause {
  rule: string;
  sentence: string;
  next: string;
  numbers?: Record<string, number>;
}

export interface History {
  time: number;
  window_seconds: number;
  workload?: string;
  series: Points[];
  missing: Gap[];
}

export interface Gap {
  until: number;
  series: string[];
  reason: string;
}

export interface Points {
  workload?: string;
  series: string;
  tier: Tier;
  step_seconds: number;
  kept_from: number;
  times: number[];
  min: (number | null)[];
  mean: (number | null)[];
  max: (number | null)[];
}

export interface Reservations {
  time: number;
  reservations: Reservation[];
  waiting: Reservation[];
}

export interface Reservation {
  id: number;
  state: string;
  workload: string;
  uid?: number;
  owner?: LeaseOwner;
  unit?: string;
  priority: number;
  evictable?: boolean;
  resources: ReservationPart[];
  age_seconds: number;
  ends_in_seconds?: number;
  idle_seconds: number;
  orphans?: Orphan[];
}

export interface LeaseOwner {
  process?: Record<string, unknown>;
  cgroup?: Record<string, unknown>;
}

export interface ReservationPart {
  resource: string;
  of?: string;
  amount: number;
  used?: number;
}

export interface Orphan {
  pid: number;
  cgroup?: string;
  gpu: string;
  bytes?: number;
}

export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
}
