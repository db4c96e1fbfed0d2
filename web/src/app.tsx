// The frame around the views: head, navigation, whether the agent answers, and which view shows.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Feed, type World } from "./feed";
import { clock } from "./format";
import { press } from "./key";
import { Badge, Level } from "./part/badge";
import { Help } from "./part/help";
import { News } from "./part/news";
import { Poll, type State } from "./poll";
import * as route from "./route";
import type { Route } from "./route";
import * as theme from "./theme";
import { Advised } from "./view/advice";
import { Events } from "./view/event";
import { Incident } from "./view/incident";
import { Served } from "./view/model";
import { Overview } from "./view/overview";
import { Reserved } from "./view/reservation";
import { Host, Workload } from "./view/workload";

export function App() {
  const [place, setPlace] = useState(location.hash);
  const shown = useMemo(() => route.parse(place), [place]);
  const [world, setWorld] = useState<World>({});
  const [state, setState] = useState<State>({});
  const [help, setHelp] = useState(false);
  const main = useRef<HTMLElement>(null);
  const current = useRef<Route>(shown);
  const [feed, poll] = useMemo(() => {
    const feed = new Feed();
    const tell = (state: State): void => {
      setWorld(feed.world);
      setState(state);
    };
    return [feed, new Poll((signal) => feed.ask(current.current, signal), tell)] as const;
  }, []);

  useEffect(() => {
    feed.turn(current.current);
    poll.start();
    const turn = (): void => {
      current.current = route.parse(location.hash);
      feed.turn(current.current);
      setWorld(feed.world);
      setPlace(location.hash);
      poll.restart();
    };
    addEventListener("hashchange", turn);
    return () => {
      removeEventListener("hashchange", turn);
      poll.stop();
    };
  }, [feed, poll]);

  useEffect(() => {
    const keys = (event: KeyboardEvent): void =>
      press(event, {
        help: () => setHelp(true),
        theme: theme.next,
        go: (view) => (location.hash = { overview: route.OVERVIEW, events: route.EVENTS, models: route.MODELS, advice: route.ADVICE, reservations: route.RESERVATIONS }[view]),
        window: (at) => span(current.current, at),
        back: () => (location.hash = route.OVERVIEW),
      });
    addEventListener("keydown", keys);
    return () => removeEventListener("keydown", keys);
  }, []);

  const title = heading(shown, world);
  useEffect(() => {
    document.title = shown.view === "overview" ? "Headroom" : `${title} – Headroom`;
  }, [title, shown.view]);

  // Whoever follows a link goes on reading at the head of what it leads to.
  const first = useRef(true);
  useEffect(() => {
    if (!first.current) {
      main.current?.querySelector("h1")?.focus({ preventScroll: true });
      scrollTo(0, 0);
    }
    first.current = false;
  }, [shown.view, "name" in shown ? shown.name : "", "id" in shown ? shown.id : ""]);

  return (
    <>
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.querySelector("h1")?.focus();
        }}
      >
        Skip to the content
      </a>
      <Head world={world} state={state} shown={shown} help={() => setHelp(true)} />
      <main ref={main} id="main" class={state.error ? "stale" : undefined}>
        <h1 tabIndex={-1}>{title}</h1>
        <View shown={shown} world={world} />
      </main>
      <footer class="dim">
        {world.status?.version && `Headroom ${world.status.version}`}
        {world.status?.kernel && `, Linux ${world.status.kernel}`}
        {world.status && `, running since ${new Date(world.status.started / 1e6).toLocaleString()}`}
      </footer>
      <News status={world.status} />
      <Help open={help} close={() => setHelp(false)} />
    </>
  );
}

function heading(shown: Route, world: World): string {
  switch (shown.view) {
    case "overview":
      return "Overview";
    case "events":
      return "Alerts and incidents";
    case "models":
      return "Model servers";
    case "advice":
      return "Advice";
    case "reservations":
      return "Reservations";
    case "host":
      return "Host";
    case "workload":
      return shown.name;
    case "incident":
      return world.incident?.title ?? "Incident";
  }
}

function View({ shown, world }: { shown: Route; world: World }) {
  switch (shown.view) {
    case "overview":
      return <Overview world={world} />;
    case "events":
      return <Events world={world} />;
    case "models":
      return <Served world={world} />;
    case "advice":
      return <Advised world={world} />;
    case "reservations":
      return <Reserved world={world} />;
    case "host":
      return <Host world={world} window={shown.window} />;
    case "workload":
      return <Workload key={shown.name} world={world} name={shown.name} window={shown.window} />;
    case "incident":
      return <Incident key={shown.id} world={world} id={shown.id} />;
  }
}

/** Shows another span of time, where there are charts. */
function span(shown: Route, at: number): void {
  const window = route.WINDOWS[at]?.[0];
  if (shown.view === "host") location.hash = route.host(window);
  if (shown.view === "workload") location.hash = route.workload(shown.name, window);
}

interface HeadProps {
  world: World;
  state: State;
  shown: Route;
  help: () => void;
}

function Head({ world, state, shown, help }: HeadProps) {
  const [chosen, setChosen] = useState(theme.choice());
  useEffect(() => theme.watch(() => setChosen(theme.choice())), []);
  const fires = world.status?.alerts.length ?? 0;
  const sure = (world.status?.advice?.high ?? 0) + (world.status?.advice?.medium ?? 0);
  const here = (view: Route["view"]): "page" | undefined => (shown.view === view ? "page" : undefined);
  return (
    <header>
      <a class="brand" href={route.OVERVIEW}>
        Headroom
      </a>
      <nav aria-label="Views">
        <a href={route.OVERVIEW} aria-current={here("overview")}>
          Overview
        </a>
        <a href={route.host()} aria-current={here("host")}>
          Host
        </a>
        <a href={route.EVENTS} aria-current={here("events")}>
          Alerts{fires > 0 ? ` (${fires})` : ""}
        </a>
        <a href={route.MODELS} aria-current={here("models")}>
          Models
        </a>
        <a href={route.ADVICE} aria-current={here("advice")}>
          Advice{sure > 0 ? ` (${sure})` : ""}
        </a>
        <a href={route.RESERVATIONS} aria-current={here("reservations")}>
          Reservations
        </a>
      </nav>
      {world.status?.health && <Badge level={world.status.health} />}
      {world.status?.level && <Level level={world.status.level} />}
      <span class="space" />
      <Live world={world} state={state} />
      <button type="button" onClick={theme.next}>
        Theme: {chosen}
      </button>
      <button type="button" onClick={help} aria-haspopup="dialog">
        Help
      </button>
    </header>
  );
}

/** Whether the numbers are of now. */
function Live({ world, state }: { world: World; state: State }) {
  if (state.error) {
    const since = state.answered === undefined ? "" : ` since ${clock(state.answered * 1e6)}`;
    return (
      <span class="live broken" role="alert">
        No answer{since}: {state.error.message}
      </span>
    );
  }
  if (!world.status) return <span class="live">asking …</span>;
  return (
    <span class="live">
      live <span class="digits">{clock(world.status.time)}</span>
    </span>
  );
}
