//! The doctor's findings about the kernel: its BTF, the capabilities that attaching needs, and the outcome of trying
//! each probe. Nothing stays attached.

use std::path::Path;

use anyhow::{Result, bail};
use collector_core::sample::Probe;

use super::{layout, load, refusal};
use crate::config::Config;
use crate::privilege;
use crate::source::Finding;
use crate::source::cgroup::Hierarchies;
use crate::source::root::Root;
use crate::source::transfer::finder::Finder;

/// Key of the finding about capabilities.
pub const CAPABILITY: &str = "capabilities";

/// Whether the kernel's BTF can be read.
pub fn btf(path: Option<&Path>) -> Finding {
    let (ok, is) = match layout::load(path) {
        Ok(_) => (true, path.unwrap_or(Path::new(layout::VMLINUX)).display().to_string()),
        Err(error) => (false, error.to_string()),
    };
    Finding { key: "btf", title: "BTF", ok, is }
}

/// Whether the kernel lets programs read its memory.
pub fn lockdown() -> Finding {
    let state = refusal::lockdown();
    let ok = load::reads_memory();
    let is = match (ok, state.as_deref()) {
        (true, Some(state)) => state.to_owned(),
        (true, None) => "none that was found".to_owned(),
        (false, state) => format!(
            "{}: programs may only follow pointers whose types are known. Missing are: at signals, the memory and the \
             limit of the workload (they are read from files just after), and whether a timer sent them; at OOM kills, \
             memory.oom.group of cgroups other than the one at its limit and, on cgroup v1, whose limit it was",
            state.unwrap_or("helpers that read kernel memory are forbidden")
        ),
    };
    Finding { key: "lockdown", title: "lockdown", ok, is }
}

/// Whether this process may attach programs.
pub fn capability() -> Finding {
    let missing: Vec<_> = privilege::missing().iter().map(ToString::to_string).collect();
    let is = match missing.is_empty() {
        true => "all that attaching needs".to_owned(),
        false => format!("missing: {}", missing.join(", ")),
    };
    Finding { key: CAPABILITY, title: "capability", ok: missing.is_empty(), is }
}

/// Attaches what can be attached, and looks for libraries once.
///
/// # Errors
/// Why no probe could be tried.
pub fn probes(config: &Config, root: &Root) -> Result<Vec<Probe>> {
    let hierarchies = Hierarchies::find(root)?;
    if !privilege::missing().is_empty() {
        bail!("probes can only be tried with these capabilities");
    }
    // Nothing is counted here, so one slot is enough.
    let loaded = load::load(config, 2, &hierarchies)?;
    let mut probes = loaded.probes;
    let mut finder = Finder::new(root, load::waiting(&loaded.ebpf, &probes)?);
    if config.transfer.enabled {
        finder.scan(0, 1)?;
    }
    for found in finder.probes() {
        probes.iter_mut().filter(|probe| probe.program == found.program).for_each(|probe| *probe = found.clone());
    }
    Ok(probes)
}
