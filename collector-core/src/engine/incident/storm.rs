//! Pressure as incidents. A single window over the threshold needs no explanation; several in a row do: a storm.

use std::collections::VecDeque;

use super::consumer::Order;
use super::{Incidents, Open, evidence, labels};
use crate::amount::seconds;
use crate::incident::cause::Role;
use crate::incident::{Incident, Kind, Storm, cause};
use crate::pressure::{self, Resource, Stall};
use crate::series::Series;
use crate::view::View;
use crate::view::history::Window;

/// Number of events that make a storm …
const WINDOWS: usize = 3;
/// … if each comes at most this many windows after the one before.
const GAP: u64 = 3;
/// A storm is over when there was no event for `GAP` windows, or for this long, in nanoseconds, whichever is longer.
const CALM_NS: u64 = 6_000_000_000;
/// A storm is reported as it is after this long, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// Recent pressure events: for memory, and for IO.
#[derive(Clone, Debug, Default)]
pub(super) struct Storms([Recent; 2]);

#[derive(Clone, Debug, Default)]
struct Recent {
    /// The latest stalls of each kind of trigger.
    stalls: [VecDeque<Moment>; 2],
    /// It is a storm, and was reported.
    reported: bool,
    /// Number of stalls in the storm.
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    time: u64,
    window_ns: u64,
}

impl Recent {
    fn last(&self) -> Option<Moment> {
        self.stalls.iter().filter_map(|stalls| stalls.back().copied()).max_by_key(|moment| moment.time)
    }

    fn is_calm(&self, time: u64) -> bool {
        self.last().is_none_or(|last| time.saturating_sub(last.time) > CALM_NS.max(GAP.saturating_mul(last.window_ns)))
    }
}

fn place(resource: Resource) -> Option<(usize, Kind, Order)> {
    match resource {
        Resource::Memory => Some((0, Kind::MemoryPressure, Order::MemoryWaiting)),
        Resource::Io => Some((1, Kind::IoPressure, Order::IoWaiting)),
        Resource::Cpu => None,
    }
}

/// Adds a stall longer than a trigger's threshold; several in a row begin an incident.
pub(super) fn stalled(incidents: &mut Incidents, view: &View, time: u64, stall: &Stall) -> Vec<Incident> {
    let Some((place, kind, order)) = place(stall.trigger.resource) else { return Vec::new() };
    let Incidents { open, storms, .. } = incidents;
    let recent = &mut storms.0[place];
    let stalls = &mut recent.stalls[stall.trigger.kind as usize];
    let moment = Moment { time, window_ns: stall.trigger.window_ns };
    let near = |last: &Moment| time.saturating_sub(last.time) <= GAP.saturating_mul(moment.window_ns);
    if !stalls.back().is_some_and(near) {
        stalls.clear();
    }
    if stalls.len() == WINDOWS {
        stalls.pop_front();
    }
    stalls.push_back(moment);
    let first = stalls.front().filter(|_| stalls.len() == WINDOWS).copied();
    if recent.reported {
        recent.count += 1;
        let count = recent.count;
        if let Some(open) = open.iter_mut().find(|open| open.incident.kind == kind) {
            open.add_stall(time, count);
        }
        return Vec::new();
    }
    let Some(first) = first else { return Vec::new() };
    let since = recent.stalls.iter().flatten().filter(|moment| moment.time >= first.time);
    let count = since.count() as u64;
    (recent.reported, recent.count) = (true, count);
    let mut incident = Incident::new(kind, incidents.id(time), time);
    let storm = Storm {
        resource: Some(stall.trigger.resource),
        stalls: count,
        seconds: time.saturating_sub(first.time) as f64 / 1e9,
        from: Some(first.time.saturating_sub(first.window_ns)),
        until: Some(time),
        ..Storm::default()
    };
    incident.evidence.storm = Some(storm);
    incident.rise(view);
    gather(view, &mut incident, order, time);
    super::open(incidents, view, incident, time, None)
}

impl Open {
    /// Adds one more stall of the same storm.
    fn add_stall(&mut self, time: u64, count: u64) {
        let from = self.last;
        self.last = time;
        if let Some(storm) = &mut self.incident.evidence.storm {
            storm.stalls = count;
            storm.seconds += time.saturating_sub(from) as f64 / 1e9;
        }
    }
}

impl Incident {
    /// Takes the levels of the host, if tasks never waited longer than in the last second.
    fn rise(&mut self, view: &View) {
        let series = waits(self.kind)[0];
        let ratio = view.history.mean(series, 0).unwrap_or(0.0);
        let Some(storm) = &mut self.evidence.storm else { return };
        if storm.height_ratio.is_none_or(|height| ratio >= height) {
            (storm.height, storm.height_ratio) = (Some(view.time), Some(ratio));
            self.evidence.host = evidence::host(view);
        }
    }
}

/// The series of the host in which some and all tasks wait.
fn waits(kind: Kind) -> [Series; 2] {
    match kind {
        Kind::IoPressure => [Series::IoWaiting, Series::IoStalled],
        _ => [Series::MemoryWaiting, Series::MemoryStalled],
    }
}

/// At a tick: completes storms that are over, or that have lasted for `LONGEST_NS`.
pub(super) fn ended(incidents: &mut Incidents, view: &View, time: u64) -> Vec<Incident> {
    let mut reported = Vec::new();
    for resource in [Resource::Memory, Resource::Io] {
        let Some((place, kind, _)) = place(resource) else { continue };
        let recent = &mut incidents.storms.0[place];
        if !recent.reported {
            continue;
        }
        incidents.open.iter_mut().filter(|open| open.incident.kind == kind).for_each(|open| open.incident.rise(view));
        let calm = recent.is_calm(time);
        if calm {
            *recent = Recent::default();
        }
        let over =
            |open: &Open| open.incident.kind == kind && (calm || time.saturating_sub(open.incident.time) >= LONGEST_NS);
        reported.extend(super::complete(incidents, view, over));
    }
    reported
}

/// The history then reaches from before the storm until now.
pub(super) fn complete(view: &View, incident: &mut Incident, last: u64) {
    let order = match incident.kind {
        Kind::IoPressure => Order::IoWaiting,
        _ => Order::MemoryWaiting,
    };
    if let Some(storm) = &mut incident.evidence.storm {
        storm.until = Some(last);
    }
    gather(view, incident, order, last.max(view.time));
}

/// Judges the storm over its own duration, and levels at its height: before it, and after it, the host was another.
fn gather(view: &View, incident: &mut Incident, order: Order, until: u64) {
    let storm = incident.evidence.storm.take().unwrap_or_default();
    let end = storm.until.unwrap_or(until);
    let window = view.history.window(until);
    let window = window.judged(storm.from.unwrap_or(0), end, storm.height.unwrap_or(end));
    let mut evidence = evidence::of_host(view, &window, order, None);
    evidence.host = std::mem::take(&mut incident.evidence.host);
    evidence.history.ago = evidence::ago(&window, incident.time);
    evidence.storm = Some(total(view, &window, storm, incident.kind));
    incident.evidence = evidence;
    // Label, title and cause are about one workload.
    let subject = cause::subject(incident);
    let name = subject.as_ref().map(|(name, _)| name.clone());
    let workload = name.as_deref().and_then(|name| view.workloads.iter().find(|workload| &*workload.name == name));
    if let Some(workload) = workload {
        incident.evidence.history.workload = window.lines(&workload.track);
        incident.evidence.workload = Some(evidence::figures(view, workload, &window));
    }
    incident.evidence.changes = evidence::changes(view, until, name.as_deref().as_slice());
    incident.labels = labels(workload);
    incident.title = title(incident, subject.filter(|_| workload.is_some()));
    incident.cause = cause::find(incident);
}

/// Adds how long tasks waited, from the part of the history in the evidence.
fn total(view: &View, window: &Window, storm: Storm, kind: Kind) -> Storm {
    let [some, full] = waits(kind);
    let total = |series| window.total(&view.history.host, series).map(|seconds| (seconds * 1e3).round() / 1e3);
    let (from, until) = window.period().unzip();
    Storm { waited_seconds: total(some), stalled_seconds: total(full), from, until, ..storm }
}

fn title(incident: &Incident, subject: Option<(String, Role)>) -> String {
    let storm = incident.evidence.storm.clone().unwrap_or_default();
    let what = storm.resource.map_or("memory", pressure::Resource::label);
    let what = if what == "io" { "IO" } else { what };
    let most = subject.map_or(String::new(), |(name, role)| match role {
        Role::Waits => format!(", {name} longest"),
        Role::Uses => format!(", {name} did most of it"),
        Role::Holds => format!(", {name} took most"),
    });
    format!(
        "Tasks of the host waited for {what}{most}: {} pressure events within {}",
        storm.stalls,
        seconds(storm.seconds)
    )
}

#[cfg(test)]
mod tests {
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::engine::test::{ID, start};
    use crate::incident::{Incident, Kind};
    use crate::outcome::Outcome;
    use crate::pressure::{self, Resource, Stall, Trigger};
    use crate::sample::{self, Reading, Sample, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::host;
    use crate::statistic::workload::{Statistic, Values};

    const SECOND: u64 = 1_000_000_000;
    const MIB: u64 = 1 << 20;
    const NAMES: [&str; 3] = ["/a", "/b", "/c"];

    /// A host with 100 GiB, and workloads with a limit of 64 MiB each.
    struct World {
        engine: Engine,
        waited: u64,
        sums: [[u64; 3]; 3],
        told: Vec<Incident>,
    }

    /// What a workload does in a second: MiB that it holds, `None` if it is gone; MiB read; share of the second waited, in percent.
    type Second = Option<(u64, u64, u64)>;

    impl World {
        fn new() -> World {
            let mut world = World { engine: Engine::new(), waited: 0, sums: Default::default(), told: Vec::new() };
            world.apply(SECOND, Reading::Start(sample::Start { workload_max: 10, ..start() }));
            for (number, path) in NAMES.into_iter().enumerate() {
                let id = Id { id: 90 + number as u64, ..ID };
                world.apply(SECOND, Reading::Cgroup(cgroup::Reading::Born { id, path: path.into() }));
            }
            world
        }

        fn apply(&mut self, time: u64, reading: Reading) {
            let told = self.engine.apply(&Sample { time, reading }).into_iter().filter_map(|outcome| match outcome {
                Outcome::Incident(incident) => Some(*incident),
                _ => None,
            });
            self.told.extend(told);
        }

        /// A second in which `percent` of the time some task of the host waits, and the kernel says so if it is much.
        fn second(&mut self, second: u64, resource: Resource, percent: u64, available: u64, workloads: [Second; 3]) {
            self.waited += percent * SECOND / 100;
            let [of_host, own] = match resource {
                Resource::Io => [0, 1],
                _ => [1, 0],
            };
            let hosts = [host::Statistic::IoPressureSome, host::Statistic::MemoryPressureSome];
            let owns = [Statistic::MemoryPressureSome, Statistic::IoPressureSome];
            let total =
                [(host::Statistic::MemoryTotal, 100 << 30), (host::Statistic::MemoryAvailable, available << 30)];
            let waits = [(hosts[of_host], self.waited), (hosts[1 - of_host], 0)];
            self.apply(second * SECOND, Reading::Host(total.into_iter().chain(waits).collect()));
            for (place, now) in workloads.into_iter().enumerate() {
                let id = Id { id: 90 + place as u64, ..ID };
                let Some((held, read, waited)) = now else {
                    self.apply(second * SECOND, Reading::Cgroup(cgroup::Reading::Died { id }));
                    continue;
                };
                let sums = &mut self.sums[place];
                (sums[0], sums[1]) = (sums[0] + read * MIB, sums[1] + waited * SECOND / 100);
                let numbers = [
                    (Statistic::MemoryCurrent, held * MIB),
                    (Statistic::MemoryLimit, 64 * MIB),
                    (Statistic::MemoryFile, held * MIB),
                    (Statistic::MemoryShmem, 0),
                    (Statistic::IoReadBytes, sums[0]),
                    (Statistic::IoWriteBytes, 0),
                    (owns[own], sums[1]),
                ];
                let values = Values::from_iter(numbers);
                self.apply(second * SECOND, Reading::Statistics(Statistics { cgroup: id, values, turn: true }));
            }
            self.apply(second * SECOND, Reading::Tick);
            if percent >= 50 {
                let kind = pressure::Kind::Waiting;
                let trigger = Trigger { resource, kind, threshold_ns: SECOND / 5, window_ns: SECOND };
                let stall = pressure::Reading::Stall(Stall { trigger, total_ns: None });
                self.apply(second * SECOND + SECOND / 2, Reading::Pressure(stall));
            }
        }

        /// The labels, rules and titles that were told, each checked to be about one workload.
        fn told(&self, kind: Kind) -> Vec<(&str, &str)> {
            let told = self.told.iter().map(|incident| {
                let workload = &*incident.labels["workload"];
                assert_eq!(incident.kind, kind);
                assert!(incident.title.contains(workload), "{workload}: {}", incident.title);
                assert!(incident.cause.sentence.contains(workload), "{workload}: {}", incident.cause.sentence);
                (workload, &*incident.cause.rule)
            });
            told.collect()
        }
    }

    #[test]
    fn a_storm_is_judged_over_its_own_duration_and_at_its_height() {
        let mut world = World::new();
        let idle = Some((10, 0, 0));
        for second in 2..120 {
            // /b waits in the half minute before; /a reads 200 MiB/s at its limit for 20 s, then ends, and the host is well again.
            let (percent, workloads) = match second {
                10..40 => (40, [idle, Some((20, 0, 40)), idle]),
                40..60 => (90, [Some((63, 200, 90)), idle, idle]),
                60.. => (0, [None, idle, idle]),
                _ => (0, [idle, idle, idle]),
            };
            world.second(second, Resource::Memory, percent, if second < 60 { 50 } else { 90 }, workloads);
        }
        assert_eq!(world.told(Kind::MemoryPressure), [("/a", "page_cache_thrash"); 2]);
        let last = &world.told[1];
        let storm = last.evidence.storm.as_ref().unwrap();
        assert!(
            last.complete && storm.waited_seconds.is_some_and(|waited| (17.0..20.0).contains(&waited)),
            "{storm:?}"
        );
        assert!(last.cause.sentence.contains("100 % of its memory") && last.cause.sentence.contains("64.0 MiB"));
        let gib = last.evidence.host.available_bytes.unwrap() >> 30;
        assert_eq!((gib, storm.height.map(|time| time / SECOND)), (50, Some(59)), "not after it");
    }

    #[test]
    fn io_is_by_the_one_that_did_most_of_the_hosts_while_it_lasted() {
        let mut world = World::new();
        for second in 2..60 {
            // /a read a lot before the storm. In it /b reads, and /c waits for it.
            let (percent, workloads) = match second {
                2..30 => (0, [Some((10, 900, 0)), Some((10, 0, 0)), Some((10, 0, 0))]),
                30..40 => (80, [Some((10, 10, 5)), Some((10, 300, 20)), Some((10, 5, 80))]),
                _ => (0, [Some((10, 0, 0)); 3]),
            };
            world.second(second, Resource::Io, percent, 50, workloads);
        }
        assert_eq!(world.told(Kind::IoPressure), [("/b", "io_by_one"); 2]);
        let cause = &world.told[1].cause;
        assert!(cause.sentence.starts_with("/b did 95 % of the host's IO"), "{}", cause.sentence);
        assert!(cause.sentence.ends_with("; /c waited longest"), "{}", cause.sentence);
        assert!(world.told[1].title.contains(", /b did most of it: "), "{}", world.told[1].title);
    }

    #[test]
    fn thrash_is_not_called_io_to_be_limited() {
        let mut world = World::new();
        for second in 2..60 {
            let thrash = (20..40).contains(&second);
            let workloads = [Some((63, if thrash { 300 } else { 0 }, 80)), Some((10, 0, 0)), Some((10, 1, 0))];
            world.second(second, Resource::Io, if thrash { 80 } else { 0 }, 50, workloads);
        }
        assert_eq!(world.told(Kind::IoPressure), [("/a", "page_cache_thrash"); 2]);
        assert!(!world.told[1].cause.next.contains("Limit the IO"), "{}", world.told[1].cause.next);
    }
}
