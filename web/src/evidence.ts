// The evidence of an incident, as far as the page shows it. All of it may be absent: what is not known is not there.

export type Lines = Record<string, (number | null)[]>;

export interface Evidence {
  scope?: string;
  requested?: boolean;
  killed?: number;
  kills?: Victim[];
  limit?: Limit;
  candidates?: Limit[];
  workload?: Figures;
  after?: Figures;
  within?: Consumer[];
  consumers?: Consumer[];
  host?: Record<string, number>;
  storm?: { resource?: string; waited_seconds?: number; stalled_seconds?: number };
  gpu?: LostGpu;
  changes?: Change[];
  history?: { ago?: number[]; workload?: Lines; limited?: Lines; host?: Lines; last?: [number, number][] };
}

export interface Task {
  pid: number;
  comm: string;
  workload?: string;
}

export interface Victim extends Task {
  time: number;
  uid: number;
  score_adj: number;
  anon_bytes?: number;
  file_bytes?: number;
  shmem_bytes?: number;
  swap_bytes?: number;
  signal?: string;
  survives?: boolean;
  trigger?: Task;
  gpus?: { gpu: string; process_bytes?: number; workload_bytes?: number }[];
}

export interface Limit {
  workload?: string;
  own?: boolean;
  holder?: string;
  pod?: string;
  source?: string;
  bytes?: number;
  used_bytes?: number;
}

export type Figures = Record<string, number | string | boolean>;

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

export interface LostGpu {
  gpu: string;
  uuid: string;
  model: string;
  driver: string;
  xids?: number[];
  lost?: number;
  left?: number;
  error?: string;
  temperature?: number;
  power?: number;
  holders?: { workload: string; bytes?: number }[];
}

export interface Change {
  time: number;
  what: string;
  of: string;
  before?: number;
  after?: number;
}
