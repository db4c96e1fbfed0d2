// All alerts that fire, and the newest incidents.

import type { World } from "../feed";
import { count } from "../format";
import { Alerts, Incidents } from "../part/alert";

export function Events({ world }: { world: World }) {
  const { status, incidents } = world;
  if (!status) return <p class="none">Asking the agent …</p>;
  const left = incidents?.left_out ?? 0;
  return (
    <>
      <section aria-labelledby="fires">
        <h2 id="fires">Firing alerts</h2>
        <Alerts alerts={status.alerts} now={status.time} />
      </section>
      <section aria-labelledby="incidents">
        <h2 id="incidents">Incidents, the newest first</h2>
        <Incidents incidents={incidents?.incidents ?? []} now={status.time} />
        {left > 0 && (
          <p class="dim">
            {count(left)} older ones are in the journal: <code>headroom incidents</code>
          </p>
        )}
      </section>
    </>
  );
}
