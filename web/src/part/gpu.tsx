// The GPUs, one row each, with who holds their memory.

import { UNKNOWN, bytes, count, percent, rate, watts } from "../format";
import type { GpuLine } from "../type";
import { GpuLevel } from "./badge";
import { Bar, word } from "./bar";
import { Named } from "./plain";

/** Why the clocks of a GPU are low that has nothing to do. */
const IDLE = "idle";

/** Holders of a GPU's memory that are named. */
const FEW = 4;

export function Gpus({ gpus }: { gpus: GpuLine[] }) {
  return (
    <div class="scroll" role="region" aria-label="Table of GPUs" tabIndex={0}>
      <table class="wide">
        <thead>
          <tr>
            <th scope="col">GPU</th>
            <th scope="col">Memory</th>
            <th scope="col" class="number">
              Level
            </th>
            <th scope="col">Used by</th>
            <th scope="col" class="number">
              Busy
            </th>
            <th scope="col" class="number">
              °C
            </th>
            <th scope="col" class="number">
              Power
            </th>
            <th scope="col" class="number">
              PCIe to GPU
            </th>
            <th scope="col" class="number">
              PCIe from GPU
            </th>
            <th scope="col">Trouble</th>
          </tr>
        </thead>
        <tbody>
          {gpus.map((gpu) => (
            <Row key={gpu.uuid || gpu.gpu} gpu={gpu} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ gpu }: { gpu: GpuLine }) {
  const holders = gpu.workloads ?? [];
  const more = holders.length - FEW;
  return (
    <tr>
      <th scope="row">
        {gpu.gpu} <span class="dim">{gpu.model}</span>
      </th>
      <td>
        <div class="meter">
          <Bar ratio={gpu.memory_used_ratio} />
          <span>
            {bytes(gpu.memory_used_bytes)} of {bytes(gpu.memory_total_bytes)}, {percent(gpu.memory_used_ratio)}{" "}
            <span class="word">{word(gpu.memory_used_ratio)}</span>
          </span>
        </div>
      </td>
      <td class="number">
        <GpuLevel level={gpu.level} />
      </td>
      <td>
        {holders.slice(0, FEW).map((holder) => (
          <span key={holder.workload} class="holder">
            <Named name={holder.workload} />{" "}
            {bytes(holder.memory_bytes)}
          </span>
        ))}
        {more > 0 && <span class="dim">and {more} more</span>}
      </td>
      <td class="number">{percent(gpu.utilization_ratio)}</td>
      <td class="number">{count(gpu.temperature_celsius)}</td>
      <td class="number">
        {gpu.power_watts === undefined ? UNKNOWN : watts(gpu.power_watts)}
        {gpu.power_limit_watts !== undefined && <span class="dim"> of {gpu.power_limit_watts.toFixed(0)}</span>}
      </td>
      <td class="number">{link(gpu, gpu.pcie_host_to_device_ratio)}</td>
      <td class="number">{link(gpu, gpu.pcie_device_to_host_ratio)}</td>
      <td class="trouble">{trouble(gpu)}</td>
    </tr>
  );
}

/** A share of the link, and the bytes that it stands for. */
function link(gpu: GpuLine, ratio: number | undefined): string {
  if (ratio === undefined) return UNKNOWN;
  const capacity = gpu.pcie_link_bytes_per_second;
  return capacity === undefined ? percent(ratio) : `${percent(ratio)}, ${rate(ratio * capacity)}`;
}

function trouble(gpu: GpuLine): string {
  const found = (gpu.throttle ?? []).filter((it) => it !== IDLE).map((reason) => `throttled: ${reason.replace(/_/g, " ")}`);
  for (const [number, times] of Object.entries(gpu.xid_errors ?? {})) found.push(`XID ${number}: ${times} times`);
  if (gpu.ecc_errors_uncorrected) found.push(`${count(gpu.ecc_errors_uncorrected)} uncorrected memory errors`);
  return found.join("; ");
}
