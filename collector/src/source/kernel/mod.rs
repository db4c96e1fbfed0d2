//! The kernel as a source: its rings, its counters, and the cgroups that both refer to. The agent opens it before the
//! other sources, and waits for its rings between ticks.

mod attach;
pub mod bpf;
pub mod counters;
mod device;
mod disk;
pub mod examine;
mod holding;
mod issue;
pub mod layout;
pub mod load;
mod mapped;
pub mod notice;
pub mod pass;
mod pending;
mod programs;
mod refusal;
pub mod ring;
mod row;
mod run;
mod share;
mod size;
pub mod slot;
mod sweep;
mod tree;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use anyhow::{Result, anyhow};
use collector_core::sample::{Lost, Probe, Reading, Sample, Start};
use collector_core::signal::{Context, block, cgroup};
use collector_core::stage::Stage;

use super::cgroup::{Hierarchies, Owners};
use super::root::Root;
use super::transfer::join;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::Config;

use layout::LayoutError;
use pass::Pass;
use programs::Programs;
use ring::Ring;
use slot::Keep;
use tree::{Tree, Walked};

/// How long a dead cgroup must be quiet to lose its slot, in nanoseconds: its IO may still be in flight, and its last counts
/// are read at the next tick.
const QUIET_NS: u64 = 2_000_000_000;

/// Probes that report a cgroup's birth or death. While one is missing, or missed a run, only a walk of the tree finds them.
const CGROUP_PROBES: &[collector_common::Probe] = collector_common::cgroup::SIGNAL.probes;

/// The loaded programs, if any, and the tree of cgroups.
pub struct Kernel {
    /// The state of each probe.
    pub probes: Vec<Probe>,
    /// `None` if nothing could be loaded.
    programs: Option<Programs>,
    /// Why most of what probes see is missing, if so.
    blind: Option<String>,
    tree: Tree,
    root: Root,
    hierarchies: Hierarchies,
    context: Context,
    keep: Keep,
    start: Start,
    owners: Owners,
}

impl Kernel {
    /// Loads the programs, attaches what can be attached, and opens maps and rings. If nothing can be loaded, every probe has
    /// failed for that reason, and cgroups are found by walking the tree.
    ///
    /// # Errors
    /// The host has no cgroups that can be read, or `kernel.btf` names a file that is of no use.
    pub fn open(config: &Config) -> Result<Kernel> {
        let root = Root::new(&config.rootfs);
        let hierarchies = Hierarchies::find(&root)?;
        hierarchies.missing.iter().for_each(|(_, why)| tracing::warn!("{why}"));
        let (programs, probes) = match Programs::load(config, &root, &hierarchies) {
            Ok((programs, probes)) => (Some(programs), probes),
            // Whoever names a file with BTF wants to know that it is of no use.
            Err(error) if error.downcast_ref().is_some_and(LayoutError::is_of_file) && config.kernel.btf.is_some() => {
                return Err(error);
            }
            Err(error) => (None, load::failed(&format!("{error:#}"))),
        };
        Ok(Kernel {
            tree: Tree::new(CGROUP_PROBES.iter().all(|probe| load::is_attached(&probes, probe.program))),
            blind: load::too_few(&probes).map(|error| format!("{error:#}")),
            start: start(config, &hierarchies),
            owners: Owners::new(&hierarchies.memory),
            context: Context {
                page_size: rustix::param::page_size() as u64,
                clock_offset_ns: clock::offset_ns(),
                jiffy_ns: clock::jiffy_ns(),
            },
            keep: keep(config),
            programs,
            probes,
            root,
            hierarchies,
        })
    }

    /// The hierarchies of the cgroups in its readings.
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// The rings, critical and bulk, if programs are loaded.
    pub fn rings(&self) -> Option<[&Ring; 2]> {
        self.programs.as_ref().map(|programs| [&programs.critical, &programs.bulk])
    }

    /// Kernel memory of the maps in bytes, if it is known.
    pub fn map_bytes(&self) -> Option<u64> {
        self.programs.as_ref()?.map_bytes
    }

    /// Grows when requests of disks complete, if programs see that.
    pub fn completed(&self) -> Option<Arc<AtomicU64>> {
        let programs = self.programs.as_ref()?;
        let attached = |program: &&str| load::is_attached(&self.probes, program);
        let counted = block::COMPLETED.iter().any(|programs| programs.iter().all(attached));
        counted.then(|| programs.completed.clone())
    }

    /// The pass over all cgroups, if this kernel has it; only once.
    pub fn take_pass(&mut self) -> Option<Pass> {
        self.programs.as_mut()?.pass.take()
    }

    /// The loaded programs that wait for a library.
    pub fn waiting(&self) -> Result<Vec<join::Program>> {
        self.programs.as_ref().map_or(Ok(Vec::new()), |programs| programs.waiting(&self.probes))
    }

    /// Emits the samples that come before everything else: facts about the host, and the state of each probe.
    pub fn begin(&mut self, sink: &mut dyn FnMut(Sample)) {
        let time = clock::unix_ns();
        sink(Sample { time, reading: Reading::Start(self.start.clone()) });
        for probe in &self.probes {
            sink(Sample { time, reading: Reading::Probe(probe.clone()) });
        }
    }

    /// Drains the critical ring; `true` if more may be waiting.
    pub fn drain_critical(&mut self, sink: &mut dyn FnMut(Sample)) -> bool {
        let Kernel { programs: Some(Programs { critical, counters, .. }), context, keep, owners, .. } = self else {
            return false;
        };
        let memory = &self.hierarchies.memory.id;
        let (_, more) = critical.drain(context, &mut |record| match record {
            Ok(sample) => {
                let time = sample.time;
                match &sample.reading {
                    Reading::Cgroup(cgroup::Reading::Died { id }) => {
                        counters.retire(*id, clock::monotonic_ns(), *keep);
                        owners.died(*id, &mut |it| sink(Sample { time, reading: Reading::Cgroup(it) }));
                    }
                    Reading::Cgroup(cgroup::Reading::Born { id, path } | cgroup::Reading::Renamed { id, path })
                        if id.hierarchy == *memory =>
                    {
                        owners.above(path, true, &mut |it| sink(Sample { time, reading: Reading::Cgroup(it) }));
                    }
                    _ => {}
                }
                sink(sample);
            }
            Err(malformed) => sink(malformed_sample(&malformed)),
        });
        more
    }

    /// Drains the bulk ring; `true` if more may be waiting.
    pub fn drain_bulk(&mut self, sink: &mut dyn FnMut(Sample)) -> bool {
        let Kernel { programs: Some(programs), context, .. } = self else { return false };
        let (_, more) = programs.bulk.drain(context, &mut |record| match record {
            Ok(sample) => sink(sample),
            Err(malformed) => sink(malformed_sample(&malformed)),
        });
        more
    }

    /// Reads everything that is due once a tick. Walks the tree first where it is due.
    fn tick(&mut self, sink: &mut dyn FnMut(Sample)) -> Result<()> {
        self.context.clock_offset_ns = clock::offset_ns();
        let time = clock::unix_ns();
        let now = clock::monotonic_ns();
        let Kernel { programs, blind, tree, owners, root, hierarchies, context, keep, .. } = self;
        // What the programs counted is read even if the tree cannot be.
        let mut emit = |reading| sink(Sample { time, reading: Reading::Cgroup(reading) });
        let walked = tree.read(hierarchies, owners, &mut emit);
        if let Ok(Some(Walked { alive, unread })) = &walked {
            if let Some(programs) = programs {
                programs.counters.retain(alive, now, *keep);
            }
            if *unread > 0 {
                sink(Sample { time, reading: Reading::Lost(Lost { stage: Stage::Walk, count: *unread }) });
            }
        }
        let known = walked.and_then(|_| blind.as_ref().map_or(Ok(()), |why| Err(anyhow!("{why}"))));
        let Some(programs) = programs else { return known };
        programs.read(now, context, &mut |reading| {
            if let Reading::Lost(Lost { stage, .. }) = &reading
                && may_hide_cgroups(*stage)
            {
                tree.ask();
            }
            sink(Sample { time, reading });
        })?;
        if let Some(pending) = &mut programs.pending {
            pending.read(now, root, hierarchies, context, sink)?;
        }
        let mut missed = |name| {
            if CGROUP_PROBES.iter().any(|probe| probe.program == name) {
                tree.ask();
            }
        };
        programs.read_runs(&mut missed, &mut |reading| sink(Sample { time, reading }))?;
        known
    }
}

impl Source for Kernel {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        // Rings first: a cgroup's birth comes before its counts.
        self.drain_critical(emit);
        self.drain_bulk(emit);
        Health::Read(self.tick(emit))
    }

    fn examine(config: &Config, _root: &Root) -> Vec<Finding> {
        vec![examine::btf(config.kernel.btf.as_deref()), examine::lockdown(), examine::capability()]
    }
}

/// As long as the engine knows a dead cgroup, its counts can be its own.
fn keep(config: &Config) -> Keep {
    let quiet = QUIET_NS.max(2 * config.tick.as_nanos() as u64);
    let known = config.workload.grace.as_nanos() as u64;
    Keep { quiet, longest: known.saturating_sub(2 * quiet).max(quiet) }
}

/// Facts about the host and the configuration that the engine needs.
pub fn start(config: &Config, hierarchies: &Hierarchies) -> Start {
    Start {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        memory_hierarchy: hierarchies.memory.id,
        io_hierarchy: hierarchies.io.id,
        workload_max: config.workload.max,
        workload_grace: config.workload.grace.as_nanos() as u64,
        own: super::cgroup::own(),
        history: Some(config.history.limits(super::cgroup::own_limit())),
        level: Some(config.level.limits()),
        starved: Some(config.starved.settings()),
        leak: Some(config.leak.settings()),
        controllers: Some(hierarchies.offered.clone()),
    }
}

fn malformed_sample(malformed: &collector_core::decode::Malformed) -> Sample {
    tracing::warn!("malformed record from an eBPF program: {malformed}");
    Sample { time: clock::unix_ns(), reading: Reading::Lost(Lost { stage: Stage::Malformed, count: 1 }) }
}

/// Whether a loss at this stage may have hidden a cgroup's birth or death.
fn may_hide_cgroups(stage: Stage) -> bool {
    matches!(stage, Stage::RingCritical | Stage::Path)
}
