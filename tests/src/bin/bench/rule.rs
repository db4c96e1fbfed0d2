//! Cost of the rules: a tick with the default rules, compared with one without and with a scrape.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use collector::exposition::{Cap, Format, render};
use collector_core::engine::Engine;
use collector_core::rule::Rules;
use collector_core::sample::{Reading, Sample, Statistics};
use collector_core::statistic::Statistic as _;
use collector_core::statistic::host;
use collector_core::statistic::workload::Statistic;

use crate::machine::Pinned;
use crate::report::Report;
use crate::scrape::{Life, NOW, host as filled, id};
use crate::statistic::{Summary, alternate, ratio};
use collector_tests::allocation;

const WORKLOADS: usize = 1_000;
/// Evaluating all rules costs at most this share of writing one exposition.
const SHARE: f64 = 0.2;
/// Seconds after which events of the start are outside all windows.
const SETTLED: u64 = 1_500;

/// Measures all three, alternately.
pub fn measure(rounds: usize) -> Result<Report> {
    let _pinned = Pinned::new()?;
    let rules = Rules::new(&[]).map_err(|errors| anyhow::anyhow!("the agent's own rules: {errors:?}"))?;
    let rules = Arc::new(rules);
    let mut report = Report::new(&["what", "µs, median (quartiles)", "min", "allocations"]);
    for life in [Life::Usual, Life::Everything] {
        let (mut with, mut without) = (Host::new(Engine::with(rules.clone()), life), Host::new(Engine::new(), life));
        let mut allocations = 0;
        let [looked, plain, rendered] = alternate(rounds, |which| {
            Ok(match which {
                0 => {
                    let before = allocation::count();
                    let time = with.tick();
                    allocations = allocations.max(allocation::count() - before);
                    time
                }
                1 => without.tick(),
                _ => {
                    let begun = Instant::now();
                    drop(render(with.engine.view(), Format::OpenMetrics, Cap::NONE));
                    begun.elapsed().as_nanos() as f64 / 1e3
                }
            })
        })?;
        let name = life.name();
        let share = ratio(&looked, &rendered);
        for (what, times, allocations) in [
            (format!("a tick with {} rules, {name}", rules.enabled().count()), looked, allocations.to_string()),
            (format!("a tick without, {name}"), plain, "–".into()),
            (format!("a scrape, {name}"), rendered, "–".into()),
        ] {
            let times = Summary::of(times);
            report.row([what, times.spread(0), format!("{:.0}", times.min), allocations]);
        }
        report.aim(
            format!("{name}: a tick with the rules takes at most {SHARE} of a scrape: {:.3}", share.median),
            share.median <= SHARE,
        );
        report.aim(format!("{name}: no allocation while no alert changes"), allocations == 0);
    }
    report.note(format!(
        "{WORKLOADS} workloads with every number that the kernel's files can have; no alert is pending."
    ));
    Ok(report)
}

/// A host whose ticks are a second apart.
struct Host {
    engine: Engine,
    time: u64,
}

impl Host {
    fn new(engine: Engine, life: Life) -> Host {
        let mut host = Host { engine: filled(engine, life, WORKLOADS).0, time: NOW };
        let numbers = host::Statistic::ALL.iter().map(|statistic| (*statistic, 1_000_000_000));
        host.apply(Reading::Host(numbers.collect()));
        for workload in 0..WORKLOADS {
            let numbers = Statistic::ALL.iter().map(|statistic| match statistic {
                Statistic::MemoryLimit => (*statistic, 1 << 40),
                _ => (*statistic, 1 << 20),
            });
            host.apply(Reading::Statistics(Statistics {
                cgroup: id(workload),
                values: numbers.collect(),
                turn: false,
            }));
        }
        for _ in 0..SETTLED {
            host.tick();
        }
        host
    }

    fn apply(&mut self, reading: Reading) {
        drop(self.engine.apply(&Sample { time: self.time, reading }));
    }

    /// Runs a tick; returns its time in microseconds.
    fn tick(&mut self) -> f64 {
        self.time += 1_000_000_000;
        let begun = Instant::now();
        self.apply(Reading::Tick);
        begun.elapsed().as_nanos() as f64 / 1e3
    }
}
