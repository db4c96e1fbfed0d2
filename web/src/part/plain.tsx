// A plain table: its columns of numbers stand right, and those in which nothing is known are left out.

import type { ComponentChildren } from "preact";

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
                      {cell ?? "–"}
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

function isNumber(cell: ComponentChildren): boolean {
  return typeof cell === "string" && /^[-+\d]/.test(cell);
}
