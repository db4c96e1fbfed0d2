// The evidence of an incident, as far as the page shows it. What is not known, and what is empty, is not there.

export type Lines = Record<string, (number | null)[]>;

export interface Evidence {
  killed?: number;
  kills?: Victim[];
  limit?: HitLimit;
  candidates?: HitLimit[];
  workload?: Figures;
  after?: Figures;
  within?: Consumer[];
  consumers?: Consumer[];
  host?: HostFigures;
  storm?: Storm;
  gpu?: LostGpu;
  slow?: SlowEvidence;
  starved?: Starved;
  changes?: Change[];
  history?: LastMinute;
}

export interface SlowEvidence {
  facts?: Record<string, SlowFact>;
  neighbours?: SlowNeighbour[];
}

export interface SlowFact {
  now: number;
  before?: number;
}

export interface SlowNeighbour {
  workload?: string;
  cpus?: number;
  cpus_before?: number;
  io_bytes_per_second?: number;
  io_before?: number;
  growth_bytes?: number;
}

export interface Starved {
  gpus?: StarvedGpu[];
}

export interface StarvedGpu {
  gpu?: string;
  utilization?: number;
  usual?: number;
}

export interface LastMinute {
  ago: number[];
  workload?: Lines;
  limited?: Lines;
  host?: Lines;
}

export interface Task {
  pid: number;
  comm: string;
  workload?: string;
}

export interface Victim extends Task {
  uid: number;
  score_adj: number;
  anon_bytes?: number;
  file_bytes?: number;
  shmem_bytes?: number;
  swap_bytes?: number;
  signal?: string;
  survives?: boolean;
  trigger?: Task;
  gpus?: HeldMemory[];
}

export interface HeldMemory {
  gpu: string;
  process_bytes?: number;
  workload_bytes?: number;
}

export interface HitLimit {
  workload?: string;
  own: boolean;
  holder?: string;
  source?: LimitSource;
  bytes?: number;
  used_bytes?: number;
}

export type LimitSource = "unknown" | "kernel" | "only" | "refused" | "used";

export interface Figures {
  memory_bytes?: number;
  peak_bytes?: number;
  limit_bytes?: number;
  high_bytes?: number;
  swap_bytes?: number;
  swap_limit_bytes?: number;
  pinned_bytes?: number;
  anon_bytes?: number;
  file_bytes?: number;
  shmem_bytes?: number;
  kernel_bytes?: number;
  socket_bytes?: number;
  unevictable_bytes?: number;
  dirty_bytes?: number;
  read_limit_bytes_per_second?: number;
  write_limit_bytes_per_second?: number;
}

export interface Consumer {
  workload: string;
  memory_bytes?: number;
  growth_bytes?: number;
  limit_bytes?: number;
  swap_bytes?: number;
  vram_bytes?: number;
  pinned_bytes?: number;
  waiting_seconds?: number;
  stall_seconds?: number;
  io_bytes?: number;
}

export interface HostFigures {
  total_bytes?: number;
  available_bytes?: number;
  free_bytes?: number;
  anon_bytes?: number;
  cached_bytes?: number;
  shmem_bytes?: number;
  slab_bytes?: number;
  unevictable_bytes?: number;
  pinned_bytes?: number;
  dirty_bytes?: number;
  swap_total_bytes?: number;
  swap_free_bytes?: number;
}

export interface Storm {
  waited_seconds?: number;
  stalled_seconds?: number;
}

export interface LostGpu {
  gpu: string;
  uuid: string;
  model: string;
  driver: string;
  xids?: number[];
  lost: number;
  left: number;
  error?: string;
  temperature?: number;
  power?: number;
  holders?: LostGpuHolder[];
}

export interface LostGpuHolder {
  workload: string;
  bytes?: number;
}

export interface Change {
  time: number;
  what: ChangeKind;
  of: string;
  before?: number;
  after?: number;
}

export type ChangeKind = "agent" | "came" | "went" | "limit" | "xid" | "gpu_came" | "gpu_went";
