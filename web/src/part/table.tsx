// The table of workloads: sorted, filtered, and no longer than somebody reads.

import { useMemo, useRef, useState } from "preact/hooks";
import { count } from "../format";
import { recall, remember } from "../store";
import { COLUMNS, type Column, type Row } from "./column";

/** Rows that are shown at first, and with each request for more. */
const FIRST = 25;
const MORE = 200;

interface Order {
  key: string;
  down: boolean;
}

export function Workloads({ rows }: { rows: Row[] }) {
  const [order, setOrder] = useState<Order>(() => kept());
  const [filter, setFilter] = useState("");
  const [most, setMost] = useState(FIRST);
  const field = useRef<HTMLInputElement>(null);
  const columns = COLUMNS.filter((column) => rows.some((row) => (column.rare ? column.value(row) : column.value(row) !== undefined)));
  const found = useMemo(() => arranged(rows, filter, order), [rows, filter, order]);
  const turn = (column: Column): void => {
    const down = order.key === column.key ? !order.down : column.key !== "workload";
    setOrder({ key: column.key, down });
    remember("order", `${down ? "-" : ""}${column.key}`);
  };
  return (
    <>
      <p class="tools">
        <label>
          Filter{" "}
          <input
            type="search"
            ref={field}
            value={filter}
            data-filter
            placeholder="name or kind"
            onInput={(event) => setFilter(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key !== "Escape") return;
              setFilter("");
              field.current?.blur();
            }}
          />
        </label>
        <span class="dim" role="status">
          {filter ? `${count(found.length)} of ${count(rows.length)}` : `${count(rows.length)} workloads`}
        </span>
      </p>
      <div class="scroll" role="region" aria-label="Table of workloads" tabIndex={0}>
        <table class="wide" data-rows>
          <thead>
            <tr>
              {columns.map((column) => (
                <Head key={column.key} column={column} order={order} turn={turn} />
              ))}
            </tr>
          </thead>
          <tbody>
            {found.slice(0, most).map((row) => (
              <tr key={row.line.workload} class={row.line.gone ? "gone" : undefined}>
                {columns.map((column) =>
                  column.key === "workload" ? (
                    <th key={column.key} scope="row">
                      {column.cell(row)}
                    </th>
                  ) : (
                    <td key={column.key} class={`number ${column.key}`}>
                      {column.cell(row)}
                    </td>
                  ),
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {found.length === 0 && <p class="none">{filter ? "No workload has that in its name." : "No workload yet."}</p>}
      {found.length > most && (
        <button type="button" onClick={() => setMost(most + MORE)}>
          Show more: {count(found.length - most)} are left
        </button>
      )}
    </>
  );
}

function Head({ column, order, turn }: { column: Column; order: Order; turn: (column: Column) => void }) {
  const sorted = order.key === column.key;
  return (
    <th
      scope="col"
      class={column.key === "workload" ? undefined : "number"}
      aria-sort={sorted ? (order.down ? "descending" : "ascending") : undefined}
    >
      <button type="button" class="sort" title={column.what} onClick={() => turn(column)}>
        {column.head}
        <span aria-hidden="true">{sorted ? (order.down ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
}

/** The order that the reader chose last. */
function kept(): Order {
  const [, down, key] = /^(-?)(\w+)$/.exec(recall("order") ?? "") ?? [];
  const known = COLUMNS.some((column) => column.key === key);
  return key !== undefined && known ? { key, down: down === "-" } : { key: "memory", down: true };
}

/** Those that the filter lets through, in order. What is not known comes last either way. */
function arranged(rows: Row[], filter: string, order: Order): Row[] {
  const wanted = filter.trim().toLowerCase();
  const value = COLUMNS.find((column) => column.key === order.key)?.value ?? (() => undefined);
  const sign = order.down ? -1 : 1;
  const passes = ({ line }: Row): boolean => `${line.workload} ${line.kind}`.toLowerCase().includes(wanted);
  const keyed = rows.filter(passes).map((row) => [value(row), row] as const);
  keyed.sort(([one, row], [other, next]) => {
    if (one === other) return row.line.workload < next.line.workload ? -1 : 1;
    if (one === undefined) return 1;
    if (other === undefined) return -1;
    return one < other ? -sign : sign;
  });
  return keyed.map(([, row]) => row);
}
