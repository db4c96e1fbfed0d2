// A chart and its table: the picture for the eye, and the numbers as text for everybody.

import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type uPlot from "uplot";
import { clock, moment } from "../format";
import { shown as theme, watch } from "../theme";
import type { Group } from "./group";
import { plot, stroke, top, type Frame } from "./plot";
import type { Prepared } from "./prepare";

interface Props {
  group: Group;
  prepared: Prepared;
  frame: Frame;
  /** Words for the newest value. */
  newest?: string;
}

export function Chart({ group, prepared, frame, newest = "now" }: Props) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<uPlot>();
  const current = useRef(frame);
  const [index, setIndex] = useState<number | null>(null);
  const [dark, setDark] = useState(theme());
  current.current = { ...frame, bound: prepared.bound };
  useEffect(() => watch(() => setDark(theme())), []);

  // Other lines or other colours are another chart.
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const made = plot(element, group, prepared.lines, () => current.current, prepared.data, setIndex);
    const size = new ResizeObserver(() => made.setSize({ width: Math.max(120, element.clientWidth), height: made.height }));
    size.observe(element);
    chart.current = made;
    return () => {
      size.disconnect();
      made.destroy();
      chart.current = undefined;
    };
  }, [group, prepared.shape, dark]);
  useLayoutEffect(() => chart.current?.setData(prepared.data), [prepared.data]);

  const time = index === null ? undefined : prepared.data[0][index];
  const most = Math.max(...prepared.lines.map((line, at) => (line.bound ? 0 : (prepared.summaries[at]?.max ?? 0))));
  const hidden = prepared.bound !== undefined && prepared.bound > top(group, current.current, most);
  return (
    <figure class="chart">
      <figcaption>
        <h3>{group.title}</h3> <span class="dim">{group.what}</span>
      </figcaption>
      <div class="plot" ref={place} aria-hidden="true" />
      <table class="legend">
        <thead>
          <tr>
            <th scope="col">
              <span class="hidden">Series</span>
            </th>
            <th scope="col">{time === undefined ? newest : at(time, frame)}</th>
            <th scope="col">min</th>
            <th scope="col">mean</th>
            <th scope="col">max</th>
          </tr>
        </thead>
        <tbody>
          {prepared.lines.map((line, place) => {
            const summary = prepared.summaries[place];
            const value = index === null ? summary?.now : (prepared.data[line.mean]?.[index] ?? null);
            return (
              <tr key={line.series}>
                <th scope="row">
                  <span class={`swatch ${stroke(line, place)}`} aria-hidden="true" />
                  {line.label}
                  {line.bound && hidden && <span class="dim"> above the chart</span>}
                </th>
                <td>{group.write(value)}</td>
                <td>{group.write(summary?.min)}</td>
                <td>{group.write(summary?.mean)}</td>
                <td>{group.write(summary?.max)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </figure>
  );
}

function at(time: number, frame: Frame): string {
  if (frame.relative) return `${time.toFixed(1)} s`;
  return frame.to - frame.from > 86_400 ? moment(time * 1e9).slice(5, 16) : clock(time * 1e9);
}
