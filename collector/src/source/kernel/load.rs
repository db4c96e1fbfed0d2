//! Loads the programs and attaches each to its hook; reports the outcome for each.

use std::collections::BTreeMap;
use std::ops::Range;
use std::os::fd::AsFd;

use anyhow::{Context as _, Result, anyhow};
use aya::maps::Stack;
use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use aya::{Btf, Ebpf, EbpfLoader};
use collector_common::block::{self, Operation};
use collector_common::layout::{GLOBAL as LAYOUT, Layout};
use collector_common::notice::word;
use collector_common::ring::Ring;
use collector_common::settings::{GLOBAL as SETTINGS, OPERATIONS, Settings};
use collector_common::slot;
use collector_common::{Hook, Probe, SIGNALS, Signal, fault, pass, transfer};
use collector_core::sample::{self, ProbeState};
use zerocopy::IntoBytes;

use crate::clock;
use crate::config::Config;
use crate::source::cgroup::Hierarchies;
use crate::source::root::Root;
use crate::source::transfer::{finder, join};

use super::attach::{self, error_chain};
use super::issue;
use super::layout::{self, Resolved, Unmet};
use super::notice::Notice;
use super::pass::Pass;
use super::refusal;
use super::share;
use super::size::Size;

/// The programs, built together with this collector.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/collector-ebpf"));

/// The same programs for a kernel that allows no helper to read its memory (lockdown): each tracepoint is a typed one.
pub static TYPED_OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/collector-ebpf-typed"));

/// aya-log's numbers for every log level and for none.
const LOG_ALL: u8 = 5;
const LOG_NONE: u8 = 0;

/// The loaded object, and the state of its probes.
pub struct Loaded {
    /// Owns the programs and their links; dropping it detaches them.
    pub ebpf: Ebpf,
    /// In the order of the catalogue.
    pub probes: Vec<sample::Probe>,
    /// The kernel's layout as the programs know it.
    pub resolved: Resolved,
    /// What the programs were given for [`collector_common::share::row`].
    pub secret: u32,
    pub notice: Notice,
    /// Over all cgroups, if this kernel has it.
    pub pass: Option<Pass>,
}

/// Loads the object and attaches what this kernel supports.
///
/// # Errors
/// Nothing can be loaded: the kernel's BTF is missing or lacks what every probe needs, or the kernel refuses the
/// object's maps. A probe that cannot be attached is not an error, but a state of that probe.
pub fn load(all: &Config, slots: u32, hierarchies: &Hierarchies) -> Result<Loaded> {
    let config = &all.kernel;
    let resolved = layout::resolve(&layout::load(config.btf.as_deref())?)?;
    let size = Size::new(&Root::new(&all.rootfs), slots)?;
    let typed = !reads_memory();
    let secret = share::secret();
    let object = if typed { TYPED_OBJECT } else { OBJECT };
    let mut ebpf = create(all, &size, hierarchies, &resolved, secret, object)?;
    // Fill before anything is attached: a count that finds no free slot is not charged to its cgroup.
    fill(&mut ebpf, "FREE", 1..slots)?;
    fill(&mut ebpf, block::FREE, 0..block::ROWS)?;
    size.place_cpus(&mut ebpf)?;
    let btf = match &config.btf {
        Some(path) => Btf::parse_file(path, aya::Endianness::default()).ok(),
        None => Btf::from_sys_fs().ok(),
    };
    let mut probes = BTreeMap::new();
    for (signal, probe) in all_probes() {
        let (state, reason) = skip_reason(all, &resolved, &probes, signal, probe).unwrap_or_else(|| {
            let later = issue::is_on_demand(probe, &resolved.layout);
            let attach = if later { attach::prepare } else { attach::attach };
            match attach(&mut ebpf, probe, btf.as_ref()) {
                Ok(()) if later => (ProbeState::Unneeded, Some(issue::STORED.to_owned())),
                Ok(()) if is_library_hook(probe.hook) => (ProbeState::Waiting, Some(finder::NO_LIBRARY.to_owned())),
                Ok(()) => (ProbeState::Attached, None),
                Err(error) => (failure_state(probe.hook), Some(format!("{error:#}{}", refusal::of(typed)))),
            }
        });
        probes.insert(probe.program, sample::Probe { program: probe.program.to_owned(), state, reason });
    }
    let probes: Vec<_> = all_probes().filter_map(|(_, probe)| probes.remove(probe.program)).collect();
    let notice = Notice::new(&mut ebpf)?;
    // Not before: while programs are attached one after the other, an IO whose issue was missed is not lost.
    if is_attached(&probes, block::ISSUE) {
        notice.set(word::ISSUES_SINCE, clock::monotonic_ns());
    }
    let pass = Pass::open(&mut ebpf, btf.as_ref().filter(|_| !typed), &resolved.layout, size.cpus, hierarchies)
        .inspect_err(|error| tracing::info!("the numbers of cgroups come from their files: {error:#}"))
        .ok();
    Ok(Loaded { ebpf, probes, resolved, secret, notice, pass })
}

/// Whether a probe is attached, or will be once a library is loaded.
pub fn is_active(probe: &sample::Probe) -> bool {
    matches!(probe.state, ProbeState::Attached | ProbeState::Waiting)
}

pub fn is_attached(probes: &[sample::Probe], program: &str) -> bool {
    probes.iter().any(|probe| probe.program == program && probe.state == ProbeState::Attached)
}

/// The loaded programs that wait for a library.
pub fn waiting(ebpf: &Ebpf, probes: &[sample::Probe]) -> Result<Vec<join::Program>> {
    let mut waiting = Vec::new();
    for (_, probe) in all_probes() {
        let (functions, returns) = match probe.hook {
            Hook::LibraryEntry(functions) => (functions, false),
            Hook::LibraryReturn(functions) => (functions, true),
            _ => continue,
        };
        if let Some(program) = ebpf.program(probe.program)
            && probes.iter().any(|found| found.program == probe.program && is_active(found))
        {
            let fd =
                program.fd().and_then(|fd| Ok(fd.as_fd().try_clone_to_owned()?)).context("a program's descriptor")?;
            waiting.push(join::Program { name: probe.program, functions, returns, fd });
        }
    }
    Ok(waiting)
}

/// The state of every probe if nothing could be loaded.
pub fn failed(reason: &str) -> Vec<sample::Probe> {
    let failed = |probe: &Probe| sample::Probe {
        program: probe.program.to_owned(),
        state: ProbeState::Failed,
        reason: Some(reason.to_owned()),
    };
    all_probes().map(|(_, probe)| failed(probe)).collect()
}

/// Why too little works for what needs probes, if so: more probes failed than were attached, or none was, and this kernel does not
/// support what is wanted. A probe whose fallback is attached, or that is disabled, is not wanted.
pub fn too_few(probes: &[sample::Probe]) -> Option<anyhow::Error> {
    let count = |state| probes.iter().filter(|probe| probe.state == state).count();
    let [attached, failed, unsupported] =
        [ProbeState::Attached, ProbeState::Failed, ProbeState::Unsupported].map(count);
    if failed <= attached && (attached > 0 || unsupported == 0) {
        return None;
    }
    let why = if failed > 0 { ProbeState::Failed } else { ProbeState::Unsupported };
    let first = probes.iter().find(|probe| probe.state == why);
    let first = first.and_then(|probe| probe.reason.clone()).unwrap_or_default();
    Some(anyhow!(first).context(format!("only {attached} of {} probes could be attached", probes.len())))
}

fn all_probes() -> impl Iterator<Item = (&'static Signal, &'static Probe)> {
    SIGNALS.iter().flat_map(|signal| signal.probes.iter().map(move |probe| (signal, probe)))
}

/// Creates the maps and parses the programs; attaches nothing.
fn create(
    all: &Config,
    size: &Size,
    hierarchies: &Hierarchies,
    resolved: &Resolved,
    secret: u32,
    object: &[u8],
) -> Result<Ebpf> {
    let config = &all.kernel;
    let settings = Settings {
        stall_ns: config.stall.as_nanos() as u64,
        slow_io_ns: config.slow_io.as_nanos() as u64,
        bulk_wake_bytes: u64::from(config.bulk_ring) / 4,
        operations: operations(&resolved.layout),
        memory_hierarchy: hierarchies.memory.id,
        io_hierarchy: hierarchies.io.id,
        device_shard_mask: size.device_shards - 1,
        secret,
        cpus: size.cpus,
        reserved: 0,
    };
    let log = if config.debug { LOG_ALL } else { LOG_NONE };
    let mut loader = EbpfLoader::new();
    loader
        .override_global(LAYOUT, resolved.layout.as_bytes(), true)
        .override_global(SETTINGS, settings.as_bytes(), true)
        .override_global(aya_log::LEVEL, &log, false)
        .map_max_entries(Ring::Critical.map(), config.critical_ring)
        .map_max_entries(Ring::Bulk.map(), config.bulk_ring)
        .map_max_entries("SLOTS", size.slots)
        .map_max_entries("FREE", size.slots)
        .map_max_entries(slot::ROWS, size.slots * size.shards)
        .map_max_entries(slot::MARKS, size.slots)
        .map_max_entries(pass::ROWS, size.cgroups())
        .map_max_entries(block::DEVICES, block::ROWS * size.device_shards)
        .map_max_entries("KSWAPD", size.nodes)
        .map_max_entries("KSWAPD_SINCE", size.nodes);
    if !all.transfer.enabled {
        for map in [transfer::CALLS, transfer::ALLOCATIONS, transfer::PROCESSES] {
            loader.map_max_entries(map, 1);
        }
    }
    // Before 5.11 maps count against this limit. If it cannot be raised (no CAP_SYS_RESOURCE), newer kernels do not
    // need it, and older ones fail when the first map is created.
    let unlimited = rustix::process::Rlimit { current: None, maximum: None };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Memlock, unlimited);
    loader.load(object).map_err(|error| anyhow!("{}", error_chain(&error))).context("load the eBPF object")
}

/// Whether programs may call helpers that read the kernel's memory: lockdown takes them away (bpf_base_func_proto,
/// kernel/bpf/helpers.c). If that is not known, they may.
pub fn reads_memory() -> bool {
    is_helper_supported(ProgramType::RawTracePoint, BpfHelper::BPF_FUNC_probe_read_kernel).unwrap_or(true)
}

/// Marks these numbers as free.
fn fill(ebpf: &mut Ebpf, name: &str, numbers: Range<u32>) -> Result<()> {
    let map = ebpf.map_mut(name).with_context(|| format!("the object has no map {name}"))?;
    let mut free: Stack<_, u32> = Stack::try_from(map).with_context(|| format!("map {name}"))?;
    // Push the lowest last, so that used rows stay together and few need to be read.
    numbers.rev().try_for_each(|number| free.push(number, 0)).with_context(|| format!("fill map {name}"))
}

/// Maps this kernel's `REQ_OP_*` numbers to ours.
fn operations(layout: &Layout) -> [u8; OPERATIONS] {
    let mut table = [Operation::Other as u8; OPERATIONS];
    let known = [
        (layout.op_read, Operation::Read),
        (layout.op_write, Operation::Write),
        (layout.op_flush, Operation::Flush),
        (layout.op_discard, Operation::Discard),
        (layout.op_secure_erase, Operation::Discard),
    ];
    for (number, operation) in known {
        if let Some(entry) = table.get_mut(number as usize) {
            *entry = operation as u8;
        }
    }
    table
}

/// The state and reason of a probe that is not attempted; `None` if it is.
fn skip_reason(
    config: &Config,
    resolved: &Resolved,
    probes: &BTreeMap<&str, sample::Probe>,
    signal: &Signal,
    probe: &Probe,
) -> Option<(ProbeState, Option<String>)> {
    if !is_wanted(config, signal) {
        return Some((ProbeState::Disabled, Some("transfer.enabled is not set".to_owned())));
    }
    if config.kernel.disable.iter().any(|name| name == signal.name || name == probe.program) {
        return Some((ProbeState::Disabled, Some("disabled by kernel.disable".to_owned())));
    }
    if !config.fault.access && fault::AT_EVERY.contains(&probe.program) {
        return Some((ProbeState::Disabled, Some("fault.access is false".to_owned())));
    }
    if let Some(first) = probe.instead_of
        && probes.get(first).is_some_and(|probe| probe.state == ProbeState::Attached)
    {
        return Some((ProbeState::Unneeded, Some(format!("{first} covers it"))));
    }
    match resolved.unmet.get(probe.program)? {
        Unmet::Unneeded(reason) => Some((ProbeState::Unneeded, Some(reason.clone()))),
        Unmet::Unsupported(reason) => Some((ProbeState::Unsupported, Some(reason.clone()))),
    }
}

/// Whether the configuration enables a signal.
fn is_wanted(config: &Config, signal: &Signal) -> bool {
    signal.name != transfer::SIGNAL.name || config.transfer.enabled
}

/// Whether the program is loaded now, but attached only once a process has loaded the library.
pub fn is_library_hook(hook: Hook) -> bool {
    matches!(hook, Hook::LibraryEntry(_) | Hook::LibraryReturn(_))
}

/// Raw tracepoints and their arguments are resolved beforehand, so failing to attach one is a fault. The other hooks
/// depend on the kernel's build and lockdown, which only an attempt reveals.
fn failure_state(hook: Hook) -> ProbeState {
    match hook {
        Hook::RawTracepoint { .. } => ProbeState::Failed,
        _ => ProbeState::Unsupported,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_probes_are_more_that_fail_than_are_attached_or_none_that_is_supported() {
        use ProbeState::*;
        let probes = |states: &[ProbeState]| -> Vec<sample::Probe> {
            let probe = |state: &ProbeState| sample::Probe {
                program: "p".to_owned(),
                state: *state,
                reason: Some(format!("is {state:?}")),
            };
            states.iter().map(probe).collect()
        };
        for (states, why) in [
            (&[Attached, Failed, Failed][..], Some("is Failed")),
            (&[Attached, Attached, Failed, Failed], None),
            // As under lockdown: typed programs take the place of others.
            (&[Attached, Unneeded, Unsupported, Unsupported, Unsupported], None),
            (&[Unsupported, Unneeded], Some("is Unsupported")),
            (&[Disabled, Unneeded], None),
            (&[], None),
        ] {
            let found = too_few(&probes(states)).map(|error| format!("{error:#}"));
            assert_eq!(found.is_some(), why.is_some(), "{states:?}: {found:?}");
            assert!(why.is_none_or(|why| found.is_some_and(|found| found.contains(why))), "{states:?}");
        }
        assert!(too_few(&failed("no BTF")).is_some_and(|error| format!("{error:#}").contains("no BTF")));
    }
}
