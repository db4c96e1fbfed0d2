//! The kernel as a source: its rings, its counters, and the cgroups that both refer to. The agent opens it before the
//! other sources, and waits for its rings between ticks.

pub mod bpf;
pub mod counters;
pub mod examine;
mod holding;
pub mod layout;
pub mod load;
pub mod ring;
mod run;

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::RingBuf;
use aya_log::EbpfLogger;
use collector_common::SIGNALS;
use collector_common::ring::Ring as RingName;
use collector_core::sample::{Lost, Probe, Reading, Sample, Start};
use collector_core::signal::{Context, block, cgroup};
use collector_core::stage::Stage;

use super::cgroup::{Hierarchies, walk};
use super::root::Root;
use super::transfer::finder;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::Config;

use counters::CounterMaps;
use holding::Holdings;
use ring::Ring;
use run::Runs;

/// How long a dead cgroup keeps its slot, in nanoseconds: its IO may still be in flight, and its last counts are read
/// at the next tick.
const QUARANTINE_NS: u64 = 2_000_000_000;

/// Probes whose missed runs may hide a cgroup's birth or death.
const CGROUP_PROBES: &[collector_common::Probe] = collector_common::cgroup::SIGNAL.probes;

/// The loaded programs, with their rings and maps.
pub struct Kernel {
    /// Dropping it detaches every program.
    ebpf: Ebpf,
    /// The state of each probe.
    pub probes: Vec<Probe>,
    /// Kernel memory of the maps in bytes. All of it is allocated when they are made, so it stays the same.
    pub map_bytes: Option<u64>,
    /// Wakes the agent for each record.
    pub critical: Ring,
    /// Wakes the agent when it fills up.
    pub bulk: Ring,
    counters: CounterMaps,
    /// Only if transfers are watched.
    holdings: Option<Holdings>,
    root: Root,
    hierarchies: Hierarchies,
    context: Context,
    quarantine_ns: u64,
    start: Start,
    walk_due: bool,
    devices: HashSet<block::Device>,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    runs: Runs,
}

impl Kernel {
    /// Loads the programs, attaches what can be attached, and opens maps and rings.
    pub fn open(config: &Config) -> Result<Kernel> {
        let root = Root::new(&config.rootfs);
        let hierarchies = Hierarchies::find(&root)?;
        // Slot 0 is shared by everything without a slot; a workload has one slot in each hierarchy.
        let slots = 1 + config.workload.max * hierarchies.distinct().count();
        let slots = u32::try_from(slots).unwrap_or(u32::MAX).min(u32::from(u16::MAX));
        let load::Loaded { mut ebpf, probes, .. } = load::load(config, slots, &hierarchies)?;
        let map_bytes = bpf::map_memory()
            .inspect_err(|error| tracing::info!("could not read the memory of the maps: {error}"))
            .ok();
        let ring = |ebpf: &mut Ebpf, name: RingName| -> Result<Ring> {
            let map = ebpf.take_map(name.map()).context("the object lacks a ring")?;
            Ok(Ring::new(RingBuf::try_from(map).with_context(|| format!("map {}", name.map()))?))
        };
        let logger = if config.kernel.debug { EbpfLogger::init(&mut ebpf).map(Some) } else { Ok(None) };
        Ok(Kernel {
            critical: ring(&mut ebpf, RingName::Critical)?,
            bulk: ring(&mut ebpf, RingName::Bulk)?,
            counters: CounterMaps::new(&mut ebpf, slots)?,
            holdings: config.transfer.enabled.then(|| Holdings::new(&mut ebpf)).transpose()?,
            start: start(config, &hierarchies),
            context: Context {
                page_size: rustix::param::page_size() as u64,
                clock_offset_ns: clock::offset_ns(),
                jiffy_ns: clock::jiffy_ns(),
            },
            quarantine_ns: QUARANTINE_NS.max(2 * config.tick.as_nanos() as u64),
            walk_due: true,
            devices: HashSet::new(),
            logger: logger.context("open the programs' debug log")?,
            runs: Runs::new(active(&probes), config.kernel.measure),
            ebpf,
            probes,
            map_bytes,
            root,
            hierarchies,
        })
    }

    /// The hierarchies of the cgroups in its readings.
    pub fn hierarchies(&self) -> &Hierarchies {
        &self.hierarchies
    }

    /// The loaded programs that wait for a library.
    pub fn waiting(&self) -> Result<Vec<finder::Program>> {
        load::waiting(&self.ebpf, &self.probes)
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
        let Kernel { critical, counters, context, quarantine_ns, .. } = self;
        let (_, more) = critical.drain(context, &mut |record| match record {
            Ok(sample) => {
                if let Reading::Cgroup(cgroup::Reading::Died { id }) = &sample.reading {
                    counters.retire(*id, clock::monotonic_ns(), *quarantine_ns);
                }
                sink(sample);
            }
            Err(malformed) => sink(malformed_sample(&malformed)),
        });
        more
    }

    /// Drains the bulk ring; `true` if more may be waiting.
    pub fn drain_bulk(&mut self, sink: &mut dyn FnMut(Sample)) -> bool {
        let Kernel { bulk, context, .. } = self;
        let (_, more) = bulk.drain(context, &mut |record| match record {
            Ok(sample) => sink(sample),
            Err(malformed) => sink(malformed_sample(&malformed)),
        });
        more
    }

    /// Reads everything that is due once a tick. At the start, and after a loss that may have hidden a cgroup's birth
    /// or death, walks the tree first.
    fn tick(&mut self, sink: &mut dyn FnMut(Sample)) -> Result<()> {
        self.context.clock_offset_ns = clock::offset_ns();
        let time = clock::unix_ns();
        if self.walk_due {
            self.walk(time, sink)?;
        }
        let Kernel { counters, context, devices, walk_due, root, .. } = self;
        counters.read(context, &mut |reading| {
            match &reading {
                Reading::Lost(Lost { stage, .. }) if may_hide_cgroups(*stage) => *walk_due = true,
                Reading::Block(block::Reading::Device { device, .. }) if devices.insert(*device) => {
                    let name =
                        Reading::Block(block::Reading::Name { device: *device, name: device_name(root, *device) });
                    sink(Sample { time, reading: name });
                }
                _ => {}
            }
            sink(Sample { time, reading });
        })?;
        if let Some(holdings) = &mut self.holdings {
            holdings.read(&mut |reading| sink(Sample { time, reading }))?;
        }
        self.counters.release(clock::monotonic_ns())?;
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        let Kernel { runs, ebpf, walk_due, .. } = self;
        let mut missed = |name| *walk_due |= CGROUP_PROBES.iter().any(|probe| probe.program == name);
        runs.read(ebpf, &mut missed, &mut |reading| sink(Sample { time, reading }))
    }

    fn walk(&mut self, time: u64, sink: &mut dyn FnMut(Sample)) -> Result<()> {
        self.walk_due = false;
        let mut alive = HashSet::new();
        let mut emit = |reading| sink(Sample { time, reading: Reading::Cgroup(reading) });
        emit(cgroup::Reading::Walk);
        for hierarchy in self.hierarchies.distinct() {
            walk(hierarchy, &mut |id, path| {
                alive.insert(id);
                emit(cgroup::Reading::Born { id, path: path.to_owned() });
            })?;
        }
        emit(cgroup::Reading::Walked);
        let now = clock::monotonic_ns();
        let dead: Vec<_> = self.counters.owners().filter(|owner| !alive.contains(owner)).collect();
        for cgroup in dead {
            self.counters.retire(cgroup, now, self.quarantine_ns);
        }
        Ok(())
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
        vec![examine::btf(config.kernel.btf.as_deref()), examine::capability()]
    }
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
    }
}

/// Names of the programs that are attached or wait for a library.
fn active(probes: &[Probe]) -> impl Iterator<Item = &'static str> {
    let is_active = |name: &str| probes.iter().any(|probe| probe.program == name && load::is_active(probe));
    SIGNALS.iter().flat_map(|signal| signal.probes).map(|probe| probe.program).filter(move |name| is_active(name))
}

fn malformed_sample(malformed: &collector_core::decode::Malformed) -> Sample {
    tracing::warn!("malformed record from an eBPF program: {malformed}");
    Sample { time: clock::unix_ns(), reading: Reading::Lost(Lost { stage: Stage::Malformed, count: 1 }) }
}

/// Whether a loss at this stage may have hidden a cgroup's birth or death.
fn may_hide_cgroups(stage: Stage) -> bool {
    matches!(stage, Stage::RingCritical | Stage::Path)
}

/// The kernel's name of a block device, or its numbers if it is gone.
fn device_name(root: &Root, device: block::Device) -> String {
    let numbers = format!("{}:{}", device.major, device.minor);
    let link = std::fs::read_link(root.at("/sys/dev/block").join(&numbers)).ok();
    let name = link.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_the_hosts_name_for_it() {
        let root = std::env::temp_dir().join(format!("headroom-device-{}", std::process::id()));
        let directory = root.join("sys/dev/block");
        std::fs::create_dir_all(&directory).unwrap();
        std::os::unix::fs::symlink("../../devices/pci0/block/hosts-own", directory.join("8:1")).unwrap();
        let named =
            [(8, 1), (8, 2)].map(|(major, minor)| device_name(&Root::new(&root), block::Device { major, minor }));
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(named, ["hosts-own", "8:2"]);
    }
}
