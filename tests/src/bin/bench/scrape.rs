//! Cost of a scrape, by the number of workloads: time, and allocations.

use std::io::Write as _;
use std::time::Instant;

use anyhow::{Result, bail};
use collector::exposition::{Cap, Format, render};
use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::metric::row::Level;
use collector_core::sample::{Probe, ProbeState, Reading, Sample, Start};
use collector_core::signal::{block, cgroup, compaction, fault, oom, reclaim};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::machine::Pinned;
use crate::report::Report;
use crate::statistic::Summary;
use collector_tests::allocation;

const SIZES: [usize; 3] = [100, 1_000, 10_000];
pub const NOW: u64 = 1_700_000_000_000_000_000;
/// Exponent. Near linear: a hundred times as many workloads take at most three hundred times as long.
const AIM: f64 = 1.24;
/// Most milliseconds that OpenMetrics of a usual host may take with as many workloads as the second of [`SIZES`].
const AIM_MS: f64 = 3.0;
/// Most allocations by which a page of the last of [`SIZES`] may exceed one of the first: its text doubles as it grows.
const AIM_ALLOCATIONS: u64 = 16;

/// What is rendered: the agent's default first.
#[derive(Clone, Copy)]
struct Case {
    life: Life,
    format: Format,
    /// `metrics.detail`
    level: Level,
}

const CASES: [Case; 5] = [
    Case { life: Life::Usual, format: Format::OpenMetrics, level: Level::Usual },
    Case { life: Life::Usual, format: Format::OpenMetrics, level: Level::Full },
    Case { life: Life::Usual, format: Format::Text, level: Level::Full },
    Case { life: Life::Everything, format: Format::OpenMetrics, level: Level::Full },
    Case { life: Life::Everything, format: Format::Text, level: Level::Full },
];

/// How much the workloads do.
#[derive(Clone, Copy, PartialEq)]
pub enum Life {
    /// Every family has every series.
    Everything,
    /// All have page faults, a third does IO, a tenth reclaims, one in a hundred was OOM-killed.
    Usual,
}

/// Renders hosts of several sizes.
pub fn measure(rounds: usize) -> Result<Report> {
    let _pinned = Pinned::new()?;
    let mut report = Report::new(&[
        "workloads",
        "format",
        "ms to render, median (quartiles)",
        "min",
        "allocations",
        "series",
        "MB",
        "ms to compress",
        "MB, gzip",
        "ns to fold a counter",
    ]);
    for case in CASES {
        let mut costs = Vec::new();
        for size in SIZES {
            costs.push(row(&mut report, case, size, rounds)?);
        }
        let [small, middle, large] = &costs[..] else { bail!("not as many costs as sizes") };
        let exponent = (large.times.min / small.times.min).log10() / (SIZES[2] as f64 / SIZES[0] as f64).log10();
        let name = case.name();
        report.aim(
            format!("{name}: time grows with the number of workloads to the power of {exponent:.2}, at most {AIM}"),
            exponent <= AIM,
        );
        let more = large.allocations.saturating_sub(small.allocations);
        report.aim(
            format!("{name}: no allocation a series: {} workloads take {more} more than {}", SIZES[2], SIZES[0]),
            more <= AIM_ALLOCATIONS,
        );
        if (case.life, case.format) == (Life::Usual, Format::OpenMetrics) {
            let (median, workloads) = (middle.times.median, SIZES[1]);
            match case.level {
                Level::Usual => report.aim(
                    format!("{name}: {workloads} workloads take at most {AIM_MS} ms: {median:.1}"),
                    median <= AIM_MS,
                ),
                // Who asks for all of them pays for them.
                Level::Full => report.note(format!("{name}: {workloads} workloads take {median:.1} ms.")),
            }
        }
    }
    report.note("Paths like those of Kubernetes, about 190 bytes long, on a host with cgroup v2; no cap on series.");
    report.note("`usual`: all workloads have page faults, a third does IO, a tenth reclaims, one in a hundred was OOM-killed; `everything`: all do everything.");
    report.note("`usual series`: as by default; `all series`: `metrics.detail` = full.");
    report.note("Compression at the endpoint's level; scrapes of one tick share one rendering and compression.");
    Ok(report)
}

struct Cost {
    times: Summary,
    allocations: u64,
}

fn row(report: &mut Report, case: Case, size: usize, rounds: usize) -> Result<Cost> {
    let (engine, fold_ns) = host(Engine::new(), case.life, size);
    let cap = Cap { level: case.level, ..Cap::NONE };
    let mut text = String::new();
    let mut allocations = 0;
    let mut timed = || {
        let before = allocation::count();
        let begun = Instant::now();
        text = render(engine.view(), case.format, cap).text;
        let time = begun.elapsed().as_secs_f64() * 1e3;
        allocations = allocation::count() - before;
        time
    };
    let times = Summary::of((0..rounds).map(|_| timed()));
    let begun = Instant::now();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes())?;
    let compressed = encoder.finish()?.len();
    let compress = begun.elapsed().as_secs_f64() * 1e3;
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    report.row([
        format!("{size}, {}", case.life.name()),
        format!("{}, {}", format_name(case.format), level_name(case.level)),
        times.spread(1),
        format!("{:.1}", times.min),
        allocations.to_string(),
        series.to_string(),
        format!("{:.2}", text.len() as f64 / 1e6),
        format!("{compress:.1}"),
        format!("{:.2}", compressed as f64 / 1e6),
        format!("{fold_ns:.0}"),
    ]);
    Ok(Cost { times, allocations })
}

impl Life {
    pub fn name(self) -> &'static str {
        match self {
            Life::Everything => "everything",
            Life::Usual => "usual",
        }
    }

    /// Whether this workload has something that one in `share` has.
    fn has(self, workload: usize, share: usize) -> bool {
        self == Life::Everything || workload.is_multiple_of(share)
    }
}

impl Case {
    fn name(self) -> String {
        format!("{}, {}, {}", self.life.name(), format_name(self.format), level_name(self.level))
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Usual => "usual series",
        Level::Full => "all series",
    }
}

fn format_name(format: Format) -> &'static str {
    match format {
        Format::OpenMetrics => "OpenMetrics",
        Format::Text => "text",
    }
}

/// A host with this many workloads, and the nanoseconds per sample to fold counters.
pub fn host(mut engine: Engine, life: Life, size: usize) -> (Engine, f64) {
    let mut apply = |reading| drop(engine.apply(&Sample { time: NOW, reading }));
    apply(Reading::Start(Start {
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        memory_hierarchy: 0,
        io_hierarchy: 0,
        workload_max: size,
        workload_grace: 60_000_000_000,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    }));
    for probe in collector_common::SIGNALS.iter().flat_map(|signal| signal.probes) {
        let program = probe.program.to_owned();
        apply(Reading::Probe(Probe { program, state: ProbeState::Attached, reason: None }));
    }
    for workload in 0..size {
        apply(Reading::Cgroup(cgroup::Reading::Born { id: id(workload), path: path(workload) }));
    }
    let readings: Vec<Reading> = (0..size).flat_map(|workload| readings(life, workload, id(workload))).collect();
    let count = readings.len();
    let begun = Instant::now();
    readings.into_iter().for_each(&mut apply);
    let fold_ns = begun.elapsed().as_nanos() as f64 / count as f64;
    apply(Reading::Tick);
    (engine, fold_ns)
}

pub fn id(workload: usize) -> Id {
    Id { hierarchy: 0, id: workload as u64 + 1 }
}

fn readings(life: Life, workload: usize, id: Id) -> Vec<Reading> {
    // Numbers with as many digits as real ones.
    let amount = 1_000_003 * (workload as u64 + 7);
    let cgroup = Some(id);
    let mut readings = vec![Reading::Fault(fault::Reading::Counts { cgroup, counts: [amount; 8] })];
    if life.has(workload, 3) {
        let operations = if life == Life::Everything { 5 } else { 2 };
        for operation in block::Operation::ALL.into_iter().take(operations) {
            let (ios, bytes, ns) = (amount, 4096 * amount, 87_654 * amount);
            readings.push(Reading::Block(block::Reading::Workload { cgroup, operation, ios, bytes, ns }));
        }
    }
    if life.has(workload, 10) {
        for kind in reclaim::Kind::ALL {
            readings.push(Reading::Reclaim(reclaim::Reading::Counts {
                cgroup,
                kind,
                stalls: amount,
                ns: 12_345 * amount,
                bytes: 4096 * amount,
                target_bytes: 4096 * amount,
            }));
        }
        readings.push(Reading::Compaction(compaction::Reading::Counts { cgroup, stalls: amount, ns: 54_321 * amount }));
    }
    if life.has(workload, 100) {
        let scopes = if life == Life::Everything { 3 } else { 1 };
        for scope in oom::Scope::ALL.into_iter().take(scopes) {
            readings.push(Reading::Oom(oom::Reading::Kill(kill(id, scope))));
        }
    }
    readings
}

fn path(workload: usize) -> String {
    let pod = format!(
        "{:08x}_{:04x}_4c1e_9d2a_{:012x}",
        0x9e37_79b9_u32.wrapping_mul(workload as u32),
        workload & 0xffff,
        workload
    );
    let container: String = (0..4_u64)
        .map(|part| format!("{:016x}", (workload as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15 ^ part)))
        .collect();
    format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{pod}.slice/cri-containerd-{container}.scope"
    )
}

/// All belong to one shortage, and so to one incident: thousands of incidents are not what is measured.
fn kill(id: Id, scope: oom::Scope) -> oom::Kill {
    oom::Kill {
        cgroup: Some(id),
        trigger_cgroup: Some(self::id(0)),
        limited: (scope == oom::Scope::Memcg).then_some(id),
        scope,
        pid: 4242,
        tid: 4242,
        comm: "python3".into(),
        uid: 1000,
        score_adj: 0,
        anon_bytes: Some(1 << 30),
        file_bytes: Some(1 << 20),
        shmem_bytes: Some(0),
        trigger_pid: 4242,
        trigger_comm: "python3".into(),
        ..oom::Kill::default()
    }
}
