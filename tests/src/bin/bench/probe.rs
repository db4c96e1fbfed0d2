//! Attaches the agent's programs for a measurement.

use std::os::fd::{AsFd, OwnedFd};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use aya::programs::{Program, RawTracePoint, loaded_programs};
use aya::{Ebpf, EbpfLoader};
use collector::config::Config;
use collector::source::cgroup::Hierarchies;
use collector::source::kernel::bpf;
use collector::source::kernel::load::{Loaded, OBJECT, load};
use collector::source::root::Root;
use collector_common::SIGNALS;
use collector_core::sample::ProbeState;

/// Slots for cgroups: as many as the agent has by default on a host with two hierarchies.
pub const SLOTS: u32 = 4001;

/// Attaches every program that this kernel supports, as the agent does by default; `adjust` may change the configuration. They
/// are detached when the result is dropped.
pub fn attach(adjust: impl FnOnce(&mut Config)) -> Result<Loaded> {
    let mut config = Config::default();
    adjust(&mut config);
    let loaded = load(&config, SLOTS, &Hierarchies::find(&Root::default())?)?;
    let failed = loaded.probes.iter().find(|probe| probe.state == ProbeState::Failed);
    if let Some(failed) = failed {
        anyhow::bail!("{} could not be attached: {:?}", failed.program, failed.reason);
    }
    Ok(loaded)
}

/// Attaches an empty program where user page faults are counted.
pub fn attach_empty() -> Result<Ebpf> {
    let mut ebpf = EbpfLoader::new().load(OBJECT).context("load the eBPF object")?;
    raw(&mut ebpf, "empty")?.attach("page_fault_user").context("attach the empty program")?;
    Ok(ebpf)
}

/// Loads a raw tracepoint program that the agent itself never loads.
pub fn raw<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint> {
    let Some(Program::RawTracePoint(program)) = ebpf.program_mut(name) else {
        anyhow::bail!("the object has no raw tracepoint program {name}");
    };
    program.load().with_context(|| format!("load {name}"))?;
    Ok(program)
}

/// Makes the kernel measure all programs until the result is dropped.
pub fn measure() -> Result<OwnedFd> {
    aya::sys::enable_stats(aya::sys::Stats::RunTime).context("enable run statistics")
}

/// Runs and nanoseconds of a program while it was measured.
pub fn statistics(ebpf: &Ebpf, name: &str) -> Result<(u64, u64)> {
    let program = ebpf.program(name).with_context(|| format!("the object has no program {name}"))?;
    let fd = program.fd().with_context(|| format!("{name} is not loaded"))?;
    let statistics = bpf::statistics(fd.as_fd())?;
    Ok((statistics.runs, statistics.ns))
}

/// How long all measurements together wait until no other agent is loaded.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);
/// Most pauses until programs are gone.
const LINGER: usize = 10;

/// Other agents on the machine spoil a measurement: their programs run too, and if they enable run statistics, the kernel
/// also measures ours.
#[derive(Debug, Default)]
pub struct Others {
    waited: Duration,
    spoiled: usize,
    measured: usize,
}

impl Others {
    /// Repeats the measurement until no other agent was loaded, or patience runs out. None of our programs may be loaded
    /// before or after.
    pub fn without(&mut self, mut measure: impl FnMut() -> Result<f64>) -> Result<f64> {
        self.measured += 1;
        loop {
            while others() && self.waited < PATIENCE {
                sleep(PAUSE);
                self.waited += PAUSE;
            }
            let begun = Instant::now();
            let measurement = measure()?;
            // Our programs are unloaded a little after their last descriptor is closed.
            if (0..LINGER).any(|_| gone()) {
                return Ok(measurement);
            }
            if self.waited >= PATIENCE {
                self.spoiled += 1;
                return Ok(measurement);
            }
            self.waited += begun.elapsed();
        }
    }

    /// A note for the report, if needed.
    pub fn note(&self) -> Option<String> {
        let Others { spoiled, measured, .. } = self;
        let text = "measurements were taken beside another agent's programs: the ratios are too high or too low";
        (*spoiled > 0).then(|| format!("**{spoiled} of {measured}** {text}."))
    }
}

/// Waits a moment until no program is loaded; whether that is so.
fn gone() -> bool {
    let gone = !others();
    if !gone {
        sleep(PAUSE);
    }
    gone
}

fn others() -> bool {
    let ours: Vec<&str> = SIGNALS.iter().flat_map(|signal| signal.probes).map(|probe| probe.program).collect();
    // The kernel keeps the first 15 bytes of a name.
    let known = |name: &str| ours.iter().any(|ours| ours.starts_with(name) && !name.is_empty());
    loaded_programs().flatten().any(|program| program.name_as_str().is_some_and(known))
}
