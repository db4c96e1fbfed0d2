// What is reserved for whom, how much of it is used and left, and who waits for room.

import type { ComponentChildren } from "preact";
import type { World } from "../feed";
import { UNKNOWN, bytes, count, span } from "../format";
import { Named, Table } from "../part/plain";
import type { LeaseOwner, Reservation, ReservationPart } from "../type";

const PRIORITIES = ["background", "low", "normal", "high", "critical"];

export function Reserved({ world }: { world: World }) {
  const { reservations } = world;
  if (!reservations) return <p class="none">Asking the agent …</p>;
  const { reservations: held, waiting } = reservations;
  const orphans = held.flatMap((one) => (one.orphans ?? []).map((orphan) => ({ one, orphan })));
  return (
    <>
      {orphans.length > 0 && (
        <ul class="reasons">
          {orphans.map(({ one, orphan }) => (
            <li key={`${one.id} ${orphan.pid} ${orphan.gpu}`} class="bad">
              Reservation {one.id}: its owner is gone, but process {orphan.pid} still holds{" "}
              {orphan.bytes === undefined ? "memory" : bytes(orphan.bytes)} of GPU {orphan.gpu}
            </li>
          ))}
        </ul>
      )}
      {held.length === 0 ? (
        <p class="none">Nothing is reserved.</p>
      ) : (
        <Table
          title="Granted"
          heads={["Workload", "Resource", "Granted", "Used", "Left", "State", "Priority", "Age", "Ends in", "Unit", "Owner", "No."]}
          rows={held.flatMap(rows)}
        />
      )}
      {waiting.length > 0 && (
        <Table
          title="Waiting, the next first"
          heads={["Workload", "Resource", "Wanted", "Priority", "Waits for", "Unit", "Owner"]}
          rows={waiting.flatMap((one) =>
            parts(one).map((part, at) => [
              at === 0 ? <Named name={one.workload} /> : "",
              named(part),
              amount(part, part.amount),
              ...(at === 0 ? [priority(one), span(one.age_seconds), one.unit, owner(one)] : ["", "", "", ""]),
            ]),
          )}
        />
      )}
    </>
  );
}

/** A row for each resource; what is true of all stands in the first. */
function rows(one: Reservation): ComponentChildren[][] {
  const ends = one.ends_in_seconds === undefined ? "with its owner" : span(one.ends_in_seconds);
  return parts(one).map((part, at) => [
    at === 0 ? <Named name={one.workload} /> : "",
    named(part),
    amount(part, part.amount),
    part.used === undefined ? UNKNOWN : amount(part, Math.min(part.used, part.amount)),
    part.used === undefined ? UNKNOWN : amount(part, Math.max(0, part.amount - part.used)),
    ...(at === 0
      ? [state(one), priority(one), span(one.age_seconds), ends, one.unit, owner(one), count(one.id)]
      : ["", "", "", "", "", "", ""]),
  ]);
}

/** One that keeps nothing free has a row all the same. */
function parts(one: Reservation): ReservationPart[] {
  return one.resources.length > 0 ? one.resources : [{ resource: "nothing", amount: 0 }];
}

function state(one: Reservation): string {
  const orphaned = one.state === "ending" && (one.orphans ?? []).length > 0;
  return `${orphaned ? "orphaned" : one.state}${one.evictable ? ", may be given up" : ""}`;
}

function priority(one: Reservation): string {
  return PRIORITIES[one.priority] ?? UNKNOWN;
}

function owner(one: Reservation): string {
  // Whose a reservation is, an address is not told.
  if (one.owner === undefined) return "";
  const { process, cgroup }: LeaseOwner = one.owner;
  const who = process ? `process ${String(process.pid)}` : cgroup ? String(cgroup.path) : UNKNOWN;
  return `${who}, user ${one.uid}`;
}

/** A resource as the terminal calls it. */
function named({ resource, of }: ReservationPart): string {
  if (of === undefined) return resource;
  if (resource === "VRAM") return `memory of GPU ${of}`;
  return resource === "disk" ? `room on ${of}` : `${resource} ${of}`;
}

function amount({ resource }: ReservationPart, value: number): string {
  if (resource === "CPU") return `${(value / 1000).toFixed(1)} CPUs`;
  if (resource === "network") return `${(value / 1e9).toFixed(1)} Gbit/s`;
  if (resource === "slot") return `${value} ${value === 1 ? "place" : "places"}`;
  return bytes(value);
}
