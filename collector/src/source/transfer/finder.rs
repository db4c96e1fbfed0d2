//! Finds the files of the CUDA driver's library that processes have loaded, and attaches the programs to each, once. What
//! becomes of the probes, and what stands in the way, is for others to tell.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::attach::Uprobes;
use super::library::{self, Id};
use super::process::{self, Mapped, Schedule};
use crate::sample::{Probe, ProbeState};
use crate::source::root::Root;

/// Files that are attached to at a time; each takes some forty descriptors.
const LIBRARIES: usize = 16;
/// A file that nobody has mapped for so long, in nanoseconds, is let go: it may be gone with its container.
const UNUSED: u64 = 300_000_000_000;

/// What the probes wait for.
pub const NO_LIBRARY: &str = "no process with a library of the CUDA driver was found yet";

/// A loaded program, and the functions that it is for.
#[derive(Debug)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// The functions.
    pub functions: &'static [&'static str],
    /// Whether it is for their returns.
    pub returns: bool,
    /// The program itself.
    pub fd: OwnedFd,
}

/// The library's files, and the programs on them.
pub struct Finder {
    root: Root,
    programs: Vec<Program>,
    schedule: Schedule,
    libraries: BTreeMap<Id, Library>,
    /// What the kernel calls the files that are known.
    ids: BTreeMap<String, Id>,
    /// What stands in the way, by what it concerns.
    problems: BTreeMap<String, Problem>,
    /// The last process that could not be looked at. One that nobody may look at is no reason to give up the others.
    unseen: Option<String>,
}

/// One file.
struct Library {
    path: PathBuf,
    /// Dropped, they detach the programs.
    _links: Vec<OwnedFd>,
    functions: BTreeSet<&'static str>,
    seen: u64,
}

struct Problem {
    text: String,
    seen: u64,
}

impl Finder {
    /// Knows nothing yet.
    pub fn new(root: &Root, programs: Vec<Program>) -> Finder {
        Finder {
            root: root.clone(),
            programs,
            schedule: Schedule::default(),
            libraries: BTreeMap::new(),
            ids: BTreeMap::new(),
            problems: BTreeMap::new(),
            unseen: None,
        }
    }

    /// Looks at the processes that are due at `now` (any clock, in nanoseconds) when it is done every `pause`.
    pub fn scan(&mut self, now: u64, pause: u64) -> Result<()> {
        let proc = self.root.at("/proc");
        let pids = process::processes(&proc).with_context(|| format!("list {}", proc.display()))?;
        for pid in self.schedule.due(&pids, now, pause) {
            match process::mapped(&proc, pid) {
                Ok(mapped) => mapped.iter().for_each(|mapped| self.meet(&proc, pid, mapped, now)),
                // It ended meanwhile.
                Err(error) if is_gone(&error) => {}
                Err(error) => self.unseen = Some(format!("process {pid} cannot be looked at: {error}")),
            }
        }
        self.libraries.retain(|_, library| now.saturating_sub(library.seen) < UNUSED);
        self.ids.retain(|_, id| self.libraries.contains_key(id));
        self.problems.retain(|_, problem| now.saturating_sub(problem.seen) < UNUSED);
        Ok(())
    }

    /// What becomes of each probe.
    pub fn probes(&self) -> Vec<Probe> {
        let probe = |program: &Program| {
            let has = |library: &Library| program.functions.iter().any(|function| library.functions.contains(function));
            let (state, reason) = if self.libraries.values().any(has) {
                (ProbeState::Attached, None)
            } else if let Some(library) = self.libraries.values().next() {
                let functions = program.functions.join(", ");
                (ProbeState::Unsupported, Some(format!("{} has no {functions}", library.path.display())))
            } else if let Some(problem) = self.problem_told() {
                (ProbeState::Failed, Some(problem))
            } else {
                let unseen = self.unseen.iter().map(|unseen| format!("; {unseen}"));
                (ProbeState::Waiting, Some(NO_LIBRARY.to_owned() + &unseen.collect::<String>()))
            };
            Probe { program: program.name.to_owned(), state, reason }
        };
        self.programs.iter().map(probe).collect()
    }

    /// What stands in the way, if anything does.
    pub fn problem_told(&self) -> Option<String> {
        let texts: Vec<&str> = self.problems.values().map(|problem| problem.text.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    fn meet(&mut self, proc: &Path, pid: u32, mapped: &Mapped, now: u64) {
        let known = self.ids.get(&mapped.id).and_then(|id| self.libraries.get_mut(id));
        if let Some(library) = known {
            library.seen = now;
            return;
        }
        let root = proc.join(pid.to_string()).join("root");
        match self.take(&root, mapped, now) {
            Ok(()) => {
                self.problems.remove(&mapped.id);
            }
            Err(error) => {
                let text = format!("{} of process {pid}: {error:#}", mapped.path.display());
                self.problem(&mapped.id, text, now);
            }
        }
    }

    fn problem(&mut self, concerns: &str, text: String, now: u64) {
        if let Some(problem) = self.problems.get_mut(concerns) {
            *problem = Problem { text, seen: now };
        } else if self.problems.len() < LIBRARIES {
            tracing::warn!("transfers are not seen: {text}");
            self.problems.insert(concerns.to_owned(), Problem { text, seen: now });
        }
    }

    /// Attaches to a file that was not known. The path may lead to another by now.
    fn take(&mut self, root: &Path, mapped: &Mapped, now: u64) -> Result<()> {
        if mapped.deleted {
            bail!("the file was removed or replaced while the process goes on with it");
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
        if self.libraries.len() >= LIBRARIES {
            bail!("there are more than {LIBRARIES} such files");
        }
        let wanted: Vec<&'static str> = self.programs.iter().flat_map(|program| program.functions).copied().collect();
        let offsets = library::functions(&file, &wanted)?;
        let uprobes = Uprobes::find().context("this kernel has no uprobes (CONFIG_UPROBE_EVENTS)")?;
        let mut links = Vec::new();
        for program in &self.programs {
            for (offset, function) in places(program.functions, &offsets) {
                let link = uprobes.attach(program.fd.as_fd(), &file, offset, program.returns);
                links.push(link.with_context(|| format!("attach {} to {function}", program.name))?);
            }
        }
        tracing::info!("{} functions of {} are watched", offsets.len(), mapped.path.display());
        let path = mapped.path.clone();
        self.ids.insert(mapped.id.clone(), id);
        let functions = offsets.into_keys().collect();
        self.libraries.insert(id, Library { path, _links: links, functions, seen: now });
        Ok(())
    }
}

/// Where these functions begin. Two names of one place are one: a program that is attached there twice counts twice.
fn places(functions: &[&'static str], offsets: &BTreeMap<&'static str, u64>) -> BTreeMap<u64, &'static str> {
    functions.iter().filter_map(|function| Some((*offsets.get(function)?, *function))).collect()
}

/// The process ended before or while it was looked at.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_names_of_one_place_are_attached_to_once() {
        let offsets = BTreeMap::from([("cuMemFree", 64), ("cuMemFree_v2", 64), ("cuMemAlloc_v2", 96), ("other", 7)]);
        let places = places(&["cuMemFree", "cuMemFree_v2", "cuMemAlloc_v2", "absent"], &offsets);
        assert_eq!(places.into_keys().collect::<Vec<_>>(), [64, 96]);
    }
}
