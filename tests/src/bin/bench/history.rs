//! What the history takes in memory, after a day, and what it adds to a tick.

use std::time::Instant;

use anyhow::{Context as _, Result};
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample, Statistics};
use collector_core::signal::{block, fault, reclaim};
use collector_core::statistic::workload::{Statistic, Values};
use collector_core::statistic::{Kind, Statistic as _};
use collector_core::tier::Limits;

use crate::machine::Pinned;
use crate::report::Report;
use crate::scrape::{Life, NOW, host as filled, id};
use crate::statistic::Summary;
use collector_tests::allocation;

const SECOND: u64 = 1_000_000_000;
const MIB: f64 = (1 << 20) as f64;
/// A day as ticks of a minute, then of ten seconds, then of one: each tier gets as many points as in a day of seconds.
const DAY: [(usize, u64); 3] = [(23 * 60, 60), (360, 10), (420, 1)];
/// Ticks of a chunk, one of which is when it is complete.
const CHUNK: usize = 32;

/// How much changes from one tick to the next.
#[derive(Clone, Copy, PartialEq)]
pub enum Change {
    Nothing,
    /// A tenth of the workloads, and of these what usually does: memory, CPU, waiting.
    Some,
    /// Every number of every workload.
    Everything,
}

pub fn measure(rounds: usize) -> Result<Report> {
    let _pinned = Pinned::new()?;
    let head = [
        "workloads",
        "what changes",
        "MiB",
        "KiB a workload",
        "a day",
        "5 min",
        "1 min",
        "µs a tick, median (quartiles)",
        "of a complete chunk",
        "allocations",
    ];
    let mut report = Report::new(&head);
    let budget = Limits::default().memory_bytes as f64 / MIB;
    for workloads in [1_000, 10_000] {
        for (change, name) in [
            (Change::Nothing, "nothing"),
            (Change::Some, "a tenth of them"),
            (Change::Everything, "everything, always"),
        ] {
            let mut host = Host::new(workloads)?;
            for (ticks, seconds) in DAY {
                for _ in 0..ticks {
                    host.tick(seconds, change);
                }
            }
            let (mut times, mut chunks, mut allocations) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds.max(2) * CHUNK {
                let (time, allocated) = host.tick(1, change);
                times.push(time);
                allocations.push(allocated);
            }
            for chunk in times.chunks(CHUNK) {
                chunks.push(chunk.iter().copied().fold(0.0, f64::max));
            }
            let none = allocations.iter().filter(|count| **count == 0).count();
            let used = host.engine.view().history.usage();
            let mib = used.bytes as f64 / MIB;
            let (times, chunks) = (Summary::of(times), Summary::of(chunks));
            report.row([
                workloads.to_string(),
                name.to_owned(),
                format!("{mib:.1}"),
                format!("{:.1}", mib * 1024.0 / workloads as f64),
                used.full.to_string(),
                used.minutes.to_string(),
                used.minute.to_string(),
                times.spread(0),
                format!("{:.0}", chunks.median),
                format!("none in {none} of {} ticks", allocations.len()),
            ]);
            if workloads == 1_000 {
                report.aim(format!("1000 workloads, {name}: at most {budget:.0} MiB: {mib:.1} MiB"), mib <= budget);
                // Without room for all, the history ranks the workloads every ten seconds.
                let least = allocations.len() - allocations.len().div_ceil(CHUNK) - allocations.len().div_ceil(10);
                report.aim(
                    format!("1000 workloads, {name}: a tick that completes neither a chunk nor ten seconds allocates nothing"),
                    none >= least,
                );
            }
        }
    }
    report.note("Bytes as `headroom_history_memory_bytes` counts them, after a day, on a host without GPU. A tick is that of the engine, without reading.");
    report.note("With 10000 workloads the limit (`history.memory`, 32 MiB) decides what is kept, except for the last minute, which always is.");
    Ok(report)
}

pub struct Host {
    pub engine: Engine,
    workloads: usize,
    time: u64,
    ticks: u64,
}

impl Host {
    pub fn new(workloads: usize) -> Result<Host> {
        let engine = filled(Engine::new(), Life::Usual, workloads).0;
        let mut host = Host { engine, workloads, time: NOW, ticks: 0 };
        (0..workloads).for_each(|workload| host.read(workload, true));
        host.engine.view().workloads.of(id(workloads - 1)).context("the workloads are not known")?;
        Ok(host)
    }

    fn apply(&mut self, reading: Reading) {
        drop(self.engine.apply(&Sample { time: self.time, reading }));
    }

    /// Reads a workload's numbers. Parts of memory are read at one tick of ten.
    fn read(&mut self, workload: usize, all: bool) {
        let noise = (self.ticks * 7919 + workload as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
        let usual =
            [Statistic::MemoryCurrent, Statistic::CpuUsage, Statistic::MemoryPressureSome, Statistic::IoPressureSome];
        let values: Values = Statistic::ALL
            .iter()
            .map(|statistic| match statistic {
                Statistic::MemoryLimit => (*statistic, 1 << 40),
                _ if !all && !usual.contains(statistic) => (*statistic, 1 << 20),
                _ if statistic.kind() == Kind::Counter => (*statistic, self.ticks * 1_000_000 + noise % 1_000_000),
                _ => (*statistic, (1 << 20) + noise),
            })
            .collect();
        let turn = (self.ticks + workload as u64).is_multiple_of(10);
        self.apply(Reading::Statistics(Statistics { cgroup: id(workload), values, turn }));
    }

    /// The numbers that programs count change, too.
    fn everything(&mut self, workload: usize) {
        self.read(workload, true);
        let (cgroup, noise) = (Some(id(workload)), 1 + (self.ticks * 31 + workload as u64 * 17) % 1009);
        self.apply(Reading::Fault(fault::Reading::Counts { cgroup, counts: [noise; 8] }));
        for operation in [block::Operation::Read, block::Operation::Write] {
            let (ios, bytes, ns) = (noise, 4096 * noise, noise);
            self.apply(Reading::Block(block::Reading::Workload { cgroup, operation, ios, bytes, ns }));
        }
        let (kind, ns) = (reclaim::Kind::Memcg, 1000 * noise);
        let counts = reclaim::Reading::Counts { cgroup, kind, stalls: noise, ns, bytes: 0, target_bytes: 0 };
        self.apply(Reading::Reclaim(counts));
    }

    /// Microseconds of the tick, and its allocations.
    pub fn tick(&mut self, seconds: u64, change: Change) -> (f64, u64) {
        self.time += seconds * SECOND;
        self.ticks += 1;
        match change {
            Change::Nothing => {}
            Change::Some => (0..self.workloads).step_by(10).for_each(|workload| self.read(workload, false)),
            Change::Everything => (0..self.workloads).for_each(|workload| self.everything(workload)),
        }
        let (begun, before) = (Instant::now(), allocation::count());
        self.apply(Reading::Tick);
        (begun.elapsed().as_nanos() as f64 / 1e3, allocation::count() - before)
    }
}
