// Charts side by side, over the same span of time.

import { Chart } from "./chart";
import { GROUPS, type Group } from "./group";
import type { Frame } from "./plot";
import { prepare, type Prepared } from "./prepare";
import type { Track } from "./track";

export interface Drawn {
  group: Group;
  prepared: Prepared;
}

/** What there is to draw of each group of series. */
export function drawn(track: Track, limit?: number): Drawn[] {
  return GROUPS.flatMap((group) => {
    const prepared = prepare(track, group, limit);
    return prepared ? [{ group, prepared }] : [];
  });
}

interface Props {
  charts: Drawn[];
  frame: Frame;
  /** Words for the newest value. */
  newest?: string;
}

export function Charts({ charts, frame, newest }: Props) {
  return (
    <div class="charts">
      {charts.map(({ group, prepared }) => (
        <Chart key={group.title} group={group} prepared={prepared} newest={newest} frame={frame} />
      ))}
    </div>
  );
}
