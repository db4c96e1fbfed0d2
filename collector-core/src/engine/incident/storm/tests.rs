//! Storms on simulated hosts, from samples alone.

use crate::cgroup::Id;
use crate::engine::Engine;
use crate::engine::test::{ID, start};
use crate::incident::{Incident, Kind, What};
use crate::outcome::Outcome;
use crate::pressure::{self, Resource, Stall, Trigger};
use crate::sample::{self, Reading, Sample, Statistics};
use crate::signal::cgroup;
use crate::statistic::host;
use crate::statistic::workload::{Statistic, Values};

const SECOND: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;
const NAMES: [&str; 12] = ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j", "/k", "/l"];

/// A host with 100 GiB, and workloads with a limit of 64 MiB each.
struct World {
    engine: Engine,
    waited: u64,
    sums: [[u64; 2]; NAMES.len()],
    told: Vec<Incident>,
}

/// What a workload does in a second: MiB that it holds, `None` if it is gone; MiB read; share of the second waited, in percent.
type Second = Option<(u64, u64, u64)>;

impl World {
    fn new() -> World {
        let mut world = World { engine: Engine::new(), waited: 0, sums: Default::default(), told: Vec::new() };
        world.apply(SECOND, Reading::Start(sample::Start { workload_max: NAMES.len(), ..start() }));
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
    fn second(&mut self, second: u64, resource: Resource, percent: u64, available: u64, workloads: &[Second]) {
        self.waited += percent * SECOND / 100;
        let [of_host, own] = match resource {
            Resource::Io => [0, 1],
            _ => [1, 0],
        };
        let hosts = [host::Statistic::IoPressureSome, host::Statistic::MemoryPressureSome];
        let owns = [Statistic::MemoryPressureSome, Statistic::IoPressureSome];
        let total = [(host::Statistic::MemoryTotal, 100 << 30), (host::Statistic::MemoryAvailable, available << 30)];
        let waits = [(hosts[of_host], self.waited), (hosts[1 - of_host], 0)];
        self.apply(second * SECOND, Reading::Host(total.into_iter().chain(waits).collect()));
        for (place, now) in workloads.iter().enumerate() {
            let id = Id { id: 90 + place as u64, ..ID };
            let Some((held, read, waited)) = *now else {
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
        world.second(second, Resource::Memory, percent, if second < 60 { 50 } else { 90 }, &workloads);
    }
    assert_eq!(world.told(Kind::MemoryPressure), [("/a", "page_cache_thrash"); 2]);
    let last = &world.told[1];
    let storm = last.evidence.storm.as_ref().unwrap();
    assert!(last.complete && storm.waited_seconds.is_some_and(|waited| (17.0..20.0).contains(&waited)), "{storm:?}");
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
        world.second(second, Resource::Io, percent, 50, &workloads);
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
        world.second(second, Resource::Io, if thrash { 80 } else { 0 }, 50, &workloads);
    }
    assert_eq!(world.told(Kind::IoPressure), [("/a", "page_cache_thrash"); 2]);
    assert!(!world.told[1].cause.next.contains("Limit the IO"), "{}", world.told[1].cause.next);
}

#[test]
fn who_explains_a_storm_need_not_wait_in_it() {
    for (resource, kind, rule) in
        [(Resource::Memory, Kind::MemoryPressure, "host_short"), (Resource::Io, Kind::IoPressure, "io_by_one")]
    {
        let mut world = World::new();
        for second in 2..60 {
            let storm = (20..40).contains(&second);
            // Eleven wait. The last holds most and reads most, and is not slowed down.
            let mut workloads = [Some((10, 1, if storm { 50 } else { 0 })); NAMES.len()];
            workloads[NAMES.len() - 1] = Some((40, if storm { 500 } else { 0 }, 0));
            world.second(second, resource, if storm { 80 } else { 0 }, 5, &workloads);
        }
        assert_eq!(world.told(kind), [("/l", rule); 2]);
    }
}

#[test]
fn the_first_cause_stays_with_its_subject_if_nothing_explains_the_whole_storm() {
    let mut world = World::new();
    for second in 2..60 {
        let idle = Some((10, 0, 0));
        // /a keeps reading and ends. Then /b waits for longer, far from its limit.
        let (percent, workloads) = match second {
            20..24 => (90, [Some((63, 300, 90)), idle]),
            24..40 => (90, [None, Some((10, 0, 90))]),
            40.. => (0, [None, idle]),
            _ => (0, [idle, idle]),
        };
        world.second(second, Resource::Memory, percent, 50, &workloads);
    }
    assert_eq!(world.told(Kind::MemoryPressure), [("/a", "page_cache_thrash"); 2]);
    let last = &world.told[1];
    assert!(last.title.ends_with(", /a longest: 20 pressure events within 19 s"), "{}", last.title);
    assert_eq!((last.evidence.changes[0].what, &*last.evidence.changes[0].of), (What::Went, "/a"));
}
