//! Finds the CUDA driver libraries that processes have loaded, and attaches the programs to each file once. The caller
//! reports the probes and problems. Any user can map a file of that name, over whose path anything may be mounted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Error, Result, bail};
use collector_core::sample::{Probe, ProbeState};

use super::join::{self, Joined, Program};
use super::process::{self, Mapped, Schedule};
use super::share::{self, Answer, Failed, Id, MAX_LIBRARIES};
use crate::source::root::Root;
use crate::source::untrusted::patience::Patience;
use crate::source::untrusted::{Owner, Place, Seen};

/// A file that no process has mapped for this long, in nanoseconds, is detached: it may be gone with its container.
const UNUSED_NS: u64 = 300_000_000_000;
/// How long reading one file, or the maps of one process, may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long attaching to one file may take: the kernel visits every process that has it mapped, for each function.
const ATTACH_DEADLINE: Duration = Duration::from_secs(30);
/// Limit on the pairs of a file in the maps and a user that has mapped it.
const MAX_IDS: usize = 1024;

/// Reason of probes that are waiting.
pub const NO_LIBRARY: &str = "no process has loaded a CUDA driver library yet";

/// The known library files, with the programs attached to them.
pub struct Finder {
    root: Root,
    programs: Arc<[Program]>,
    schedule: Schedule,
    libraries: BTreeMap<Id, Library>,
    /// Files by the device and inode in `/proc/PID/maps` and by the user whose process maps them: what a process has at its
    /// path may be another file, but that misleads only its own user.
    ids: BTreeMap<(String, u32), Id>,
    failed: Failed,
    /// Problems by the file they concern, with the user whose process has mapped it.
    problems: BTreeMap<(String, u32), Problem>,
    /// The last process that could not be inspected. One such process does not make the probes fail.
    unreadable: Option<String>,
    patience: Patience,
}

struct Library {
    path: PathBuf,
    /// Whose place it takes, see [`Process::payer`].
    payer: u32,
    joined: Joined,
    seen: u64,
}

struct Problem {
    text: String,
    seen: u64,
}

/// A process that has mapped a library.
struct Process<'a> {
    root: &'a Path,
    pid: u32,
    uid: u32,
}

impl Process<'_> {
    fn owner(&self) -> Owner {
        if self.uid == 0 { Owner::Process } else { Owner::User(self.uid) }
    }

    /// Whose place a file takes that it maps. A user's process can mount root's files over any path that it sees, so only for
    /// root's processes it is the file's owner.
    fn payer(&self, owner: u32) -> u32 {
        if self.uid == 0 { owner } else { self.uid }
    }
}

impl Finder {
    pub fn new(root: &Root, programs: Vec<Program>) -> Finder {
        Finder {
            root: root.clone(),
            programs: programs.into(),
            schedule: Schedule::default(),
            libraries: BTreeMap::new(),
            ids: BTreeMap::new(),
            failed: Failed::default(),
            problems: BTreeMap::new(),
            unreadable: None,
            patience: Patience::new("headroom-cuda-file", DEADLINE),
        }
    }

    /// Inspects the processes that are due at `now` (any clock, in nanoseconds); call it every `pause` nanoseconds.
    pub fn scan(&mut self, now: u64, pause: u64) -> Result<()> {
        let proc = self.root.at("/proc");
        let pids = process::processes(&proc).with_context(|| format!("list {}", proc.display()))?;
        for pid in self.schedule.due(&pids, now, pause) {
            match self.inspect(&proc, pid, now) {
                // The process has ended.
                Err(error) if is_gone(&error) => {}
                Err(error) => self.unreadable = Some(format!("process {pid} could not be inspected: {error}")),
                Ok(()) => {}
            }
        }
        self.libraries.retain(|_, library| now.saturating_sub(library.seen) < UNUSED_NS);
        self.ids.retain(|_, id| self.libraries.contains_key(id));
        self.problems.retain(|_, problem| now.saturating_sub(problem.seen) < UNUSED_NS);
        self.failed.forget(now);
        Ok(())
    }

    /// The state of each probe.
    pub fn probes(&self) -> Vec<Probe> {
        let probe = |program: &Program| {
            let has = |library: &Library| {
                program.functions.iter().any(|function| library.joined.functions.contains(function))
            };
            let (state, reason) = if self.libraries.values().any(has) {
                (ProbeState::Attached, None)
            } else if let Some(library) = self.libraries.values().next() {
                let functions = program.functions.join(", ");
                (ProbeState::Unsupported, Some(format!("{} has no {functions}", library.path.display())))
            } else if let Some(problem) = self.texts(|_| true) {
                (ProbeState::Failed, Some(problem))
            } else {
                let unreadable = self.unreadable.iter().map(|unreadable| format!("; {unreadable}"));
                (ProbeState::Waiting, Some(NO_LIBRARY.to_owned() + &unreadable.collect::<String>()))
            };
            Probe { program: program.name.to_owned(), state, reason }
        };
        self.programs.iter().map(probe).collect()
    }

    /// The current problems with what root's processes have mapped, if any. What users map does not make the source fail.
    pub fn problem(&self) -> Option<String> {
        self.texts(|uid| uid == 0)
    }

    fn texts(&self, of: impl Fn(u32) -> bool) -> Option<String> {
        let texts = self.problems.iter().filter(|((_, uid), _)| of(*uid)).map(|(_, problem)| problem.text.as_str());
        let texts: Vec<&str> = texts.collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }

    fn inspect(&mut self, proc: &Path, pid: u32, now: u64) -> io::Result<()> {
        let uid = process::user(proc, pid)?;
        let root = proc.join(pid.to_string()).join("root");
        let process = Process { root: &root, pid, uid };
        let maps = proc.to_owned();
        let what = format!("the memory of process {pid}");
        let mapped = self.patience.call(process.owner(), &what, move || process::mapped(&maps, pid))??;
        mapped.iter().for_each(|mapped| self.note_mapped(&process, mapped, now));
        Ok(())
    }

    fn note_mapped(&mut self, process: &Process<'_>, mapped: &Mapped, now: u64) {
        let key = (mapped.id.clone(), process.uid);
        let known = self.ids.get(&key).and_then(|id| self.libraries.get_mut(id));
        if let Some(library) = known {
            library.seen = now;
            return;
        }
        match self.attach(process, mapped, now) {
            Ok(()) => {
                self.problems.remove(&key);
            }
            Err(error) => {
                let text = format!("{} of process {}: {error:#}", mapped.path.display(), process.pid);
                self.add_problem(key, text, now);
            }
        }
    }

    fn add_problem(&mut self, key: (String, u32), text: String, now: u64) {
        let of_user = self.problems.keys().filter(|(_, uid)| *uid != 0 && *uid == key.1).count();
        let of_users = self.problems.keys().filter(|(_, uid)| *uid != 0).count();
        let room = match key.1 {
            0 => self.problems.len() - of_users < MAX_LIBRARIES,
            _ => of_user == 0 && of_users < MAX_LIBRARIES,
        };
        if let Some(problem) = self.problems.get_mut(&key) {
            *problem = Problem { text, seen: now };
        } else if room {
            tracing::warn!("transfers cannot be observed: {text}");
            self.problems.insert(key, Problem { text, seen: now });
        }
    }

    /// Attaches to a new file. The path may refer to another file by now.
    fn attach(&mut self, process: &Process<'_>, mapped: &Mapped, now: u64) -> Result<()> {
        if mapped.deleted {
            bail!("the file was removed or replaced while the process still uses it");
        }
        let place = Place::new(process.root, Owner::Process).join(&mapped.path);
        let what = format!("{} of process {}", mapped.path.display(), process.pid);
        let seen = self.patience.call(process.owner(), &what, move || place.look())??;
        let seen = seen.context("it cannot be read: it is gone")?;
        let (id, payer) = (seen.id(), process.payer(seen.uid()));
        if id.1 != mapped.inode {
            bail!("another file is in its place");
        }
        if !self.libraries.contains_key(&id) {
            let library = self.join(process, mapped, &what, seen, now)?;
            tracing::info!("attached to {} functions of {}", library.joined.functions.len(), library.path.display());
            self.libraries.insert(id, library);
        }
        if let Some(library) = self.libraries.get_mut(&id) {
            library.seen = now;
            // What a user has mapped first is root's once root has.
            library.payer = if payer == 0 { 0 } else { library.payer };
        }
        if self.ids.len() < MAX_IDS {
            self.ids.insert((mapped.id.clone(), process.uid), id);
        }
        Ok(())
    }

    /// Attaches to a file that has no programs yet, if it gets a place.
    fn join(&mut self, process: &Process<'_>, mapped: &Mapped, what: &str, seen: Seen, now: u64) -> Result<Library> {
        let (id, payer) = (seen.id(), process.payer(seen.uid()));
        if self.failed.has(id, payer) {
            bail!("it was read less than 10 minutes ago and is not a CUDA driver library");
        }
        if !self.failed.may_read(payer) {
            bail!("user {payer} has mapped too many files that are not CUDA driver libraries");
        }
        let taken = self.libraries.iter().map(|(id, library)| (*id, library.payer)).collect();
        let instead = match share::place(&taken, payer) {
            Answer::Free => None,
            Answer::Instead(other) => Some(other),
            Answer::None(why) => bail!("{why}"),
        };
        let joined = self.join_within(process.owner(), what, seen);
        let timed_out = |error: &Error| {
            error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::TimedOut)
        };
        if joined.as_ref().err().is_some_and(|error| !timed_out(error)) {
            self.failed.add(id, payer, now);
        }
        let joined = joined?;
        instead.and_then(|other| self.libraries.remove(&other));
        Ok(Library { path: mapped.path.clone(), payer, joined, seen: now })
    }

    fn join_within(&mut self, owner: Owner, what: &str, seen: Seen) -> Result<Joined> {
        let programs = self.programs.clone();
        let found = self.patience.call(owner, what, move || join::find(seen, &programs))??;
        let programs = self.programs.clone();
        self.patience.call_within(ATTACH_DEADLINE, owner, what, move || join::join(found, &programs))?
    }
}

/// Whether the process ended before or during the inspection.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}
