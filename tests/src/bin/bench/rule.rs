//! Cost of the rules: a tick with the default rules, compared with one without, while a tenth of the workloads moves.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use collector_core::engine::Engine;
use collector_core::rule::Rules;
use collector_core::sample::{Reading, Sample, Statistics};
use collector_core::signal::fault;
use collector_core::statistic::host;
use collector_core::statistic::workload::Statistic;
use collector_core::statistic::{Kind, Statistic as _};

use crate::machine::Pinned;
use crate::report::Report;
use crate::scrape::{Life, NOW, host as filled, id};
use crate::statistic::{Summary, alternate};
use collector_tests::allocation;

const WORKLOADS: usize = 1_000;
/// One of this many workloads moves in a tick, another one each time.
const MOVING: usize = 10;
/// Most that the rules may add to a tick, in microseconds.
const AIM: f64 = 300.0;
/// Seconds after which events of the start are outside all windows.
const SETTLED: u64 = 1_500;

/// Measures ticks with and without rules alternately, both of a host where workloads move and of one where nothing does.
pub fn measure(rounds: usize) -> Result<Report> {
    let _pinned = Pinned::new()?;
    let rules = Rules::new(&[]).map_err(|errors| anyhow::anyhow!("the agent's own rules: {errors:?}"))?;
    let rules = Arc::new(rules);
    let count = rules.enabled().count();
    let mut report = Report::new(&["a tick", "µs, median (quartiles)", "min", "allocations, most"]);
    for life in [Life::Usual, Life::Everything] {
        let (mut with, mut without) = (Host::new(Engine::with(rules.clone()), life), Host::new(Engine::new(), life));
        for moving in [true, false] {
            // The history of both closes its chunks at the same ticks, which allocates: what the rules add is the difference.
            let mut allocations = [Vec::new(), Vec::new()];
            let [looked, plain] = alternate(rounds, |which| {
                let host = if which == 0 { &mut with } else { &mut without };
                if moving {
                    host.step();
                }
                let before = allocation::count();
                let time = host.tick();
                allocations[which].push(allocation::count() - before);
                Ok(time)
            })?;
            let more = allocations[0].iter().zip(&allocations[1]).map(|(with, without)| with.saturating_sub(*without));
            let more = more.max().unwrap_or(0);
            let most = |which: usize| allocations[which].iter().max().copied().unwrap_or(0).to_string();
            let added = Summary::of(looked.iter().zip(&plain).map(|(with, without)| with - without));
            let what = format!("{}, {}", life.name(), if moving { "a tenth moves" } else { "nothing moves" });
            for (kind, times, allocations) in [
                (format!("with {count} rules"), Summary::of(looked), most(0)),
                ("without".into(), Summary::of(plain), most(1)),
                ("what the rules add".into(), added, more.to_string()),
            ] {
                report.row([format!("{kind}: {what}"), times.spread(0), format!("{:.0}", times.min), allocations]);
            }
            report
                .aim(format!("{what}: the rules add at most {AIM:.0} µs: {:.0} µs", added.median), added.median <= AIM);
            report.aim(format!("{what}: the rules allocate nothing while no alert changes"), more == 0);
        }
    }
    report.note(format!(
        "{WORKLOADS} workloads with every number that the kernel's files can have; no alert is pending. What moves are another {} in \
         each tick, all of their counters and what they hold; reading them is not part of the tick.",
        WORKLOADS / MOVING
    ));
    Ok(report)
}

/// A host whose ticks are a second apart.
struct Host {
    engine: Engine,
    time: u64,
    ticks: u64,
}

impl Host {
    fn new(engine: Engine, life: Life) -> Host {
        let mut host = Host { engine: filled(engine, life, WORKLOADS).0, time: NOW, ticks: 0 };
        let numbers = host::Statistic::ALL.iter().map(|statistic| (*statistic, 1_000_000_000));
        host.apply(Reading::Host(numbers.collect()));
        (0..WORKLOADS).for_each(|workload| host.measure(workload));
        for _ in 0..SETTLED {
            host.step();
            host.tick();
        }
        host
    }

    fn apply(&mut self, reading: Reading) {
        drop(self.engine.apply(&Sample { time: self.time, reading }));
    }

    /// Some workloads run: they use a little of everything, so little that no alert is near.
    fn step(&mut self) {
        for workload in (0..WORKLOADS).skip(self.ticks as usize % MOVING).step_by(MOVING) {
            let counts = fault::Reading::Counts { cgroup: Some(id(workload)), counts: [3; 8] };
            self.apply(Reading::Fault(counts));
            self.measure(workload);
        }
    }

    /// Reads a workload's numbers, which grow with time.
    fn measure(&mut self, workload: usize) {
        let numbers = Statistic::ALL.iter().map(|statistic| match statistic {
            Statistic::MemoryLimit => (*statistic, 1 << 40),
            _ if statistic.kind() == Kind::Counter && statistic.name().starts_with("memory_event") => {
                (*statistic, self.ticks / 100)
            }
            _ if statistic.kind() == Kind::Counter => (*statistic, self.ticks * 1_000_000),
            _ => (*statistic, (1 << 20) + 4096 * (self.ticks / MOVING as u64 % 7)),
        });
        let values = numbers.collect();
        self.apply(Reading::Statistics(Statistics { cgroup: id(workload), values, turn: false }));
    }

    /// Runs a tick; returns its time in microseconds.
    fn tick(&mut self) -> f64 {
        self.time += 1_000_000_000;
        self.ticks += 1;
        let begun = Instant::now();
        self.apply(Reading::Tick);
        begun.elapsed().as_nanos() as f64 / 1e3
    }
}
