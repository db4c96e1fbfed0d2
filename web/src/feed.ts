// What the agent said last, for the view that shows: which answers that view needs, asked one after the other.

import { Failure, encode, read } from "./api";
import { Meter, type Rates } from "./rate";
import type { Route } from "./route";
import type { Models } from "./served";
import type { Suggestions } from "./suggestion";
import type { Detail, Explained, IncidentLine, Incidents, Report, Reservations, Status } from "./type";
import { Track } from "./chart/track";

export interface World {
  status?: Status;
  report?: Report;
  /** How fast the counters of workloads grow, by name. */
  rates?: Map<string, Rates>;
  incidents?: Incidents;
  detail?: Detail;
  reservations?: Reservations;
  models?: Models;
  suggestions?: Suggestions;
  incident?: Explained;
  /** What the charts show. */
  track?: Track;
  /** Why the view has nothing to show: there is nothing of that name. */
  missing?: string;
}

export class Feed {
  world: World = {};
  private meter = new Meter();

  /** Forgets what only another view shows. */
  turn(route: Route): void {
    const { status, incidents } = this.world;
    this.world = { status, incidents };
    if (route.view === "workload" || route.view === "host") {
      this.world.track = new Track(route.view === "host" ? undefined : route.name, route.window);
    }
  }

  /** Asks for what this view shows. Returns the time of the answer. */
  async ask(route: Route, signal: AbortSignal): Promise<number> {
    if (route.view === "overview") {
      const report = await read<Report>("report", signal);
      // An answer that is known already changes nothing.
      if (this.world.report?.time === report.time) return report.time;
      this.world = { ...this.world, status: report, report, rates: this.meter.measure(report) };
      await this.events(report, signal);
      return report.time;
    }
    const status = await read<Status>("status", signal);
    this.world = { ...this.world, status };
    if (route.view === "events") await this.events(status, signal);
    else if (route.view === "reservations") {
      const reservations = await read<Reservations>("reservations", signal);
      this.world = { ...this.world, reservations };
    }
    else if (route.view === "models") {
      const models = await read<Models>("models", signal);
      this.world = { ...this.world, models };
    }
    else if (route.view === "advice") {
      const suggestions = await read<Suggestions>("suggestions", signal);
      this.world = { ...this.world, suggestions };
    }
    else await this.one(route, signal);
    return status.time;
  }

  /** Incidents are listed again once there is a newer one, or while one of them is not complete. */
  private async events(status: Status, signal: AbortSignal): Promise<void> {
    const listed = this.world.incidents?.incidents;
    // What an agent before this one left open stays so.
    const over = (it: IncidentLine): boolean => it.complete || it.time < status.started;
    if (listed && status.incident?.id === listed[0]?.id && listed.every(over)) return;
    this.world = { ...this.world, incidents: await read<Incidents>("incidents", signal) };
  }

  private async one(route: Route, signal: AbortSignal): Promise<void> {
    if (route.view === "incident" && !this.world.incident?.complete) {
      const incident = await this.find<Explained>(`incidents/${encode(route.id)}`, signal);
      this.world = { ...this.world, incident: incident ?? this.world.incident };
    }
    if (route.view === "workload") {
      const detail = await this.find<Detail>(`workloads/${encode(route.name)}`, signal);
      this.world = { ...this.world, detail: detail ?? this.world.detail };
    }
    if (this.world.track && (await this.world.track.extend(signal))) {
      // Views compare by identity.
      this.world = { ...this.world };
    }
  }

  /** What there is of this name; otherwise the world says why there is nothing. */
  private async find<T>(path: string, signal: AbortSignal): Promise<T | undefined> {
    try {
      const found = await read<T>(path, signal);
      this.world = { ...this.world, missing: undefined };
      return found;
    } catch (error) {
      // Nothing of that name, or a name that there cannot be: that is an answer.
      if (!(error instanceof Failure) || (error.status !== 404 && error.status !== 400)) throw error;
      this.world = { ...this.world, missing: error.message };
      return undefined;
    }
  }
}
