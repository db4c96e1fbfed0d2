//! Memory that leaks, as incidents: one for each workload and kind of memory, from when it is judged to be a leak until it is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::consumer::Order;
use super::{Incidents, evidence, labels};
use crate::incident::{Evidence, Incident, Kind, Leak, LeakProcess};
use crate::trend::Exhaustion;
use crate::view::View;
use crate::view::leak::{Kind as Memory, Told};
use crate::view::rising::Grown;

/// Of one owner at most so many at a time: whoever makes many workloads leak fills nobody's list.
const OF_AN_OWNER: usize = 8;

/// Leaks that were reported, by workload and kind of memory.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaking(BTreeMap<(Arc<str>, usize), Reported>);

#[derive(Clone, Debug)]
struct Reported {
    id: String,
    owner: String,
    /// What was judged last.
    told: Told,
    /// What grew by then: when it is over, its processes may be gone.
    grown: Option<Grown>,
}

/// At a tick: reports leaks that are new, and completes those that are over.
pub(super) fn tick(incidents: &mut Incidents, view: &View, time: u64) -> Vec<Incident> {
    // On a host without leaks that is all.
    if view.leaks.0.is_empty() && incidents.leaking.0.is_empty() {
        return Vec::new();
    }
    let mut reported = Vec::new();
    let mut begins = Vec::new();
    for (name, memory, told) in view.leaks.iter() {
        match incidents.leaking.0.get_mut(&(name.clone(), memory as usize)) {
            // It was judged again.
            Some(known) if known.told.time != told.time => {
                known.told = *told;
                known.grown = grown(view, name, memory, time).or(known.grown.take());
            }
            Some(_) => {}
            None => begins.push((name.clone(), memory, *told)),
        }
    }
    for (name, memory, told) in begins {
        let owner = view.workloads.owner(&name).to_owned();
        let of_owner = incidents.leaking.0.values().filter(|known| known.owner == owner).count();
        if of_owner < OF_AN_OWNER {
            reported.extend(begin(incidents, view, (name, memory), told, owner, time));
        }
    }
    let leaks = |name: &Arc<str>, memory: usize| view.leaks.0.get(name).is_some_and(|kinds| kinds[memory].is_some());
    let over: Vec<(Arc<str>, usize)> =
        incidents.leaking.0.keys().filter(|(name, memory)| !leaks(name, *memory)).cloned().collect();
    for key in over {
        let Some(known) = incidents.leaking.0.remove(&key) else { continue };
        if let Some(open) = incidents.open.iter_mut().find(|open| open.incident.id == known.id) {
            let leak = found(Memory::ALL[key.1], &known.told, known.grown.as_ref(), true);
            open.incident.evidence.leak = Some(leak);
            open.last = time;
        }
        reported.extend(super::complete(incidents, view, |open| open.incident.id == known.id));
    }
    reported
}

fn begin(
    incidents: &mut Incidents,
    view: &View,
    (name, memory): (Arc<str>, Memory),
    told: Told,
    owner: String,
    time: u64,
) -> Vec<Incident> {
    let mut incident = Incident::new(Kind::Leak, incidents.id(time), time);
    let workload = view.workloads.find(&name);
    incident.labels = labels(workload);
    incident.labels.insert("kind".to_owned(), memory.label().to_owned());
    let window = view.history.window(time);
    let mut gathered = evidence::of_host(view, &window, Order::Memory, Some(&name));
    gathered.history.ago = evidence::ago(&window, time);
    if let Some(workload) = workload {
        gathered.history.workload = window.lines(&workload.track);
        gathered.workload = Some(evidence::figures(view, workload, &window));
    }
    let grown = grown(view, &name, memory, time);
    let leak = found(memory, &told, grown.as_ref(), false);
    let changes = evidence::changes(view, time, &[&*name], None);
    incident.evidence = Evidence { leak: Some(leak), changes, ..gathered };
    let known = Reported { id: incident.id.clone(), owner, told, grown };
    incidents.leaking.0.insert((name, memory as usize), known);
    super::open(incidents, view, incident, time, None)
}

fn grown(view: &View, name: &str, memory: Memory, time: u64) -> Option<Grown> {
    view.rising.grown(name, memory, time, &view.workloads, &view.gpus)
}

fn found(memory: Memory, told: &Told, grown: Option<&Grown>, over: bool) -> Leak {
    let (exhausted, earliest) = match told.exhaustion {
        Exhaustion::Now => (Some(0.0), None),
        Exhaustion::Within { seconds, earliest } => (Some(seconds.round()), Some(earliest.round())),
        Exhaustion::Never => (None, None),
    };
    Leak {
        memory: memory.label().to_owned(),
        since: told.since,
        bytes_per_hour: told.line.slope.round(),
        between_bytes_per_hour: told.line.between.map(f64::round),
        held_bytes: told.held as u64,
        of_bytes: told.scale as u64,
        left_bytes: told.left.max(0.0) as u64,
        exhausted_in_seconds: exhausted,
        earliest_in_seconds: earliest,
        steady: told.steady,
        over,
        process: grown.map(|grown| LeakProcess {
            pid: grown.pid,
            comm: grown.comm.clone(),
            before_bytes: grown.held[0],
            now_bytes: grown.held[1],
            seconds: (grown.time as f64 / 1e9).round(),
            new: grown.new,
            share: share(grown),
            processes: grown.counts,
        }),
    }
}

/// To the thousandth.
fn share(grown: &Grown) -> f64 {
    let own = grown.held[1].saturating_sub(grown.held[0]) as f64;
    (own / grown.bytes.max(1) as f64 * 1000.0).round() / 1000.0
}

pub(super) fn title(incident: &Incident) -> String {
    let name = incident.labels.get("workload").map_or("A workload", String::as_str);
    let Some(leak) = &incident.evidence.leak else { return format!("{name} leaks memory") };
    let memory = leak.kind_name();
    let verb = if leak.over { "leaked" } else { "leaks" };
    let left = leak.left().filter(|_| !leak.over).map_or(String::new(), |left| format!(", {left}"));
    format!("{name} {verb} {memory}: {}{left}", leak.pace())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::test::{ID, start};
    use crate::outcome::Outcome;
    use crate::sample::{Reading, Sample, Start, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::member::{Process, Reading as Members};
    use crate::statistic::workload::Statistic as Of;
    use crate::statistic::{host, workload};
    use crate::trend::Settings;

    const SECOND: u64 = 1_000_000_000;
    const MIB: u64 = 1 << 20;

    /// Seconds of an engine whose windows last ten; each time what `/a` holds and what its two processes hold, in MiB.
    struct World(Engine, u64);

    impl World {
        fn new() -> World {
            let mut engine = Engine::new();
            let leak = Some(Settings { window: 10 * SECOND });
            let born = cgroup::Reading::Born { id: ID, path: "/a".into() };
            for reading in [Reading::Start(Start { leak, ..start() }), Reading::Cgroup(born)] {
                engine.apply(&Sample { time: 1000 * SECOND, reading });
            }
            World(engine, 1000)
        }

        fn run(&mut self, seconds: u64, held: impl Fn(u64) -> [u64; 2]) -> Vec<Incident> {
            let mut told = Vec::new();
            for second in 0..seconds {
                self.1 += 1;
                let [one, two] = held(second);
                let mut values = workload::Values::new();
                values.set(Of::MemoryAnon, (one + two) * MIB);
                values.set(Of::MemoryCurrent, (one + two) * MIB);
                values.set(Of::MemoryLimit, 1000 * MIB);
                let memory = [(host::Statistic::MemoryTotal, 64 << 30), (host::Statistic::MemoryAvailable, 32 << 30)];
                let process = |pid: u32, mib: u64| Process {
                    pid,
                    started: 5,
                    comm: format!("worker{pid}"),
                    anon: mib * MIB,
                    shmem: 0,
                };
                let members = Members { cgroup: ID, count: 2, processes: vec![process(7, one), process(8, two)] };
                let statistics = Statistics { cgroup: ID, values, turn: true };
                let readings = [
                    Reading::Host(memory.into_iter().collect()),
                    Reading::Statistics(statistics),
                    Reading::Member(members),
                    Reading::Tick,
                ];
                for reading in readings {
                    let outcomes = self.0.apply(&Sample { time: self.1 * SECOND, reading });
                    told.extend(outcomes.into_iter().filter_map(|outcome| match outcome {
                        Outcome::Incident(incident) if incident.kind == Kind::Leak => Some(*incident),
                        _ => None,
                    }));
                }
            }
            told
        }
    }

    #[test]
    fn a_leak_is_an_incident_that_names_the_process_that_grew_until_it_is_over() {
        let mut world = World::new();
        let begun = world.run(100, |second| [100, 50 + 2 * second]);
        let [begun] = &begun[..] else { panic!("{begun:#?}") };
        let leak = begun.evidence.leak.clone().unwrap();
        assert_eq!((begun.complete, &*leak.memory, leak.of_bytes), (false, "anon", 1000 * MIB));
        assert!((leak.bytes_per_hour / (7200.0 * MIB as f64) - 1.0).abs() < 0.05, "{leak:?}");
        let left = (leak.of_bytes - leak.held_bytes) as f64 / (2.0 * MIB as f64);
        assert!((leak.exhausted_in_seconds.unwrap() / left - 1.0).abs() < 0.1, "{leak:?} {left}");
        let process = leak.process.unwrap();
        assert_eq!((process.pid, &*process.comm, process.share), (8, "worker8", 1.0));
        assert_eq!((&*begun.cause.rule, begun.labels["kind"].as_str()), ("leaking_process", "anon"));
        assert!(begun.cause.sentence.contains("worker8 (8) grew from"), "{}", begun.cause.sentence);
        assert!(begun.title.starts_with("/a leaks anonymous memory: 7.03 GiB an hour, full in"), "{}", begun.title);
        // It stops.
        let ended = world.run(80, |_| [100, 250]);
        let [ended] = &ended[..] else { panic!("{ended:#?}") };
        assert_eq!((&ended.id, ended.complete), (&begun.id, true));
        assert!(ended.evidence.leak.as_ref().unwrap().over && ended.title.starts_with("/a leaked"), "{}", ended.title);
        assert_eq!(ended.cause.rule, "leaking_process", "its processes are known though it is over");
    }

    #[test]
    fn what_holds_as_much_as_before_is_no_incident() {
        let mut world = World::new();
        assert_eq!(world.run(200, |second| [100, 50 + second % 10]), []);
        assert_eq!(world.0.view().rising.watched().count(), 0);
    }
}
