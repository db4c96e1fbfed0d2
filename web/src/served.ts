// The answer of the API about model servers, model files and stores, as far as the page reads it. A test compares it with the API's own
// description.

export type LatencyStage = "first_token" | "between_tokens" | "end_to_end" | "queue";

export type ModelFileUse = "mapped" | "open" | "argument";
export type StorageTier = "memory" | "ssd" | "hdd" | "network" | "unknown";

export interface Models {
  time: number;
  servers: ModelServer[];
  files?: ModelFile[];
  stores?: ModelStore[];
}

export interface ModelFile {
  file: string;
  workload: string;
  server?: string;
  how: ModelFileUse;
  bytes: number;
  cached_bytes?: number;
  read_again_bytes?: number;
  tier: StorageTier;
}

export interface ModelStore {
  path: string;
  tier: StorageTier;
  files: number;
  bytes: number;
  duplicate_bytes?: number;
  unused_bytes?: number;
  missing?: string;
}

export interface ModelServer {
  server: string;
  kind?: string;
  url: string;
  state: string;
  why?: string;
  next?: string;
  workload?: string;
  memory?: ModelMemory;
  models?: ModelLine[];
}

export interface ModelMemory {
  weights_bytes?: number;
  kv_offload_bytes?: number;
  prompt_cache_bytes?: number;
  pinned_bytes?: number;
  anon_bytes?: number;
  shmem_bytes?: number;
  file_bytes?: number;
}

export interface ModelLine {
  model: string;
  requests_running?: number;
  requests_waiting?: number;
  kv_used_ratio?: number;
  generated_tokens_per_second?: number;
  gpu_bytes?: number;
  stuck_seconds?: number;
  latency?: StageLatency[];
}

export interface StageLatency {
  stage: LatencyStage;
  count?: number;
  mean_seconds: number;
  p50_seconds?: number;
  p95_seconds?: number;
  p99_seconds?: number;
}
