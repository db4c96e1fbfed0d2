//! How fast one core drains the bulk ring, decodes and folds; and that every lost record is counted.

use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Context as _, Result};
use aya::maps::RingBuf;
use collector::clock;
use collector::source::kernel::bpf;
use collector::source::kernel::counters::CounterMaps;
use collector::source::kernel::load::Loaded;
use collector::source::kernel::notice::Notice;
use collector::source::kernel::ring::Ring;
use collector_common::ring::Ring as Which;
use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::sample::{Reading, Sample, Start};
use collector_core::signal::{Context, cgroup};
use collector_core::stage::Stage;

use crate::machine::Pinned;
use crate::probe;
use crate::report::Report;
use crate::statistic::Summary;

/// Records that one run of the program `flood` sends.
const RECORDS: u64 = 1024;
const BYTES: u32 = 64 << 20;
/// Runs that fit into the ring.
const FITTING: u64 = 512;
/// Runs that overflow the ring.
const OVERFLOWING: u64 = 1024;
const CGROUP: Id = Id { hierarchy: 0, id: 42 };
const AIM: f64 = 1e6;

/// Fills and drains the ring, alternately; at the end fills it beyond its capacity.
pub fn measure(rounds: usize) -> Result<Report> {
    let _pinned = Pinned::new()?;
    let mut bench = Bench::open()?;
    let mut rates = Vec::new();
    for _ in 0..rounds {
        bench.flood(FITTING)?;
        let begun = Instant::now();
        let received = bench.drain();
        rates.push(received as f64 / begun.elapsed().as_secs_f64());
        anyhow::ensure!(received == FITTING * RECORDS, "{received} of {} records arrived", FITTING * RECORDS);
    }
    let lost_before = bench.lost()?;
    bench.flood(OVERFLOWING)?;
    let received = bench.drain();
    let lost = bench.lost()?;

    let rate = Summary::of(rates.iter().copied());
    let mut report = Report::new(&["records", "millions a second, median (quartiles)", "slowest"]);
    let millions = Summary::of(rates.iter().map(|rate| rate / 1e6));
    report.row(["drained, decoded, folded".to_owned(), millions.spread(2), format!("{:.2}", millions.min)]);
    report.note(format!("{} made-up slow IOs per round, on one CPU; without logging.", FITTING * RECORDS));
    let produced = OVERFLOWING * RECORDS;
    let accounted = lost_before == 0 && lost > 0 && received + lost == produced;
    report.note(format!(
        "At an overflow of a ring of {} MiB: {produced} produced = {received} received + {lost} counted as lost{}.",
        BYTES >> 20,
        if accounted { "" } else { ": WRONG" }
    ));
    report.aim(format!("at least 1 million a second: {:.2} million", rate.median / 1e6), rate.median >= AIM);
    report.aim("every lost record is counted", accounted);
    Ok(report)
}

struct Bench {
    ebpf: aya::Ebpf,
    ring: Ring,
    counters: CounterMaps,
    notice: Notice,
    engine: Engine,
    context: Context,
    received: u64,
}

impl Bench {
    fn open() -> Result<Bench> {
        // No real records may come in between.
        let signals = collector_common::SIGNALS.iter().map(|signal| signal.name.to_owned());
        let Loaded { mut ebpf, notice, .. } = probe::attach(|config| {
            config.kernel.bulk_ring = BYTES;
            config.kernel.disable = signals.collect();
        })?;
        probe::raw(&mut ebpf, "flood")?;
        let map = ebpf.take_map(Which::Bulk.map()).context("the object lacks the bulk ring")?;
        let mut engine = Engine::new();
        let start = Start {
            version: String::new(),
            kernel: String::new(),
            memory_hierarchy: CGROUP.hierarchy,
            io_hierarchy: CGROUP.hierarchy,
            workload_max: 10,
            workload_grace: 0,
            own: None,
            history: None,
            level: None,
            starved: None,
            leak: None,
            controllers: None,
        };
        let born = cgroup::Reading::Born { id: CGROUP, path: "/system.slice/bench.service".into() };
        for reading in [Reading::Start(start), Reading::Cgroup(born)] {
            engine.apply(&Sample { time: clock::unix_ns(), reading });
        }
        Ok(Bench {
            ring: Ring::new(RingBuf::try_from(map)?),
            counters: CounterMaps::new(&mut ebpf, probe::SLOTS)?,
            notice,
            ebpf,
            engine,
            context: Context { page_size: 4096, clock_offset_ns: clock::offset_ns(), jiffy_ns: clock::jiffy_ns() },
            received: 0,
        })
    }

    fn flood(&mut self, runs: u64) -> Result<()> {
        let program = self.ebpf.program("flood").context("the object lacks `flood`")?;
        let fd = program.fd().context("`flood` is not loaded")?.as_fd();
        (0..runs).try_for_each(|_| bpf::test_run(fd, &[CGROUP.id])).context("run `flood`")
    }

    /// Drains like the agent does; returns the number of records.
    fn drain(&mut self) -> u64 {
        let Bench { ring, engine, context, received, .. } = self;
        let before = *received;
        loop {
            let (_, more) = ring.drain(context, &mut |record| {
                if let Ok(sample) = record {
                    *received += u64::from(!engine.apply(&sample).is_empty());
                }
            });
            if !more {
                return *received - before;
            }
        }
    }

    /// Records that the bulk ring lost since the last call.
    fn lost(&mut self) -> Result<u64> {
        let mut count = 0;
        self.counters.read(&self.notice, &self.context, &mut |reading| match reading {
            Reading::Lost(lost) if lost.stage == Stage::RingBulk => count += lost.count,
            _ => {}
        })?;
        Ok(count)
    }
}
