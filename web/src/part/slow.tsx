// What an incident about slowness rests on: facts of the last minute beside what was usual, and who else used the host.

import type { ComponentChildren } from "preact";
import type { SlowEvidence, SlowNeighbour, Starved } from "../evidence";
import { UNKNOWN, bytes, cores, named, percent, plain, rate } from "../format";
import { Named, Table } from "./plain";

/** Whoever used less of a CPU, or did less IO, is left out. */
const LITTLE = 0.005;

export function Starving({ starved }: { starved: Starved | undefined }) {
  const gpus = starved?.gpus ?? [];
  if (gpus.length === 0) return null;
  const rows = gpus.map((it) => [`GPU ${it.gpu ?? UNKNOWN}`, percent(it.utilization), percent(it.usual)]);
  return <Table title="GPUs" heads={["GPU", "Busy", "Usual"]} rows={rows} />;
}

export function Changed({ slow }: { slow: SlowEvidence | undefined }) {
  if (!slow) return null;
  const facts = Object.entries(slow.facts ?? {}).filter(([, { now, before }]) => now !== 0 || (before ?? 0) !== 0);
  const rows = facts.map(([name, { now, before }]) => [plain(name), named(name, now), before === undefined ? UNKNOWN : named(name, before)]);
  const neighbours = slow.neighbours ?? [];
  return (
    <>
      {rows.length > 0 && <Table title="The last minute, and what was usual" heads={["", "Now", "Usual"]} rows={rows} />}
      {neighbours.length > 0 && (
        <Table title="Neighbours" heads={["Workload", "CPUs", "Before", "IO", "Before ", "Growth"]} rows={neighbours.map(neighbour)} />
      )}
    </>
  );
}

function neighbour(it: SlowNeighbour): ComponentChildren[] {
  const cpus = (value: number | undefined): string => (value !== undefined && value >= LITTLE ? cores(value) : UNKNOWN);
  const io = (value: number | undefined): string => (value !== undefined && value >= 1 ? rate(value) : UNKNOWN);
  return [
    <Named name={it.workload} />,
    cpus(it.cpus),
    cpus(it.cpus_before),
    io(it.io_bytes_per_second),
    io(it.io_before),
    it.growth_bytes === undefined ? UNKNOWN : bytes(it.growth_bytes),
  ];
}
