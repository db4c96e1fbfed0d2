// The host in a few tiles: memory and swap, CPU, pressure, disks, network, filesystems.

import type { ComponentChildren } from "preact";
import { UNKNOWN, bytes, count, percent } from "../format";
import type { Extent, NetworkLine, Status, Swap } from "../type";
import { Bar, grade, word } from "./bar";

/** Filesystems, disks and interfaces that are shown: those that are nearest to full. */
const FEW = 3;

interface TileProps {
  title: string;
  value: string;
  ratio?: number;
  /** Being full is nothing bad in itself. */
  free?: boolean;
  children?: ComponentChildren;
}

function Tile({ title, value, ratio, free, children }: TileProps) {
  return (
    <section class={`tile ${free ? "free" : grade(ratio)}`}>
      <h3>{title}</h3>
      <p class="big">
        {value} {!free && <span class="word">{word(ratio)}</span>}
      </p>
      {ratio !== undefined && <Bar ratio={ratio} free={free} />}
      <div class="more">{children}</div>
    </section>
  );
}

export function Host({ status, recent }: { status: Status; recent?: Record<string, Extent> }) {
  const { memory, swap, cpu, pressure } = status;
  const peak = (series: string): number | undefined => recent?.[series]?.max;
  const cpus = peak("cpu_seconds_per_second");
  return (
    <div class="tiles">
      <Tile title="Memory" value={percent(memory.used_ratio)} ratio={memory.used_ratio}>
        {bytes(memory.used_bytes)} of {bytes(memory.usable_bytes ?? memory.total_bytes)}
        <br />
        available {bytes(memory.available_bytes)}; cache {bytes(memory.cached_bytes)}
        <br />
        {(memory.pinned_bytes ?? 0) > 0 && (
          <>
            pinned by drivers {bytes(memory.pinned_bytes)}
            <br />
          </>
        )}
        peak of 5 min {bytes(peak("memory_bytes"))}
        <br />
        <Swapped swap={swap} />
      </Tile>
      <Tile title="CPU" value={percent(cpu.busy_ratio)} ratio={cpu.busy_ratio} free>
        {cpu.cpus === undefined ? "" : `of ${cpu.cpus} CPUs; `}IO wait {percent(cpu.iowait_ratio)}
        <br />
        load {[cpu.load1, cpu.load5, cpu.load15].map((load) => load?.toFixed(2) ?? UNKNOWN).join(" ")}
        <br />
        peak of 5 min {cpus === undefined ? UNKNOWN : `${cpus.toFixed(2)} CPUs`}
      </Tile>
      <section class="tile table">
        <h3>Pressure (PSI)</h3>
        <table class="small">
          <thead>
            <tr>
              <td />
              <th scope="col">some</th>
              <th scope="col">full</th>
            </tr>
          </thead>
          <tbody>
            <Waits name="memory" some={pressure.memory_waiting_ratio} all={pressure.memory_stalled_ratio} />
            <Waits name="IO" some={pressure.io_waiting_ratio} all={pressure.io_stalled_ratio} />
            <Waits name="CPU" some={pressure.cpu_waiting_ratio} />
          </tbody>
        </table>
      </section>
      <Disks status={status} />
      <Network status={status} />
      <Filesystems status={status} />
    </div>
  );
}

function Swapped({ swap }: { swap: Swap }) {
  const { total_bytes: total, free_bytes: free, used_ratio: ratio } = swap;
  if (total === 0) return <>no swap</>;
  if (total === undefined || free === undefined) return <>swap –</>;
  return (
    <>
      swap {percent(ratio)}, {bytes(total - free)} of {bytes(total)}
      <Bar ratio={ratio} free />
    </>
  );
}

function Waits({ name, some, all }: { name: string; some?: number; all?: number }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>{percent(some)}</td>
      <td>{percent(all)}</td>
    </tr>
  );
}

function Disks({ status }: { status: Status }) {
  const busiest = [...status.disks].sort((one, other) => (other.busy_ratio ?? 0) - (one.busy_ratio ?? 0)).slice(0, FEW);
  if (busiest.length === 0) return null;
  return (
    <section class="tile table">
      <h3>Disks{rest(status.disks.length, "busiest")}</h3>
      <table class="small">
        <thead>
          <tr>
            <td />
            <th scope="col">busy</th>
            <th scope="col">read/s</th>
            <th scope="col">written/s</th>
          </tr>
        </thead>
        <tbody>
          {busiest.map((disk) => (
            <tr key={disk.device}>
              <th scope="row">{disk.device}</th>
              <td>{percent(disk.busy_ratio)}</td>
              <td>{bytes(disk.read_bytes_per_second)}</td>
              <td>{bytes(disk.written_bytes_per_second)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

/** Those that ever carry something; of a link without a known speed no share is known. */
function Network({ status }: { status: Status }) {
  const rate = (it: NetworkLine): number => (it.receive_bytes_per_second ?? 0) + (it.transmit_bytes_per_second ?? 0);
  const all = status.network.filter((it) => it.route || it.speed_bytes_per_second !== undefined || rate(it) > 0);
  const order = [...all].sort(
    (one, other) => (other.used_ratio ?? 0) - (one.used_ratio ?? 0) || rate(other) - rate(one),
  );
  if (order.length === 0) return null;
  return (
    <section class="tile table">
      <h3>Network{rest(order.length, "busiest")}</h3>
      <table class="small">
        <thead>
          <tr>
            <td />
            <th scope="col">of link</th>
            <th scope="col">in/s</th>
            <th scope="col">out/s</th>
          </tr>
        </thead>
        <tbody>
          {order.slice(0, FEW).map((it) => (
            <tr key={it.device}>
              <th scope="row">{it.device}</th>
              <td class={it.up === false ? "bad" : ""}>{it.up === false ? "no link" : percent(it.used_ratio)}</td>
              <td>{bytes(it.receive_bytes_per_second)}</td>
              <td>{bytes(it.transmit_bytes_per_second)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function Filesystems({ status }: { status: Status }) {
  // What does not answer comes first.
  const share = (used: number | undefined, up: boolean): number => (up ? (used ?? 0) : 2);
  const order = [...status.filesystems].sort(
    (one, other) => share(other.used_ratio, other.up) - share(one.used_ratio, one.up),
  );
  if (order.length === 0) return null;
  return (
    <section class="tile broad">
      <h3>Filesystems{rest(order.length, "fullest")}</h3>
      <table class="small">
        <tbody>
          {order.slice(0, FEW).map((filesystem) => (
            <tr key={filesystem.mountpoint}>
              <th scope="row" class="path">
                {filesystem.mountpoint}
              </th>
              {filesystem.up ? (
                <>
                  <td class="gauge">
                    <Bar ratio={filesystem.used_ratio} />
                  </td>
                  <td>
                    {percent(filesystem.used_ratio)} <span class="word">{word(filesystem.used_ratio)}</span>
                  </td>
                  <td>{bytes(filesystem.available_bytes)} left</td>
                </>
              ) : (
                <td colSpan={3} class="bad">
                  does not answer
                </td>
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}

function rest(all: number, which: string): string {
  return all > FEW ? `: ${FEW} ${which} of ${count(all)}` : "";
}
