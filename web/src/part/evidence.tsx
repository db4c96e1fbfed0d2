// Tables of what an incident rests on: who was killed, which limit, who held what, what had changed.

import type { ComponentChildren } from "preact";
import type { Change, Consumer, Evidence, Figures, HitLimit, HostFigures, LostGpu, Task, Victim } from "../evidence";
import { bytes, count, named, plain, seconds, watts } from "../format";
import { type Fact, Facts, Named, Table } from "./plain";

/** Rows of a list that can be long. */
const FEW = 10;

const amount = (value: number | undefined): string | undefined => (value === undefined ? undefined : bytes(value));
const nonzero = (value: number | undefined): string | undefined => (value ? bytes(value) : undefined);
const time = (value: number | undefined): string | undefined => (value ? seconds(value) : undefined);

export function Kills({ evidence }: { evidence: Evidence }) {
  const kills = evidence.kills ?? [];
  const killed = evidence.killed ?? kills.length;
  if (killed === 0 && kills.length === 0) return null;
  const title = killed > 1 ? `Killed: ${count(killed)} processes` : "Killed";
  if (kills.length === 0) {
    return (
      <section>
        <h2>{title}</h2>
        <p>Which is not known: only the kernel’s count shows it.</p>
      </section>
    );
  }
  const heads = ["Process", "Workload", "Anonymous", "File", "Shared", "Swap", "On GPUs", "User", "oom_score_adj", "By"];
  return <Table title={title} heads={heads} rows={kills.slice(0, FEW).map(victim)} />;
}

function victim(it: Victim): ComponentChildren[] {
  const held = (it.gpus ?? []).map((gpu) => `GPU ${gpu.gpu}: ${bytes(gpu.process_bytes)}`).join(", ");
  return [
    `${it.comm} (${it.pid})`,
    <Named name={it.workload} />,
    amount(it.anon_bytes),
    amount(it.file_bytes),
    amount(it.shmem_bytes),
    nonzero(it.swap_bytes),
    held || undefined,
    it.signal ? undefined : String(it.uid),
    it.signal ? undefined : String(it.score_adj),
    by(it, it.trigger),
  ];
}

function by(it: Victim, trigger: Task | undefined): ComponentChildren {
  if (!trigger || trigger.pid === it.pid) return it.signal;
  const whose = trigger.workload === undefined ? "" : ` in ${trigger.workload}`;
  const how = it.signal ? `${it.signal}${it.survives ? ", which it handles," : ""} from ` : "triggered by ";
  return `${how}${trigger.comm} (${trigger.pid})${whose}`;
}

const SOURCES: Record<string, string> = {
  kernel: "named by the kernel",
  only: "the only limit that applies",
  refused: "it refused memory at that time",
  used: "the only one that the memory in use can have reached",
  unknown: "uncertain",
};

export function Limits({ evidence }: { evidence: Evidence }) {
  const limits = evidence.limit ? [evidence.limit] : (evidence.candidates ?? []);
  if (limits.length === 0) return null;
  const row = (limit: HitLimit): ComponentChildren[] => [
    amount(limit.bytes) ?? "of an unknown size",
    <Named name={limit.workload} />,
    amount(limit.used_bytes),
    limit.holder === undefined ? undefined : <Named name={limit.holder} />,
    SOURCES[limit.source ?? "unknown"],
  ];
  const title = evidence.limit ? "Limit" : "Limits of which one was hit";
  return <Table title={title} heads={["Limit", "Of", "In use", "Held by", "How it is known"]} rows={limits.map(row)} />;
}

export function Consumers({ title, consumers }: { title: string; consumers: Consumer[] | undefined }) {
  if (!consumers || consumers.length === 0) return null;
  const row = (it: Consumer): ComponentChildren[] => [
    <Named name={it.workload} />,
    amount(it.memory_bytes),
    it.growth_bytes === undefined ? undefined : `${it.growth_bytes > 0 ? "+" : ""}${bytes(it.growth_bytes)}`,
    amount(it.limit_bytes),
    nonzero(it.swap_bytes),
    nonzero(it.vram_bytes),
    nonzero(it.pinned_bytes),
    time(it.waiting_seconds),
    time(it.stall_seconds),
    nonzero(it.io_bytes),
  ];
  const heads = ["Workload", "Memory", "Growth", "Limit", "Swap", "GPU memory", "Pinned", "Waited", "Stalls", "IO"];
  return <Table title={title} heads={heads} rows={consumers.map(row)} />;
}

/** Amounts by name, without those that are not bytes or not known. */
export function Amounts({ title, figures }: { title: string; figures: Figures | HostFigures | undefined }) {
  const known = Object.entries(figures ?? {}).filter(([name]) => name.endsWith("_bytes") || name.includes("_bytes_per_"));
  if (known.length === 0) return null;
  return (
    <section>
      <h2>{title}</h2>
      <Facts facts={known.map(([name, value]) => [plain(name), named(name, Number(value))])} />
    </section>
  );
}

export function Lost({ gpu }: { gpu: LostGpu | undefined }) {
  if (!gpu) return null;
  const facts: Fact[] = [
    ["GPU", `${gpu.gpu}, ${gpu.model}, driver ${gpu.driver}`],
    ["UUID", gpu.uuid],
    ["XID errors", gpu.xids?.join(", ")],
    ["GPUs lost together", count(gpu.lost)],
    ["GPUs left", count(gpu.left)],
    ["Temperature", gpu.temperature === undefined ? undefined : `${gpu.temperature} °C`],
    ["Power", gpu.power === undefined ? undefined : watts(gpu.power)],
    ["Error", gpu.error],
  ];
  const row = (it: { workload: string; bytes?: number }): ComponentChildren[] => [<Named name={it.workload} />, amount(it.bytes)];
  return (
    <>
      <section>
        <h2>GPU, when last read</h2>
        <Facts facts={facts} />
      </section>
      {gpu.holders && gpu.holders.length > 0 && (
        <Table title="Who held its memory" heads={["Workload", "Memory"]} rows={gpu.holders.map(row)} />
      )}
    </>
  );
}

export function Changes({ changes, time }: { changes: Change[] | undefined; time: number }) {
  if (!changes || changes.length === 0) return null;
  return (
    <section>
      <h2>What had changed</h2>
      <ul>
        {changes.slice(0, FEW).map((change, at) => (
          <li key={at}>
            {seconds(Math.abs(change.time - time) / 1e9)} {change.time > time ? "after" : "before"}: {changed(change)}
          </li>
        ))}
      </ul>
    </section>
  );
}

function changed({ what, of, before, after }: Change): string {
  const limit = (value: number | undefined): string => (value === undefined ? "none" : bytes(value));
  const texts: Record<string, string> = {
    agent: "headroom started",
    came: `${of} started`,
    went: `${of} ended`,
    limit: `the memory limit of ${of} changed from ${limit(before)} to ${limit(after)}`,
    xid: `GPU ${of} reported XID ${after ?? 0}`,
    gpu_came: `GPU ${of} appeared`,
    gpu_went: `GPU ${of} disappeared`,
  };
  return texts[what] ?? `${of}: ${what}`;
}
