//! What is shown at the usual level of detail: how many series a workload has, that none comes and goes, and that no default rule
//! misses one.

use std::collections::BTreeSet;
use std::fmt;

use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::metric::METRICS;
use collector_core::metric::row::{Buckets, Level, Metric, Target, Value};
use collector_core::rule::{Change, Condition, Rules, Threshold};
use collector_core::sample::{Probe, ProbeState, Reading, Sample, Statistics};
use collector_core::signal::{block, cgroup, fault, oom, reclaim};
use collector_core::statistic::Statistic as _;
use collector_core::statistic::workload::Statistic::{self, *};

use crate::fixture::start;

const SECOND: u64 = 1_000_000_000;
const MIB: u64 = 1 << 20;
const ID: Id = Id { hierarchy: 0, id: 7 };
const NAME: &str = "idle.service";

/// A cgroup v2 host with every program attached, and one service on it.
struct Host {
    engine: Engine,
    now: u64,
    values: Vec<(Statistic, u64)>,
}

impl Host {
    /// Of the service everything is known. It did things before the agent came, and has done nothing since.
    fn new(limits: &[(Statistic, u64)]) -> Host {
        let mut host = Host { engine: Engine::new(), now: SECOND, values: Vec::new() };
        host.apply(Reading::Start(start()));
        for probe in collector_common::SIGNALS.iter().flat_map(|signal| signal.probes) {
            let program = probe.program.to_owned();
            host.apply(Reading::Probe(Probe { program, state: ProbeState::Attached, reason: None }));
        }
        host.apply(Reading::Cgroup(cgroup::Reading::Born { id: ID, path: format!("/system.slice/{NAME}") }));
        let nothing = Statistic::ALL.iter().filter(|it| it.kind() != collector_core::statistic::Kind::Limit);
        host.values = nothing.map(|statistic| (*statistic, 0)).collect();
        let held = [MemoryCurrent, MemoryWorkingSet, MemoryWithoutCache, MemoryAnon, MemoryFile, MemoryKernel];
        held.into_iter().for_each(|statistic| host.set(statistic, 5 * MIB));
        host.set(MemoryPeak, 70 * MIB);
        host.set(Populated, 1);
        for statistic in [CpuUsage, CpuUser, CpuSystem, CpuPressureSome, IoPressureSome, IoPressureFull] {
            host.set(statistic, 70 * SECOND);
        }
        [IoReadBytes, IoWriteBytes].into_iter().for_each(|statistic| host.set(statistic, 700 * MIB));
        limits.iter().for_each(|(statistic, value)| host.set(*statistic, *value));
        host.ticks(70);
        host
    }

    fn apply(&mut self, reading: Reading) {
        self.engine.apply(&Sample { time: self.now, reading });
    }

    fn set(&mut self, statistic: Statistic, value: u64) {
        self.values.retain(|(known, _)| *known != statistic);
        self.values.push((statistic, value));
    }

    fn ticks(&mut self, count: u64) {
        for _ in 0..count {
            self.now += SECOND;
            let values = self.values.iter().copied().collect();
            self.apply(Reading::Statistics(Statistics { cgroup: ID, values, turn: true }));
            self.apply(Reading::Tick);
        }
    }

    /// What the programs count when it works: faults, reads and writes.
    fn work(&mut self) {
        let cgroup = Some(ID);
        self.apply(Reading::Fault(fault::Reading::Counts { cgroup, counts: [1000; 8] }));
        for operation in block::Operation::ALL {
            let (ios, bytes, ns) = (100, 4096 * 100, 100_000);
            self.apply(Reading::Block(block::Reading::Workload { cgroup, operation, ios, bytes, ns }));
        }
        let more =
            [(CpuUsage, 5), (CpuPressureSome, 1), (CpuPressureFull, 1), (IoPressureSome, 1), (IoPressureFull, 1)];
        for (statistic, seconds) in more {
            let before = self.values.iter().find(|(known, _)| *known == statistic).map_or(0, |(_, value)| *value);
            self.set(statistic, before + seconds * SECOND);
        }
    }

    /// What the kernel does to a workload at its limit.
    fn thrash(&mut self) {
        let kind = reclaim::Kind::Memcg;
        let (stalls, ns, bytes) = (10, SECOND, MIB);
        let counts = reclaim::Reading::Counts { cgroup: Some(ID), kind, stalls, ns, bytes, target_bytes: 0 };
        self.apply(Reading::Reclaim(counts));
        for statistic in [MemoryPressureSome, MemoryPressureFull] {
            self.set(statistic, 9 * SECOND);
        }
        self.set(MemoryEventMax, 70);
    }

    /// The workload's series, with their numbers.
    fn shown(&self, level: Level) -> Vec<(&'static Metric, Vec<String>, f64)> {
        let mut all = All(Vec::new());
        METRICS.iter().for_each(|metric| metric.write(self.engine.view(), level, &mut all).unwrap());
        all.0.retain(|(_, labels, _)| labels.iter().any(|label| label == NAME));
        all.0
    }

    fn names(&self, level: Level) -> BTreeSet<String> {
        self.shown(level).into_iter().map(|(metric, labels, _)| format!("{}{labels:?}", metric.name)).collect()
    }
}

struct All(Vec<(&'static Metric, Vec<String>, f64)>);

impl All {
    fn add(&mut self, metric: &'static Metric, labels: &[&str], number: f64) -> fmt::Result {
        self.0.push((metric, labels.iter().map(|&label| label.to_owned()).collect(), number));
        Ok(())
    }
}

impl Target for All {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: Value, _: u64) -> fmt::Result {
        self.add(metric, labels, value.number())
    }

    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: Value) -> fmt::Result {
        self.add(metric, labels, value.number())
    }

    fn histogram(&mut self, metric: &'static Metric, labels: &[&str], buckets: Buckets<'_>, _: u64) -> fmt::Result {
        self.add(metric, labels, buckets.count() as f64)
    }
}

#[test]
fn an_idle_workload_shows_what_it_holds_and_its_limits() {
    let limit = (MemoryLimit, 100 * MIB);
    let swap = (MemorySwapLimit, 0);
    for limits in [&[][..], &[limit], &[limit, swap], &[limit, (MemoryHigh, 90 * MIB)]] {
        let host = Host::new(limits);
        let names = host.names(Level::Usual);
        assert!(names.len() <= 12, "{}: {names:#?}", names.len());
        assert!(host.names(Level::Full).len() > 40);
        let has = |name: &str| names.iter().any(|series| series.starts_with(&format!("{name}[")));
        assert!(has("headroom_workload_info") && has("headroom_workload_memory_current_bytes"));
        assert_eq!(has("headroom_workload_memory_limit_bytes"), !limits.is_empty());
        assert!(!has("headroom_workload_cpu_seconds_total") && !has("headroom_workload_page_faults_total"));
    }
}

#[test]
fn a_busy_workload_shows_more_and_not_too_much() {
    let mut host = Host::new(&[(MemoryLimit, 100 * MIB)]);
    let idle = host.names(Level::Usual);
    host.work();
    host.ticks(1);
    let busy = host.names(Level::Usual);
    assert!(busy.is_superset(&idle) && busy.len() <= 35, "{}: {busy:#?}", busy.len());
    for name in
        ["cpu_seconds_total", "page_faults_total", "block_bytes_total", "memory_anon_bytes", "memory_limit_used_ratio"]
    {
        assert!(busy.iter().any(|series| series.starts_with(&format!("headroom_workload_{name}["))), "{name}");
    }
    host.thrash();
    host.ticks(1);
    let thrashing = host.names(Level::Usual);
    assert!(thrashing.is_superset(&busy) && thrashing.len() <= 40, "{}: {thrashing:#?}", thrashing.len());
    assert!(host.names(Level::Full).is_superset(&thrashing));
}

#[test]
fn a_series_that_was_shown_does_not_come_and_go() {
    let mut host = Host::new(&[(MemoryLimit, 100 * MIB), (MemoryHigh, 90 * MIB)]);
    let mut before = host.names(Level::Usual);
    for step in 0..12 {
        match step {
            1 => host.set(MemorySwap, 3 * MIB),
            2 => host.set(MemorySwap, 0),
            3 => host.set(MemoryUnderOom, 1),
            4 => host.set(MemoryUnderOom, 0),
            5 => host.work(),
            6 => host.ticks(600),
            7 => host.set(MemoryShmem, MIB),
            8 => host.set(MemoryShmem, 0),
            9 => host.thrash(),
            10 => host.set(MemoryAnon, 0),
            _ => {}
        }
        host.ticks(1);
        let now = host.names(Level::Usual);
        let gone: Vec<_> = before.difference(&now).collect();
        assert!(gone.is_empty(), "step {step}: {gone:?}");
        before = now;
    }
}

#[test]
fn a_probe_has_one_series_for_the_state_that_holds() {
    let host = Host::new(&[]);
    let states = |level| {
        let mut all = All(Vec::new());
        METRICS.iter().for_each(|metric| metric.write(host.engine.view(), level, &mut all).unwrap());
        all.0.retain(|(metric, ..)| metric.name == "headroom_probe_state");
        all.0
    };
    let probes = collector_common::SIGNALS.iter().flat_map(|signal| signal.probes).count();
    let usual = states(Level::Usual);
    assert!(usual.iter().all(|(_, labels, number)| labels[1] == "attached" && *number == 1.0));
    assert_eq!((usual.len(), states(Level::Full).len()), (probes, 6 * probes));
}

#[test]
fn a_kill_is_counted_from_zero() {
    let mut host = Host::new(&[(MemoryLimit, 100 * MIB)]);
    let kills = |host: &Host| {
        let series = host.shown(Level::Usual);
        let kills = series.into_iter().filter(|(metric, labels, _)| {
            metric.name == "headroom_oom_kills_total" && labels.contains(&"memcg".to_owned())
        });
        kills.map(|(.., number)| number).collect::<Vec<_>>()
    };
    assert_eq!(kills(&host), [0.0]);
    let kill = oom::Kill { cgroup: Some(ID), scope: oom::Scope::Memcg, ..oom::Kill::default() };
    host.apply(Reading::Oom(oom::Reading::Kill(kill)));
    assert_eq!(kills(&host), [1.0]);
}

/// Series of the rule's metric that it selects.
fn selected(host: &Host, threshold: &Threshold, level: Level) -> BTreeSet<String> {
    let mut series = host.shown(level);
    series.retain(|(metric, labels, _)| {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        metric.name == threshold.metric.name && threshold.matches(&labels)
    });
    series.into_iter().map(|(metric, labels, _)| format!("{}{labels:?}", metric.name)).collect()
}

#[test]
fn whatever_a_default_rule_reads_is_shown() {
    let limits = [(MemoryLimit, 100 * MIB), (MemoryHigh, 99 * MIB), (CpuPeriods, 1)];
    let idle = Host::new(&limits);
    // What rules find wrong: it is full, and frozen.
    let mut wrong = Host::new(&limits);
    for statistic in [MemoryCurrent, MemoryWorkingSet] {
        wrong.set(statistic, 95 * MIB);
    }
    wrong.set(MemoryWithoutCache, 60 * MIB);
    wrong.ticks(1);
    let mut frozen = Host::new(&limits);
    frozen.set(MemoryUnderOom, 1);
    frozen.ticks(1);
    let mut read = 0;
    for rule in &Rules::new(&[]).unwrap().0 {
        let Condition::Threshold(threshold) = &rule.condition else { continue };
        assert!(!threshold.metric.detail.is_full(), "{} reads {}", rule.name, threshold.metric.name);
        // What a rule rates counts from zero, before anything happens.
        let hosts: &[&Host] = match threshold.change {
            Some(Change::Rate(_)) => &[&idle, &wrong, &frozen],
            _ => &[&wrong, &frozen],
        };
        for host in hosts {
            let full = selected(host, threshold, Level::Full);
            // A frozen one is seen by its own rule.
            let mut full: Vec<_> = full.difference(&selected(host, threshold, Level::Usual)).cloned().collect();
            full.retain(|series| {
                !series.starts_with("headroom_workload_memory_under_oom") || std::ptr::eq(*host, &frozen)
            });
            full.retain(|series| !series.contains("_ratio[") || std::ptr::eq(*host, &wrong));
            assert!(full.is_empty(), "{}: {full:?}", rule.name);
            read += selected(host, threshold, Level::Usual).len();
        }
    }
    assert!(read > 20, "{read}");
}
