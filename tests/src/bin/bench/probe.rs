//! The agent's programs, attached for as long as they are measured.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context as _, Result};
use aya::programs::{Program, RawTracePoint};
use aya::{Ebpf, EbpfLoader};
use collector::config::Config;
use collector::sample::ProbeState;
use collector::source::cgroup::Hierarchies;
use collector::source::kernel::bpf;
use collector::source::kernel::load::{Loaded, OBJECT, load};

/// Slots for cgroups, as many as the agent has by default on a host with two hierarchies.
pub const SLOTS: u32 = 4001;

/// Every program that this kernel can attach, as the agent attaches them by default; `adjust` may change its
/// configuration. Dropped, they are detached.
pub fn attach(adjust: impl FnOnce(&mut Config)) -> Result<Loaded> {
    let mut config = Config::default();
    adjust(&mut config);
    let loaded = load(&config.kernel, SLOTS, &Hierarchies::find("/proc".as_ref())?)?;
    let failed = loaded.probes.iter().find(|probe| probe.state == ProbeState::Failed);
    if let Some(failed) = failed {
        anyhow::bail!("{} could not be attached: {:?}", failed.program, failed.reason);
    }
    Ok(loaded)
}

/// A program that does nothing, attached where user page faults are counted.
pub fn attach_empty() -> Result<Ebpf> {
    let mut ebpf = EbpfLoader::new().load(OBJECT).context("load the eBPF object")?;
    raw(&mut ebpf, "empty")?.attach("page_fault_user").context("attach the empty program")?;
    Ok(ebpf)
}

/// One of the raw tracepoint programs that the agent itself never loads, verified.
pub fn raw<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint> {
    let Some(Program::RawTracePoint(program)) = ebpf.program_mut(name) else {
        anyhow::bail!("the object has no raw tracepoint program {name}");
    };
    program.load().with_context(|| format!("load {name}"))?;
    Ok(program)
}

/// Makes the kernel measure every program until it is dropped.
pub fn measure() -> Result<OwnedFd> {
    aya::sys::enable_stats(aya::sys::Stats::RunTime).context("ask for run statistics")
}

/// Runs and nanoseconds of a program while it was measured.
pub fn statistics(ebpf: &Ebpf, name: &str) -> Result<(u64, u64)> {
    let program = ebpf.program(name).with_context(|| format!("the object has no program {name}"))?;
    let fd = program.fd().with_context(|| format!("{name} is not loaded"))?;
    Ok(bpf::run_statistics(fd.as_fd())?)
}
