// Model servers: what each says of itself and holds, and what is not known of it.

import type { ComponentChildren } from "preact";
import type { World } from "../feed";
import { UNKNOWN, bytes, count, percent, seconds } from "../format";
import { Named, Table } from "../part/plain";
import type { LatencyStage, ModelFile, ModelLine, ModelServer, ModelStore, Models } from "../served";

/** States in which something is wrong, or not known. */
const POOR = ["failed", "silent", "unreachable"];
/** Files that are shown: the largest. */
const FEW = 40;

export function Served({ world }: { world: World }) {
  const { models } = world;
  if (!models) return <p class="none">Asking the agent …</p>;
  return (
    <>
      <Servers models={models} />
      <Files files={models.files ?? []} stores={models.stores ?? []} />
    </>
  );
}

function Servers({ models }: { models: Models }) {
  if (models.servers.length === 0) {
    return (
      <p class="none">
        No model server was found. <code>headroom doctor</code> says what can be seen on this host; a <code>[[model_server]]</code> in
        the configuration names one by its URL.
      </p>
    );
  }
  const open = models.servers.filter((it) => it.why !== undefined || it.next !== undefined);
  // Two answers may be alike while it works: some servers count seldom.
  const stuck = models.servers.flatMap((it) =>
    (it.models ?? []).filter((model) => (model.stuck_seconds ?? 0) >= 30).map((model) => ({ server: it.server, model })),
  );
  return (
    <>
      {open.length + stuck.length > 0 && (
        <ul class="reasons">
          {stuck.map(({ server, model }) => (
            <li key={`${server} ${model.model}`} class="bad">
              {server}: {model.model} made no token for {Math.round(model.stuck_seconds ?? 0)} s while requests run.
            </li>
          ))}
          {open.map((it) => (
            <li key={it.server} class={POOR.includes(it.state) ? "bad" : undefined}>
              {it.server}
              {it.why === undefined ? "" : `: ${it.why}`}. {it.next}
            </li>
          ))}
        </ul>
      )}
      <Table
        title="Servers"
        heads={["Server", "State", "Running", "Waiting", "KV used", "Tokens/s", "First token p95", "Token p95", "Request p95", "Model", "GPU memory", "Workload"]}
        rows={models.servers.flatMap(lines)}
      />
      <Table
        title="Host memory of their processes"
        heads={["Server", "In all", "Mapped weights", "KV cache", "Prompt cache", "Pinned", "Anonymous", "Shared"]}
        rows={models.servers.filter((it) => it.memory !== undefined).map(held)}
      />
    </>
  );
}

function Files({ files, stores }: { files: ModelFile[]; stores: ModelStore[] }) {
  const cached = (it: ModelFile): string =>
    it.cached_bytes === undefined || it.bytes === 0 ? UNKNOWN : percent(it.cached_bytes / it.bytes);
  return (
    <>
      {files.length > 0 && (
        <Table
          title="Model files in use, the largest"
          heads={["File", "Size", "In the page cache", "Read again", "On", "Use", "By"]}
          rows={files
            .slice(0, FEW)
            .map((it) => [it.file, bytes(it.bytes), cached(it), bytes(it.read_again_bytes), it.tier, it.how, it.server ?? it.workload])}
        />
      )}
      {stores.length > 0 && (
        <Table
          title="Stores of model files"
          heads={["Store", "Size", "Files", "Twice", "Unused", "On", "Not known"]}
          rows={stores.map((it) => [it.path, bytes(it.bytes), count(it.files), bytes(it.duplicate_bytes), bytes(it.unused_bytes), it.tier, it.missing])}
        />
      )}
    </>
  );
}

/** A row for each model, and one for a server that tells of none. */
function lines(server: ModelServer): ComponentChildren[][] {
  const models: (ModelLine | undefined)[] = server.models ?? [undefined];
  return models.map((model, at) => [
    at === 0 ? server.server : "",
    at === 0 ? server.state : "",
    count(model?.requests_running),
    count(model?.requests_waiting),
    percent(model?.kv_used_ratio),
    model?.generated_tokens_per_second?.toFixed(1),
    p95(model, "first_token"),
    p95(model, "between_tokens"),
    p95(model, "end_to_end"),
    model?.model ?? "",
    bytes(model?.gpu_bytes),
    at === 0 && server.workload !== undefined ? <Named name={server.workload} /> : "",
  ]);
}

/** The quantile of the last minute; a mean, marked as one, where the server tells no more. */
function p95(model: ModelLine | undefined, stage: LatencyStage): string {
  const latency = model?.latency?.find((it) => it.stage === stage);
  if (latency === undefined) return UNKNOWN;
  if (latency.p95_seconds !== undefined) return brief(latency.p95_seconds);
  return latency.p50_seconds === undefined ? `mean ${brief(latency.mean_seconds)}` : "above the last bucket";
}

/** A token may take less than a millisecond. */
function brief(value: number): string {
  return value < 0.00995 ? `${(value * 1e3).toFixed(1)} ms` : seconds(value);
}

function held({ server, memory }: ModelServer): ComponentChildren[] {
  const { anon_bytes: anon, shmem_bytes: shmem, file_bytes: file } = memory ?? {};
  const all = anon === undefined || shmem === undefined || file === undefined ? undefined : anon + shmem + file;
  const parts = [all, memory?.weights_bytes, memory?.kv_offload_bytes, memory?.prompt_cache_bytes, memory?.pinned_bytes, anon, shmem];
  return [server, ...parts.map(bytes)];
}
