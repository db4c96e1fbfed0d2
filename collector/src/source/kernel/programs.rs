//! The loaded programs with their rings and maps, and what is read from them once a tick.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::RingBuf;
use aya_log::EbpfLogger;
use collector_common::SIGNALS;
use collector_common::block::ISSUE;
use collector_common::ring::Ring as RingName;
use collector_core::sample::{Probe, Reading};
use collector_core::signal::{Context, block};

use super::bpf;
use super::counters::CounterMaps;
use super::disk::Disks;
use super::holding::Holdings;
use super::issue::Issue;
use super::load;
use super::notice::Notice;
use super::pass::Pass;
use super::pending::Pending;
use super::ring::Ring;
use super::run::Runs;
use super::share::Shares;
use super::sweep::Sweep;
use crate::clock;
use crate::config::Config;
use crate::source::cgroup::Hierarchies;
use crate::source::root::Root;
use crate::source::transfer::join;

pub(super) struct Programs {
    /// Dropping it detaches every program.
    ebpf: Ebpf,
    /// Wakes the agent for each record.
    pub critical: Ring,
    /// Wakes the agent when it fills up.
    pub bulk: Ring,
    pub counters: CounterMaps,
    /// Grows when requests of disks complete.
    pub completed: Arc<AtomicU64>,
    /// Kernel memory of the maps in bytes. All of it is allocated when they are made, so it stays the same.
    pub map_bytes: Option<u64>,
    /// Only if transfers are watched.
    holdings: Option<Holdings>,
    /// Only if the kernel marks victims by thread id alone.
    pub pending: Option<Pending>,
    /// Until the source of cgroups takes it.
    pub pass: Option<Pass>,
    notice: Notice,
    /// Only if it is attached on demand.
    issue: Option<Issue>,
    sweep: Sweep,
    shares: Shares,
    disks: Disks,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    runs: Runs,
}

impl Programs {
    /// Loads the programs, attaches what can be attached, and opens maps and rings. Returns the state of each probe, too.
    ///
    /// # Errors
    /// Nothing could be loaded.
    pub fn load(config: &Config, root: &Root, hierarchies: &Hierarchies) -> Result<(Programs, Vec<Probe>)> {
        // Slot 0 is shared by everything without a slot; a workload has one slot in each hierarchy.
        let slots = 1 + config.workload.max * hierarchies.distinct().count();
        let slots = u32::try_from(slots).unwrap_or(u32::MAX).min(u32::from(u16::MAX));
        let load::Loaded { mut ebpf, probes, resolved, secret, notice, pass } = load::load(config, slots, hierarchies)?;
        let map_bytes = bpf::map_memory()
            .inspect_err(|error| tracing::info!("could not read the memory of the maps: {error}"))
            .ok();
        let ring = |ebpf: &mut Ebpf, name: RingName| -> Result<Ring> {
            let map = ebpf.take_map(name.map()).context("the object lacks a ring")?;
            Ok(Ring::new(RingBuf::try_from(map).with_context(|| format!("map {}", name.map()))?))
        };
        let logger = if config.kernel.debug { EbpfLogger::init(&mut ebpf).map(Some) } else { Ok(None) };
        let programs = Programs {
            critical: ring(&mut ebpf, RingName::Critical)?,
            bulk: ring(&mut ebpf, RingName::Bulk)?,
            counters: CounterMaps::new(&mut ebpf, slots)?,
            completed: Arc::default(),
            map_bytes,
            pending: (resolved.layout.victim_is_pid == 1).then(|| Pending::new(&mut ebpf)).transpose()?,
            holdings: config.transfer.enabled.then(|| Holdings::new(&mut ebpf)).transpose()?,
            pass,
            issue: Issue::new(&probes, &resolved.layout),
            notice,
            sweep: Sweep::new(&mut ebpf, clock::monotonic_ns())?,
            shares: Shares::new(&mut ebpf, secret)?,
            disks: Disks::new(&mut ebpf, root)?,
            logger: logger.context("open the programs' debug log")?,
            runs: Runs::new(active(&probes), config.kernel.measure),
            ebpf,
        };
        Ok((programs, probes))
    }

    /// The loaded programs that wait for a library.
    pub fn waiting(&self, probes: &[Probe]) -> Result<Vec<join::Program>> {
        load::waiting(&self.ebpf, probes)
    }

    /// Emits what the maps have counted since the last call, and the name of each new block device. `now` is CLOCK_MONOTONIC.
    pub fn read(&mut self, now: u64, context: &Context, emit: &mut dyn FnMut(Reading)) -> Result<()> {
        let Programs { ebpf, counters, completed, disks, holdings, issue, notice, runs, shares, .. } = self;
        disks.refresh(emit);
        let unstarted = counters.read(notice, context, &mut |reading| {
            match &reading {
                Reading::Block(block::Reading::Device { device, .. }) => {
                    completed.fetch_add(1, Relaxed);
                    disks.name(*device, emit);
                }
                // One of them may have had no room.
                Reading::Lost(_) => _ = completed.fetch_add(1, Relaxed),
                _ => {}
            }
            emit(reading);
        })?;
        if let Some(state) = issue.as_mut().and_then(|issue| issue.tick(unstarted, ebpf, notice)) {
            runs.add(ISSUE);
            emit(state);
        }
        if let Some(holdings) = holdings {
            holdings.read(notice, shares, emit)?;
        }
        counters.release(now)?;
        self.sweep.run(now, &self.shares)?;
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        Ok(())
    }

    /// Emits skipped runs and run times; see [`Runs::read`].
    pub fn read_runs(&mut self, missed: &mut dyn FnMut(&'static str), emit: &mut dyn FnMut(Reading)) -> Result<()> {
        self.runs.read(&self.ebpf, missed, emit)
    }
}

/// Names of the programs that are attached or wait for a library.
fn active(probes: &[Probe]) -> impl Iterator<Item = &'static str> {
    let is_active = |name: &str| probes.iter().any(|probe| probe.program == name && load::is_active(probe));
    SIGNALS.iter().flat_map(|signal| signal.probes).map(|probe| probe.program).filter(move |name| is_active(name))
}
