//! Which processes look like model servers, by name and command line. Knows neither sockets nor what a server answers. A user decides
//! how many there are and what they are called: each has a bounded number of them, and reading a command line has a deadline.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use collector_core::cgroup::Id;
use collector_core::identity::{Grants, Identity};
use collector_core::model::{Found, Process, identify, may_serve};

use super::look::Looks;
use super::process::{self, Stat};
use crate::mutex::lock;
use crate::source::cgroup::{Hierarchy, path_in};
use crate::source::root::Root;
use crate::source::untrusted::Owner;
use crate::source::untrusted::patience::Patience;

/// How long reading a command line may take.
const DEADLINE: Duration = Duration::from_millis(500);
/// Processes that look like servers, and those of one owner.
const CANDIDATES: usize = 4096;
const OF_AN_OWNER: usize = 512;

/// A process that looks like a server.
#[derive(Clone, Debug)]
pub struct Candidate {
    pub found: Arc<Found>,
    /// When it started, in clock ticks since the host did.
    pub started: u64,
    pub parent: u32,
    pub uid: u32,
    /// Who decides how many there are, if it is not the host itself.
    pub owner: Option<Arc<str>>,
    /// Its network namespace.
    pub namespace: u64,
    pub cgroup: Option<Id>,
    /// The path of that cgroup.
    pub path: Arc<str>,
}

pub struct Finder {
    proc: PathBuf,
    memory: Hierarchy,
    looks: Looks,
    patience: Patience,
    /// By process.
    pub candidates: BTreeMap<u32, Candidate>,
    lost: u64,
}

impl Finder {
    pub fn new(root: &Root, memory: &Hierarchy) -> Finder {
        let proc = root.at("/proc");
        Finder {
            looks: Looks::new(&proc),
            proc,
            memory: memory.clone(),
            patience: Patience::new("headroom-model-line", DEADLINE),
            candidates: BTreeMap::new(),
            lost: 0,
        }
    }

    /// Looks at new processes, and at those that are due. `last` is the number that the kernel gave out last; `grants` are the cgroups
    /// that root gave to users.
    pub fn scan(&mut self, last: Option<u32>, now: u64, grants: &Mutex<Grants>) -> io::Result<()> {
        let mut wanted = Vec::new();
        let candidates = &mut self.candidates;
        let scanned = self.looks.scan(last, now, &mut |pid, stat| {
            let known = candidates.get(&pid).is_some_and(|known| known.started == stat.started);
            match may_serve(&stat.comm) {
                false => drop(candidates.remove(&pid)),
                true if known => {}
                true => wanted.push((pid, stat)),
            }
        });
        for (pid, stat) in wanted {
            self.candidates.remove(&pid);
            if let Some(candidate) = self.judge(pid, &stat, grants) {
                self.add(pid, candidate);
            }
        }
        scanned
    }

    /// When the next process is to be looked at.
    pub fn due(&self) -> Option<u64> {
        self.looks.due()
    }

    /// Forgets those that have ended, and finds out where the others are.
    pub fn renew(&mut self, grants: &Mutex<Grants>) {
        let (proc, memory) = (&self.proc, &self.memory);
        self.candidates.retain(|pid, candidate| {
            let same = process::stat(proc, *pid).is_some_and(|stat| stat.started == candidate.started);
            // One that has ended, and that nobody has waited for, has no network any more.
            let lives = same && process::namespace(&process::folder(proc, *pid)) == Some(candidate.namespace);
            if lives {
                settle(proc, memory, *pid, candidate, grants);
            }
            lives
        });
    }

    /// Those that there was no room for, since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    fn judge(&mut self, pid: u32, stat: &Stat, grants: &Mutex<Grants>) -> Option<Candidate> {
        if !process::leads(&self.proc, pid) {
            return None;
        }
        let uid = process::user(&self.proc, pid)?;
        let owner = if uid == 0 { Owner::Process } else { Owner::User(uid) };
        let proc = self.proc.clone();
        let what = format!("the command line of process {pid}");
        let command = self.patience.call(owner, &what, move || process::command(&proc, pid)).ok()?.ok()?;
        let Process::Server(found) = identify(&stat.comm, &command)? else { return None };
        let mut candidate = Candidate {
            found: Arc::new(found),
            started: stat.started,
            parent: stat.parent,
            uid,
            owner: None,
            namespace: process::namespace(&process::folder(&self.proc, pid))?,
            cgroup: None,
            path: "".into(),
        };
        settle(&self.proc, &self.memory, pid, &mut candidate, grants);
        Some(candidate)
    }

    fn add(&mut self, pid: u32, candidate: Candidate) {
        let of_owner = || self.candidates.values().filter(|other| other.owner == candidate.owner).count();
        let full = candidate.owner.is_some() && of_owner() >= OF_AN_OWNER;
        // Users leave some to the host's own.
        let most = if candidate.owner.is_some() { CANDIDATES - OF_AN_OWNER } else { CANDIDATES };
        if full || self.candidates.len() >= most {
            self.lost += 1;
            return;
        }
        self.candidates.insert(pid, candidate);
    }
}

/// Reads the cgroup of a process, and who owns it: what runs below a user's cgroup belongs to that user, whichever uid it has.
fn settle(proc: &Path, memory: &Hierarchy, pid: u32, candidate: &mut Candidate, grants: &Mutex<Grants>) {
    let text = process::cgroups(proc, pid);
    let path = path_in(&text, memory.id).unwrap_or_default();
    if *path != *candidate.path || candidate.cgroup.is_none() {
        candidate.cgroup = memory.cgroup_at(&path);
    }
    // A server may give up root's rights, and root may give its cgroup to a user.
    candidate.uid = process::user(proc, pid).unwrap_or(candidate.uid);
    let Identity { owner, .. } = lock(grants).identity(&path);
    let user = || (candidate.uid != 0).then(|| format!("uid {}", candidate.uid).into());
    candidate.owner = owner.or_else(user);
    candidate.path = path.into();
}
