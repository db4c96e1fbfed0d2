//! Cost of the agent on a host on which nothing happens.

use std::collections::HashSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector::agent::round::Round;
use collector::clock;
use collector::config::Config;
use collector::source::kernel::Kernel;
use collector::source::model::wanted::{Settings, Wanted};
use collector_core::engine::Engine;
use collector_core::outcome::Outcome;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::block::{self, Device};
use collector_core::signal::{compaction, reclaim};

use crate::machine::{self, cpu_ns};
use crate::peer::PEERS;
use crate::report::Report;
use crate::statistic::Summary;
use collector_tests::allocation;

/// Time before the measured ticks, so that everything has been seen once, and over which these are spread: what is done once in ten
/// seconds is in both. Together they are shorter than a chunk of the history, which allocates when it is complete.
const WARM: Duration = Duration::from_secs(11);
const WINDOW: Duration = Duration::from_secs(12);
/// How often node_exporter is scraped: Prometheus' usual interval.
const SCRAPE: Duration = Duration::from_secs(15);
/// Number of scrapes for which both are measured.
const SCRAPES: u32 = 4;
/// What both do once after their start is over by then: after a minute the agent writes its first history.
const START: Duration = Duration::from_secs(75);
/// The agent's CPU time over node_exporter's.
const AIM: f64 = 1.0;
/// Most that the built agent may hold, in bytes.
const RESIDENT: u64 = 20 << 20;

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
    let real = built()?;
    row("the built agent, ticks of 1 s: CPU a second, all threads", format!("{:.0} µs", real.micros));
    row("the built agent: resident, and anonymous part", format!("{}, {}", mib(real.resident.0), mib(real.resident.1)));
    if let Some((name, micros)) = &real.peer {
        row(&format!("{name}, scraped every {} s: CPU a second", SCRAPE.as_secs()), format!("{micros:.0} µs"));
    }
    report.note(
        "An event is a record in a ring, such as a new cgroup, the first of its kind, such as a device's first flush, or a part of the history that goes to the disk: it may allocate, and its tick does not count.",
    );
    report.note(format!(
        "Ticks are {} ms apart in the bench's own process, whose memory includes the bench; the built agent does not.",
        (WINDOW / rounds.max(1) as u32).as_millis()
    ));
    report.note(format!(
        "Of the machine's CPU time {:.1} % was used meanwhile. Of a workload that grows the agent reads more: on a host that is not idle it costs more.",
        100.0 * real.busy
    ));
    match &real.peer {
        Some((name, micros)) => {
            report.note(format!(
                "The built agent and {name} run beside each other for {} s.",
                (SCRAPES * SCRAPE).as_secs()
            ));
            let ratio = real.micros / micros;
            let aim = format!("one reading a second costs at most {AIM:.1} times what {name} costs: {ratio:.2}");
            report.aim(aim, ratio <= AIM);
        }
        None => report.note(format!("{OTHER} is not installed.")),
    }
    report.aim(
        format!("in steady state a tick allocates nothing: {} of {} did", ticks.allocating, ticks.quiet),
        ticks.allocating == 0 && ticks.quiet > 0,
    );
    report.aim(
        format!("the built agent holds at most {}: {}", mib(RESIDENT), mib(real.resident.0)),
        real.resident.0 <= RESIDENT,
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
    let models = std::sync::Arc::new(Wanted::new(Settings::of(&config)?));
    let mut round = Round::open(
        &config,
        kernel,
        clock::unix_ns(),
        Vec::new(),
        &Default::default(),
        (&Default::default(), &Default::default()),
        &models,
    )?;
    let mut events = 0;
    let mut rows = HashSet::new();
    let mut fold = |sample: Sample, events: &mut u64| {
        *events += u64::from(is_event(&sample.reading) || is_first(&mut rows, &sample.reading));
        let outcomes = engine.apply(&sample);
        *events += u64::from(outcomes.iter().any(|outcome| matches!(outcome, Outcome::History(_))));
    };
    round.begin(&mut |sample| fold(sample, &mut events));
    let pause = WINDOW / rounds.max(1) as u32;
    // The CPU time and the allocations of a tick, and whether it was without an event.
    let mut tick = || {
        sleep(pause);
        let (cpu, allocations) = (cpu_ns(), allocation::count());
        events = 0;
        round.read(&mut |sample| fold(sample, &mut events));
        (cpu_ns() - cpu, allocation::count() - allocations, events == 0)
    };
    let begun = Instant::now();
    while begun.elapsed() < WARM {
        tick();
    }
    let (mut micros, mut quiet, mut allocating, mut most) = (Vec::new(), 0, 0, 0);
    for _ in 0..rounds {
        let (cpu, allocations, is_quiet) = tick();
        micros.push(cpu as f64 / 1e3);
        if is_quiet {
            quiet += 1;
            allocating += usize::from(allocations > 0);
            most = most.max(allocations);
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
    /// CPU time a second.
    micros: f64,
    resident: (u64, u64),
    /// Share of all CPU time that somebody used meanwhile.
    busy: f64,
    /// The other agent, and its CPU time a second.
    peer: Option<(String, f64)>,
}

const OTHER: &str = "node_exporter";

/// Runs the built agent and node_exporter beside each other.
fn built() -> Result<Real> {
    let peer = |name: &str| PEERS.iter().find(|peer| peer.name == name).context("no such peer");
    let (own, other) = (peer("Headroom")?, peer(OTHER)?);
    let agent = own.start()?;
    let beside =
        other.version().map(|version| anyhow::Ok((format!("{OTHER} {version}"), other.start()?))).transpose()?;
    sleep(START);
    let cpu = || -> Result<[u64; 2]> {
        Ok([agent.cpu_ns()?, beside.as_ref().map_or(Ok(0), |(_, running)| running.cpu_ns())?])
    };
    let (before, machine) = (cpu()?, machine::cpu_time()?);
    for _ in 0..SCRAPES {
        sleep(SCRAPE);
        if let Some((name, running)) = &beside {
            running.read().with_context(|| format!("{name} does not answer"))?;
        }
    }
    let (after, [busy, all]) = (cpu()?, machine::cpu_time()?);
    let busy = (busy - machine[0]) / (all - machine[1]);
    let micros = |which: usize| (after[which] - before[which]) as f64 / 1e3 / (SCRAPES * SCRAPE).as_secs_f64();
    let resident = machine::resident(&agent.pids().next().context("no process")?.to_string())?;
    Ok(Real { micros: micros(0), resident, busy, peer: beside.map(|(name, _)| (name, micros(1))) })
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
