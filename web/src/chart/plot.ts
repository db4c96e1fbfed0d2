// Draws one chart with uPlot. Knows colours and axes, and neither what the numbers mean nor where they come from.

import uPlot from "uplot";
import { clock } from "../format";
import type { Group } from "./group";
import type { Line } from "./prepare";

/** Charts with this key have one cursor. */
const CURSOR = "headroom";
const HEIGHT = 170;
/** Marks at powers of two, for bytes. */
const BINARY = Array.from({ length: 51 }, (_, power) => 2 ** power);

export interface Frame {
  /** Both ends of the time axis. */
  from: number;
  to: number;
  /** What bounds the values. */
  bound?: number;
  /** Seconds before an event instead of times of day. */
  relative?: boolean;
}

function colour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** The colour of the line at this place. */
export function stroke(line: Line, place: number): string {
  return line.bound ? "bound" : `line-${(place % 6) + 1}`;
}

/** Makes a chart in `place`. `frame` is read whenever it draws. */
export function plot(
  place: HTMLElement,
  group: Group,
  lines: readonly Line[],
  frame: () => Frame,
  data: uPlot.AlignedData,
  point: (index: number | null) => void,
): uPlot {
  const text = colour("dim");
  const grid = { stroke: colour("grid"), width: 1 };
  const axis: uPlot.Axis = { stroke: text, grid, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const series: uPlot.Series[] = [{}];
  const bands: uPlot.Band[] = [];
  lines.forEach((line, at) => {
    const ink = colour(stroke(line, at));
    series[line.mean] = {
      stroke: ink,
      width: at === 0 || line.bound ? 1.75 : 1.25,
      ...(line.bound ? { dash: [7, 5], auto: false } : {}),
      points: { show: true, filter: alone, size: 4, fill: ink },
      ...(at === 0 && !line.band ? { fill: `${ink}1c` } : {}),
    };
    if (line.band) {
      const edge: uPlot.Series = { width: 0, points: { show: false } };
      const [high, low] = line.band;
      series[high] = edge;
      series[low] = { ...edge };
      bands.push({ series: [high, low], fill: `${ink}2e` });
    }
  });
  const options: uPlot.Options = {
    width: Math.max(120, place.clientWidth),
    height: HEIGHT,
    series,
    bands,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, points: { size: 6 }, y: false, sync: { key: CURSOR } },
    scales: {
      x: { time: !frame().relative, range: () => [frame().from, frame().to] },
      y: { range: (_, __, most) => [0, top(group, frame(), most)] },
    },
    axes: [
      { ...axis, size: 26, gap: 2, space: 70, values: (_, marks, __, ___, step) => marks.map((mark) => when(mark, step, frame())) },
      {
        ...axis,
        size: 68,
        space: 32,
        values: (_, marks) => marks.map((mark) => group.write(mark)),
        ...(group.binary ? { incrs: BINARY } : {}),
      },
    ],
    hooks: { setCursor: [(chart) => point(chart.cursor.idx ?? null)] },
  };
  return new uPlot(options, data, place);
}

/** The upper end of the axis. A bound far above all values would make them flat: then it is said in words only. */
export function top(group: Group, frame: Frame, most: number | null): number {
  const known = most ?? 0;
  const bound = frame.bound !== undefined && frame.bound <= 5 * known ? frame.bound : 0;
  return Math.max(known, bound, group.least) * 1.06;
}

/** Points are drawn only where no line reaches them. */
const alone: uPlot.Series.Points.Filter = (chart, place) => {
  const values = chart.data[place] ?? [];
  const found: number[] = [];
  values.forEach((value, index) => {
    if (value != null && values[index - 1] === null && values[index + 1] === null) found.push(index);
  });
  return found;
};

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** A mark of the time axis. */
function when(mark: number, step: number, frame: Frame): string {
  if (frame.relative) return mark === 0 ? "0 s" : `${mark} s`;
  const date = new Date(mark * 1000);
  const day = `${date.getDate()} ${MONTHS[date.getMonth()]}`;
  if (step >= 86_400) return day;
  const time = clock(mark * 1e9);
  if (step < 60) return time;
  return time === "00:00:00" ? day : time.slice(0, 5);
}
