//! Attaches a program to its hook. Does not know which program is wanted.

use std::any::Any;
use std::error::Error;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::programs::perf_event::{PerfEventConfig, PerfEventScope, SamplePolicy, SoftwareEvent as PerfSoftwareEvent};
use aya::programs::{Program, ProgramError};
use aya::{Btf, Ebpf};
use collector_common::{Hook, Probe, SoftwareEvent};

use super::refusal;

/// Exists if the perf subsystem supports kprobes.
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe";

/// Dropping it detaches the program.
pub type Link = Box<dyn Any>;

/// Loads a tracepoint's program, which [`join`] attaches later.
pub fn prepare(ebpf: &mut Ebpf, probe: &Probe, btf: Option<&Btf>) -> Result<()> {
    let program = ebpf.program_mut(probe.program).context("the object has no such program")?;
    let done = match (probe.hook, program) {
        (Hook::RawTracepoint { .. }, Program::RawTracePoint(program)) => program.load(),
        (Hook::RawTracepoint { name, .. }, Program::BtfTracePoint(program)) => {
            program.load(name, btf.context("it needs the kernel's BTF")?)
        }
        (hook, _) => bail!("the object's program does not match the hook {hook:?}"),
    };
    done.map_err(|error| failed(probe, &error))
}

/// Attaches a tracepoint's program that is loaded.
pub fn join(ebpf: &mut Ebpf, probe: &Probe) -> Result<Link> {
    let program = ebpf.program_mut(probe.program).context("the object has no such program")?;
    let done: Result<Link, ProgramError> = match (probe.hook, program) {
        (Hook::RawTracepoint { name, .. }, Program::RawTracePoint(program)) => {
            program.attach(name).and_then(|link| Ok(Box::new(program.take_link(link)?) as Link))
        }
        (Hook::RawTracepoint { .. }, Program::BtfTracePoint(program)) => {
            program.attach().and_then(|link| Ok(Box::new(program.take_link(link)?) as Link))
        }
        (hook, _) => bail!("the object's program does not match the hook {hook:?}"),
    };
    done.map_err(|error| failed(probe, &error))
}

/// Loads a program, and attaches it for as long as the object lives.
pub fn attach(ebpf: &mut Ebpf, probe: &Probe, btf: Option<&Btf>) -> Result<()> {
    let program = ebpf.program_mut(probe.program).context("the object has no such program")?;
    let btf = || btf.context("it needs the kernel's BTF");
    let done: Result<(), ProgramError> = match (probe.hook, program) {
        (Hook::RawTracepoint { name, .. }, Program::RawTracePoint(program)) => {
            program.load().and_then(|()| program.attach(name).map(drop))
        }
        (Hook::RawTracepoint { name, .. } | Hook::TypedTracepoint { name, .. }, Program::BtfTracePoint(program)) => {
            program.load(name, btf()?).and_then(|()| program.attach().map(drop))
        }
        (Hook::Entry(function), Program::FEntry(program)) => {
            program.load(function, btf()?).and_then(|()| program.attach().map(drop))
        }
        (Hook::Exit(function), Program::FExit(program)) => {
            program.load(function, btf()?).and_then(|()| program.attach().map(drop))
        }
        (Hook::Kprobe(function) | Hook::Kretprobe(function), Program::KProbe(program)) => {
            if !Path::new(KPROBES).exists() {
                bail!("this kernel has no kprobes (CONFIG_KPROBE_EVENTS)");
            }
            program.load().and_then(|()| program.attach(function, 0).map(drop))
        }
        (Hook::LibraryEntry(_) | Hook::LibraryReturn(_), Program::UProbe(program)) => program.load(),
        (Hook::Software(event), Program::PerfEvent(program)) => {
            let event = match event {
                SoftwareEvent::PageFaults => PerfSoftwareEvent::PageFaults,
                SoftwareEvent::MajorFaults => PerfSoftwareEvent::PageFaultsMaj,
            };
            let cpus = aya::util::online_cpus().map_err(|(what, error)| anyhow!("{what}: {error}"))?;
            program.load().and_then(|()| {
                cpus.into_iter().try_for_each(|cpu| {
                    let scope = PerfEventScope::AllProcessesOneCpu { cpu };
                    // Every event, without sampling.
                    let policy = SamplePolicy::Period(1);
                    program.attach(PerfEventConfig::Software(event), scope, policy, false).map(drop)
                })
            })
        }
        (hook, _) => bail!("the object's program does not match the hook {hook:?}"),
    };
    done.map_err(|error| failed(probe, &error))
}

fn failed(probe: &Probe, error: &ProgramError) -> anyhow::Error {
    if let ProgramError::LoadError { verifier_log, .. } = error {
        tracing::debug!(program = probe.program, "verifier: {verifier_log}");
    }
    anyhow!("{}", error_chain(error))
}

/// An error and its causes, without the verifier's log, which may be megabytes.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    if let Some(ProgramError::LoadError { io_error, verifier_log }) = error.downcast_ref() {
        let log = verifier_log.to_string();
        // The reason precedes the verifier's statistics.
        let summary = ["processed ", "insns processed ", "stack depth ", "verification time ", "max_states"];
        let reason =
            log.lines().rfind(|line| !line.trim().is_empty() && !summary.iter().any(|start| line.starts_with(start)));
        return match reason {
            Some(line) => format!("the kernel rejected the program: {io_error} ({})", line.trim()),
            None => format!("the kernel rejected the program: {io_error}{}", refusal::reason(io_error)),
        };
    }
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
