//! Forty cgroups through the reader and the engine: in steady state nothing is allocated for them, however many files there are
//! and however they change. Trees of plain files are enough for that. The same for the evaluation of the rules.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use collector::source::cgroup::{Hierarchies, walk};
use collector::source::root::Root;
use collector::source::statistic::{Limits, Reader};
use collector::source::{self, Source as _};
use collector_common::SIGNALS;
use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::rule::Rules;
use collector_core::sample::{self, Probe, ProbeState, Reading, Sample, Start};
use collector_core::signal::{cgroup, fault};
use collector_core::statistic::workload::Statistic;
use collector_core::statistic::{Statistic as _, filesystem, host};
use collector_tests::allocation;
use collector_tests::scratch::scratch;

const CGROUPS: usize = 40;
const PERIOD: u64 = 5;

fn write(root: &Path, number: usize, round: usize) {
    let at = root.join(format!("sys/fs/cgroup/job-{number}"));
    fs::create_dir_all(&at).unwrap();
    let pressure = format!("some avg10=0.00 avg60=0.00 avg300=0.00 total={round}\nfull avg10=0.00 total={round}\n");
    for (file, text) in [
        ("memory.current", format!("{}\n", 4096 * (number + round))),
        ("memory.max", "max\n".into()),
        ("memory.stat", format!("anon {round}\nfile {number}\ninactive_file 0\nnew_key 1\n")),
        ("memory.events", format!("max {round}\noom_kill 0\n")),
        ("memory.pressure", pressure.clone()),
        ("cpu.pressure", pressure),
        ("cpu.stat", format!("usage_usec {round}\nnr_periods 0\n")),
        ("io.stat", format!("259:0 rbytes={round} wbytes=0\n")),
    ] {
        fs::write(at.join(file), text).unwrap();
    }
}

fn steady(descriptors: usize) {
    let root = scratch();
    fs::create_dir_all(root.join("proc/1")).unwrap();
    fs::write(root.join("proc/1/cgroup"), "0::/\n").unwrap();
    fs::write(root.join("proc/1/mountinfo"), "27 24 0:22 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n").unwrap();
    (0..CGROUPS).for_each(|number| write(&root, number, 0));

    let host = Root::new(&root);
    let hierarchies = Hierarchies::find(&host).unwrap();
    let limits = Limits { workloads: CGROUPS, descriptors, period: PERIOD };
    let (mut reader, mut engine) = (Reader::open(&host, &hierarchies, limits).unwrap(), Engine::new());
    let start = Start {
        version: String::new(),
        kernel: String::new(),
        memory_hierarchy: 0,
        io_hierarchy: 0,
        workload_max: CGROUPS + 1,
        workload_grace: 0,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    };
    engine.apply(&Sample { time: 1, reading: Reading::Start(start) });
    walk(&hierarchies.memory, &mut |id, path| {
        let reading = Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() });
        reader.follow(&reading);
        engine.apply(&Sample { time: 1, reading });
    })
    .unwrap();

    let mut samples = 0;
    for round in 0..4 * PERIOD as usize {
        (0..CGROUPS).for_each(|number| write(&root, number, round));
        let before = allocation::count();
        source::read("cgroup", &mut reader, &mut |sample| {
            samples += 1;
            drop(engine.apply(&sample));
        });
        let allocations = allocation::count() - before;
        // The first round opens all files.
        assert!(round == 0 || allocations == 0, "{allocations} allocations in round {round}");
    }
    // Files that are not kept open are read when it is their cgroup's turn.
    let (times, oldest) = if descriptors > 100 * CGROUPS { (4 * PERIOD, 0) } else { (4, PERIOD - 1) };
    assert!(samples >= times as usize * CGROUPS, "{samples} samples of {CGROUPS} cgroups that changed each time");
    for workload in engine.view().workloads.iter().filter(|workload| workload.name.contains("job-")) {
        let number: u64 = workload.name.rsplit('-').next().unwrap().parse().unwrap();
        let last = 4 * PERIOD - 1;
        let round = workload.statistics.get(Statistic::MemoryPressureSome).unwrap() / 1000;
        assert!((last - oldest..=last).contains(&round), "{round} of {last}");
        let current = workload.statistics.get(Statistic::MemoryCurrent).unwrap() / 4096 - number;
        assert!((last - oldest..=last).contains(&current), "{current} of {last}");
        assert_eq!(workload.statistics.get(Statistic::MemoryFile), Some(number));
        assert_eq!(workload.statistics.get(Statistic::MemoryLimit), None);
    }
    assert_eq!(engine.view().workloads.count(), CGROUPS + 1, "including the root");
}

#[test]
fn a_tick_allocates_nothing_with_all_files_open() {
    steady(100_000);
}

#[test]
fn a_tick_allocates_nothing_with_few_files_open() {
    steady(10);
}

/// Processes of all workloads share a cgroup of another controller. It belongs to no workload, and the search never ends.
#[test]
fn a_tick_allocates_nothing_during_a_vain_search_for_cgroups() {
    let root = scratch();
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("proc/1/cgroup", "4:memory:/\n3:cpuacct:/\n2:blkio:/\n");
    let mounts =
        ["memory", "cpuacct", "blkio"].map(|name| format!("2 1 0:2 / /cg/{name} rw - cgroup cgroup rw,{name}\n"));
    write("proc/1/mountinfo", &mounts.concat());
    let pids: Vec<usize> = (1000..1000 + CGROUPS).collect();
    for pid in &pids {
        write(&format!("cg/memory/job-{pid}/memory.usage_in_bytes"), "4096\n");
        write(&format!("cg/memory/job-{pid}/cgroup.procs"), &format!("{pid}\n"));
        write(&format!("proc/{pid}/cgroup"), &format!("4:memory:/job-{pid}\n3:cpuacct:/shared\n2:blkio:/\n"));
    }
    write("cg/cpuacct/shared/cgroup.procs", &pids.iter().map(|pid| format!("{pid}\n")).collect::<String>());
    write("cg/cpuacct/shared/cpuacct.usage", "7\n");
    write("cg/blkio/cgroup.procs", "1\n");

    let host = Root::new(&root);
    let hierarchies = Hierarchies::find(&host).unwrap();
    let limits = Limits { workloads: CGROUPS, descriptors: 1000, period: PERIOD };
    let mut reader = Reader::open(&host, &hierarchies, limits).unwrap();
    walk(&hierarchies.memory, &mut |id, path| {
        reader.follow(&Reading::Cgroup(cgroup::Reading::Born { id, path: path.to_owned() }));
    })
    .unwrap();
    let (mut usages, mut joined) = (0, 0);
    for round in 0..4 * PERIOD {
        let before = allocation::count();
        source::read("cgroup", &mut reader, &mut |sample| match sample.reading {
            Reading::Statistics(read) => usages += usize::from(read.values.get(Statistic::MemoryCurrent) == Some(4096)),
            Reading::Cgroup(cgroup::Reading::Joined { .. }) => joined += 1,
            _ => {}
        });
        let allocations = allocation::count() - before;
        assert!(round == 0 || allocations == 0, "{allocations} allocations in round {round}");
    }
    assert!(usages >= 4 * CGROUPS && joined == 0, "{usages} usages, {joined} joins");
}

/// The engine with the first of two containers as its only workload, which holds something.
fn with_one_place() -> (Engine, [(Id, String); 2]) {
    let start = Start {
        version: String::new(),
        kernel: String::new(),
        memory_hierarchy: 0,
        io_hierarchy: 0,
        workload_max: 1,
        workload_grace: 0,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    };
    let mut engine = Engine::new();
    engine.apply(&Sample { time: 1, reading: Reading::Start(start) });
    let containers = ["a", "b"].map(|digit| digit.repeat(64));
    let containers = [1, 2].map(|id| (Id { hierarchy: 0, id }, containers[id as usize - 1].clone()));
    for (id, container) in &containers {
        let born = cgroup::Reading::Born { id: *id, path: format!("/docker/{container}") };
        engine.apply(&Sample { time: 1, reading: Reading::Cgroup(born) });
    }
    (engine, containers)
}

#[test]
fn a_cgroup_without_a_place_and_what_is_counted_for_it_allocate_nothing() {
    let (mut engine, containers) = with_one_place();
    for round in 1..20 {
        let statistics = containers.each_ref().map(|(id, _)| {
            let values = [(Statistic::MemoryCurrent, 4096 * round)].into_iter().collect();
            Reading::Statistics(sample::Statistics { cgroup: *id, values, turn: true })
        });
        let counts = fault::Reading::Counts { cgroup: Some(containers[1].0), counts: [1; 8] };
        let samples = statistics.into_iter().chain([Reading::Fault(counts)]);
        let samples: Vec<_> = samples.map(|reading| Sample { time: round, reading }).collect();
        let before = allocation::count();
        samples.iter().for_each(|sample| drop(engine.apply(sample)));
        let allocations = allocation::count() - before;
        assert!(round == 1 || allocations == 0, "{allocations} allocations in round {round}");
        engine.apply(&Sample { time: round, reading: Reading::Tick });
    }
    assert_eq!(engine.view().workloads.iter().next().unwrap().amounts.faults, [19; 8], "those of `other`");
}

#[test]
fn the_use_of_a_containers_volume_allocates_nothing() {
    let (mut engine, containers) = with_one_place();
    for (round, (_, container)) in (0..10).flat_map(|round| containers.iter().map(move |it| (round, it))) {
        let owner = filesystem::Owner {
            name: format!("docker/{}", &container[..12]).into(),
            container_id: Some(container.as_str().into()),
            pod_uid: None,
            cgroup: None,
            volume: "/dev/shm".into(),
        };
        let reading = Reading::Filesystem(filesystem::Reading {
            mountpoint: format!("/var/lib/docker/containers/{container}/mounts/shm").into(),
            device: "shm".into(),
            fstype: "tmpfs".into(),
            owner: Some(owner),
            state: filesystem::State::Read([(filesystem::Statistic::Free, round)].into_iter().collect()),
        });
        let sample = Sample { time: round, reading };
        let before = allocation::count();
        drop(engine.apply(&sample));
        let allocations = allocation::count() - before;
        assert!(round == 0 || allocations == 0, "{allocations} allocations in round {round}");
    }
    let volumes = engine.view().host.volumes.values();
    let free = volumes.map(|it| it.values.as_ref().unwrap().get(filesystem::Statistic::Free));
    assert_eq!(free.collect::<Vec<_>>(), [Some(9); 2]);
}

/// A thousand workloads whose counters grow and whose gauges move below all thresholds, with the default rules.
#[test]
fn evaluating_the_rules_allocates_nothing() {
    const WORKLOADS: u64 = 1000;
    // The history allocates where a chunk of it is complete, with rules or without.
    let mut engines = [Engine::with(Arc::new(Rules::new(&[]).unwrap())), Engine::new()];
    let mut feed = |time, reading| {
        let sample = Sample { time, reading };
        engines.each_mut().map(|engine| {
            let before = allocation::count();
            let outcomes = engine.apply(&sample);
            (outcomes, allocation::count() - before)
        })
    };
    let mut time = 1_700_000_000_000_000_000;
    let start = Start {
        version: String::new(),
        kernel: String::new(),
        memory_hierarchy: 0,
        io_hierarchy: 0,
        workload_max: WORKLOADS as usize + 1,
        workload_grace: 0,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    };
    feed(time, Reading::Start(start));
    for probe in SIGNALS.iter().flat_map(|signal| signal.probes) {
        let probe = Probe { program: probe.program.into(), state: ProbeState::Attached, reason: None };
        feed(time, Reading::Probe(probe));
    }
    let id = |number| Id { hierarchy: 0, id: number };
    for number in 1..=WORKLOADS {
        let born = cgroup::Reading::Born { id: id(number), path: format!("/system.slice/job-{number}.service") };
        feed(time, Reading::Cgroup(born));
    }
    let mut reported = 0;
    for round in 1..100u64 {
        time += 1_000_000_000;
        let host = host::Statistic::ALL.iter().map(|statistic| (*statistic, 1_000_000 * (round % 3) + 1_000_000_000));
        feed(time, Reading::Host(host.collect()));
        for number in 1..=WORKLOADS {
            // Neither of these stays below its threshold.
            let calm = |it: &&Statistic| !matches!(it, Statistic::MemoryLimit | Statistic::MemoryUnderOom);
            let values = Statistic::ALL.iter().filter(calm).map(|it| (*it, round));
            let values = sample::Statistics { cgroup: id(number), values: values.collect(), turn: false };
            feed(time, Reading::Statistics(values));
        }
        let [(outcomes, with), (_, without)] = feed(time, Reading::Tick);
        let allocations = with - without;
        reported += outcomes.len();
        // Ten seconds after the start, and each minute from then on, advice is judged; some of it is about rules.
        let judges = round % 60 == 11;
        // The first round finds all series; alerts for those over their threshold here come a while later.
        let may = round == 1 || judges || !outcomes.is_empty();
        assert!(may || allocations == 0, "{allocations} allocations in round {round}");
    }
    assert!(reported < 20, "{reported} alerts leave no quiet rounds");
}
