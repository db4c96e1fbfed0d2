// A plain table: its columns of numbers stand right, and those in which nothing is known are left out. Names, and names with their values.

import type { ComponentChildren } from "preact";
import { UNKNOWN } from "../format";
import * as route from "../route";

export interface TableProps {
  title: string;
  heads: string[];
  /** The first cell of a row is its head. */
  rows: ComponentChildren[][];
}

export function Table({ title, heads, rows }: TableProps) {
  const known = heads.map((_, place) => place === 0 || rows.some((row) => row[place] !== undefined && row[place] !== ""));
  const numbers = heads.map((_, place) => rows.every((row) => row[place] === undefined || isNumber(row[place])));
  const cells = <T,>(row: T[]): [T, number][] => row.map((cell, at): [T, number] => [cell, at]).filter(([, at]) => known[at]);
  return (
    <section>
      <h2>{title}</h2>
      <div class="scroll" role="region" aria-label={`Table: ${title}`} tabIndex={0}>
        <table class="wide">
          <thead>
            <tr>
              {cells(heads).map(([head, at]) => (
                <th key={head} scope="col" class={at > 0 && numbers[at] ? "number" : undefined}>
                  {head}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row, at) => (
              <tr key={at}>
                {cells(row).map(([cell, at]) =>
                  at === 0 ? (
                    <th key={at} scope="row">
                      {cell}
                    </th>
                  ) : (
                    <td key={at} class={numbers[at] ? "number" : undefined}>
                      {cell ?? UNKNOWN}
                    </td>
                  ),
                )}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** The name of a workload, which leads to its page. */
export function Named({ name }: { name: string | undefined }) {
  if (name === undefined) return <span class="dim">an unknown workload</span>;
  return (
    <a class="name" href={route.workload(name)}>
      {name}
    </a>
  );
}

export type Fact = [name: string, value: string | undefined];

/** What has no value is left out. */
export function Facts({ facts }: { facts: Fact[] }) {
  return (
    <dl class="facts">
      {facts
        .filter(([, value]) => value && !value.startsWith(UNKNOWN))
        .map(([name, value]) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
    </dl>
  );
}

function isNumber(cell: ComponentChildren): boolean {
  return typeof cell === "string" && /^[-+\d]/.test(cell);
}
