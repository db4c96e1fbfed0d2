//! Finds the CUDA driver libraries that processes have loaded, and attaches the programs to each file once. The caller
//! reports the probes and problems.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use collector_core::sample::{Probe, ProbeState};

use super::attach::Uprobes;
use super::library::{self, Id};
use super::process::{self, Mapped, Schedule};
use crate::source::root::Root;

/// Limit on attached files; each takes some forty descriptors.
const MAX_LIBRARIES: usize = 16;
/// A file that no process has mapped for this long, in nanoseconds, is detached: it may be gone with its container.
const UNUSED_NS: u64 = 300_000_000_000;

/// Reason of probes that are waiting.
pub const NO_LIBRARY: &str = "no process has loaded a CUDA driver library yet";

/// A loaded program, and the functions to attach it to.
#[derive(Debug)]
pub struct Program {
    pub name: &'static str,
    pub functions: &'static [&'static str],
    /// Attach to the functions' returns instead of their entries.
    pub returns: bool,
    pub fd: OwnedFd,
}

/// The known library files, with the programs attached to them.
pub struct Finder {
    root: Root,
    programs: Vec<Program>,
    schedule: Schedule,
    libraries: BTreeMap<Id, Library>,
    /// Files by the device and inode in `/proc/PID/maps`.
    ids: BTreeMap<String, Id>,
    /// Problems by the file they concern.
    problems: BTreeMap<String, Problem>,
    /// The last process that could not be inspected. One such process does not make the probes fail.
    unreadable: Option<String>,
}

struct Library {
    path: PathBuf,
    /// Dropping them detaches the programs.
    _links: Vec<OwnedFd>,
    functions: BTreeSet<&'static str>,
    seen: u64,
}

struct Problem {
    text: String,
    seen: u64,
}

impl Finder {
    pub fn new(root: &Root, programs: Vec<Program>) -> Finder {
        Finder {
            root: root.clone(),
            programs,
            schedule: Schedule::default(),
            libraries: BTreeMap::new(),
            ids: BTreeMap::new(),
            problems: BTreeMap::new(),
            unreadable: None,
        }
    }

    /// Inspects the processes that are due at `now` (any clock, in nanoseconds); call it every `pause` nanoseconds.
    pub fn scan(&mut self, now: u64, pause: u64) -> Result<()> {
        let proc = self.root.at("/proc");
        let pids = process::processes(&proc).with_context(|| format!("list {}", proc.display()))?;
        for pid in self.schedule.due(&pids, now, pause) {
            match process::mapped(&proc, pid) {
                Ok(mapped) => mapped.iter().for_each(|mapped| self.note_mapped(&proc, pid, mapped, now)),
                // The process has ended.
                Err(error) if is_gone(&error) => {}
                Err(error) => self.unreadable = Some(format!("process {pid} could not be inspected: {error}")),
            }
        }
        self.libraries.retain(|_, library| now.saturating_sub(library.seen) < UNUSED_NS);
        self.ids.retain(|_, id| self.libraries.contains_key(id));
        self.problems.retain(|_, problem| now.saturating_sub(problem.seen) < UNUSED_NS);
        Ok(())
    }

    /// The state of each probe.
    pub fn probes(&self) -> Vec<Probe> {
        let probe = |program: &Program| {
            let has = |library: &Library| program.functions.iter().any(|function| library.functions.contains(function));
            let (state, reason) = if self.libraries.values().any(has) {
                (ProbeState::Attached, None)
            } else if let Some(library) = self.libraries.values().next() {
                let functions = program.functions.join(", ");
                (ProbeState::Unsupported, Some(format!("{} has no {functions}", library.path.display())))
            } else if let Some(problem) = self.problem() {
                (ProbeState::Failed, Some(problem))
            } else {
                let unreadable = self.unreadable.iter().map(|unreadable| format!("; {unreadable}"));
                (ProbeState::Waiting, Some(NO_LIBRARY.to_owned() + &unreadable.collect::<String>()))
            };
            Probe { program: program.name.to_owned(), state, reason }
        };
        self.programs.iter().map(probe).collect()
    }

    /// The current problems, if any.
    pub fn problem(&self) -> Option<String> {
        let texts: Vec<&str> = self.problems.values().map(|problem| problem.text.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    fn note_mapped(&mut self, proc: &Path, pid: u32, mapped: &Mapped, now: u64) {
        let known = self.ids.get(&mapped.id).and_then(|id| self.libraries.get_mut(id));
        if let Some(library) = known {
            library.seen = now;
            return;
        }
        let root = proc.join(pid.to_string()).join("root");
        match self.attach(&root, mapped, now) {
            Ok(()) => {
                self.problems.remove(&mapped.id);
            }
            Err(error) => {
                let text = format!("{} of process {pid}: {error:#}", mapped.path.display());
                self.add_problem(&mapped.id, text, now);
            }
        }
    }

    fn add_problem(&mut self, concerns: &str, text: String, now: u64) {
        if let Some(problem) = self.problems.get_mut(concerns) {
            *problem = Problem { text, seen: now };
        } else if self.problems.len() < MAX_LIBRARIES {
            tracing::warn!("transfers cannot be observed: {text}");
            self.problems.insert(concerns.to_owned(), Problem { text, seen: now });
        }
    }

    /// Attaches to a new file. The path may refer to another file by now.
    fn attach(&mut self, root: &Path, mapped: &Mapped, now: u64) -> Result<()> {
        if mapped.deleted {
            bail!("the file was removed or replaced while the process still uses it");
        }
        let (file, id) = library::open_below(root, &mapped.path)?;
        if id.1 != mapped.inode {
            bail!("another file is in its place");
        }
        if let Some(library) = self.libraries.get_mut(&id) {
            library.seen = now;
            self.ids.insert(mapped.id.clone(), id);
            return Ok(());
        }
        if self.libraries.len() >= MAX_LIBRARIES {
            bail!("there are more than {MAX_LIBRARIES} such files");
        }
        let wanted: Vec<&'static str> = self.programs.iter().flat_map(|program| program.functions).copied().collect();
        let offsets = library::functions(&file, &wanted)?;
        let uprobes = Uprobes::find().context("this kernel has no uprobes (CONFIG_UPROBE_EVENTS)")?;
        let mut links = Vec::new();
        for program in &self.programs {
            for (offset, function) in attach_points(program.functions, &offsets) {
                let link = uprobes.attach(program.fd.as_fd(), &file, offset, program.returns);
                links.push(link.with_context(|| format!("attach {} to {function}", program.name))?);
            }
        }
        tracing::info!("attached to {} functions of {}", offsets.len(), mapped.path.display());
        let path = mapped.path.clone();
        self.ids.insert(mapped.id.clone(), id);
        let functions = offsets.into_keys().collect();
        self.libraries.insert(id, Library { path, _links: links, functions, seen: now });
        Ok(())
    }
}

/// The functions' offsets in the file. Two names of one offset are merged: a program attached twice counts twice.
fn attach_points(functions: &[&'static str], offsets: &BTreeMap<&'static str, u64>) -> BTreeMap<u64, &'static str> {
    functions.iter().filter_map(|function| Some((*offsets.get(function)?, *function))).collect()
}

/// Whether the process ended before or during the inspection.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_of_a_function_are_attached_once() {
        let offsets = BTreeMap::from([("cuMemFree", 64), ("cuMemFree_v2", 64), ("cuMemAlloc_v2", 96), ("other", 7)]);
        let attach_points = attach_points(&["cuMemFree", "cuMemFree_v2", "cuMemAlloc_v2", "absent"], &offsets);
        assert_eq!(attach_points.into_keys().collect::<Vec<_>>(), [64, 96]);
    }
}
