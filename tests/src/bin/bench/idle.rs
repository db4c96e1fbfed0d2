//! Cost of the agent on a host on which nothing happens.

use std::collections::HashSet;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use collector::agent::round::Round;
use collector::clock;
use collector::config::Config;
use collector::source::kernel::Kernel;
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::block::{self, Device};
use collector_core::signal::{compaction, reclaim};
use collector_tests::agent::Agent;

use crate::machine::{self, cpu_ns, run_ns};
use crate::report::Report;
use crate::statistic::Summary;
use collector_tests::allocation;

/// Rounds before the measurement, so that everything has been seen once.
const WARM: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);
/// How long the real agent is measured.
const WATCH: Duration = Duration::from_secs(10);

/// Runs the agent's rounds in this process, and measures the built agent.
pub fn measure(rounds: usize) -> Result<Report> {
    let mut report = Report::new(&["figure", "value"]);
    let mut row = |name: &str, value: String| report.row([name.to_owned(), value]);
    let ticks = ticks(rounds)?;
    row("CPU a tick, median (quartiles)", format!("{} µs", ticks.micros.spread(0)));
    row("ticks without an event", format!("{} of {rounds}", ticks.quiet));
    row("ticks among them that allocated", format!("{}, {} times at most", ticks.allocating, ticks.most));
    row("resident after the start, before memory is returned", mib(ticks.started.0));
    row("resident, and anonymous part, afterwards", format!("{}, {}", mib(ticks.trimmed.0), mib(ticks.trimmed.1)));
    let real = agent()?;
    row("the built agent, ticks of 1 s: CPU a tick", format!("{:.0} µs", real.micros));
    row("the built agent: resident, and anonymous part", format!("{}, {}", mib(real.resident.0), mib(real.resident.1)));
    report.note(
        "An event is a record in a ring, such as a new cgroup, or the first of its kind, such as a device's first flush: it may allocate, and its tick does not count.",
    );
    report.note(
        "Ticks are 20 ms apart in the bench's own process, whose memory includes the bench; the built agent does not.",
    );
    report.aim(
        format!("in steady state a tick allocates nothing: {} of {} did", ticks.allocating, ticks.quiet),
        ticks.allocating == 0 && ticks.quiet > 0,
    );
    Ok(report)
}

struct Ticks {
    micros: Summary,
    quiet: usize,
    /// Of the quiet ones.
    allocating: usize,
    most: u64,
    started: (u64, u64),
    trimmed: (u64, u64),
}

fn ticks(rounds: usize) -> Result<Ticks> {
    let config = Config::default();
    let kernel = Kernel::open(&config)?;
    let started = machine::resident("self")?;
    collector::agent::trim();
    let trimmed = machine::resident("self")?;
    let mut engine = Engine::new();
    let mut round = Round::open(&config, kernel, clock::unix_ns(), Vec::new())?;
    let mut events = 0;
    let mut rows = HashSet::new();
    let mut fold = |sample: Sample, events: &mut u64| {
        *events += u64::from(is_event(&sample.reading) || is_first(&mut rows, &sample.reading));
        drop(engine.apply(&sample));
    };
    round.begin(&mut |sample| fold(sample, &mut events));
    let (mut micros, mut quiet, mut allocating, mut most) = (Vec::new(), 0, 0, 0);
    for tick in 0..WARM + rounds {
        sleep(PAUSE);
        let (cpu, allocations) = (cpu_ns(), allocation::count());
        events = 0;
        round.read(&mut |sample| fold(sample, &mut events));
        let (cpu, allocations) = (cpu_ns() - cpu, allocation::count() - allocations);
        if tick >= WARM {
            micros.push(cpu as f64 / 1e3);
            if events == 0 {
                quiet += 1;
                allocating += usize::from(allocations > 0);
                most = most.max(allocations);
            }
        }
    }
    Ok(Ticks { micros: Summary::of(micros), quiet, allocating, most, started, trimmed })
}

/// Whether a device does this for the first time.
fn is_first(rows: &mut HashSet<(Device, u32)>, reading: &Reading) -> bool {
    match reading {
        Reading::Block(block::Reading::Device { device, operation, .. }) => rows.insert((*device, *operation as u32)),
        _ => false,
    }
}

/// Whether this is a rare event, and not a counter.
fn is_event(reading: &Reading) -> bool {
    matches!(
        reading,
        Reading::Cgroup(_)
            | Reading::Oom(_)
            | Reading::Kill(_)
            | Reading::Lost(_)
            | Reading::Block(block::Reading::Io(_) | block::Reading::Name { .. })
            | Reading::Reclaim(reclaim::Reading::Stall(_))
            | Reading::Compaction(compaction::Reading::Stall(_))
    )
}

struct Real {
    micros: f64,
    resident: (u64, u64),
}

fn agent() -> Result<Real> {
    let agent = Agent::start_unrecorded("");
    // The agent measures its programs in the first ten seconds, which is not the steady state.
    sleep(Duration::from_secs(12));
    let pid = agent.pid().to_string();
    // It has one thread.
    let task = Path::new("/proc").join(&pid);
    let before = run_ns(&task)?;
    sleep(WATCH);
    let micros = (run_ns(&task)? - before) as f64 / 1e3 / WATCH.as_secs_f64();
    Ok(Real { micros, resident: machine::resident(&pid)? })
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
