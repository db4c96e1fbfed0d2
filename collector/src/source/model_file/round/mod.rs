//! [`Work`]: the thread's rounds: which processes are looked at, and stores now and then. Bounds what each user gets, and remembers
//! when which file was in use.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use collector_core::cgroup::Id;
use collector_core::model_file::store::{Listing, Uses, judge};
use collector_core::statistic::model_file::{Process, Reading};
use collector_core::text::escape;
use collector_core::view::model_file::{PROCESSES, STORES};

use super::look::{self, Host, Looked, look};
use super::mount::Mounts;
use super::process;
use super::store::{Candidate, candidates, list, of_whom};
use crate::clock;
use crate::config::model_store::ModelStore;
use crate::config::{Config, ModelFile as Settings};
use crate::source::cgroup::{Hierarchy, path_in};
use crate::source::observed::{self, Observed};
use crate::source::root::Root;
use crate::source::untrusted::Owner;
use crate::source::untrusted::patience::Patience;
use crate::source::watch::Watch;

/// How long looking at one process, and listing one store, may take.
const DEADLINE: Duration = Duration::from_secs(5);
const STORE_DEADLINE: Duration = Duration::from_secs(30);
/// How long whoever asks what there is waits for each place.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);
/// Limit on the processes of one user, and on those that one server started.
const OF_USER: usize = 64;
const STARTED: usize = 32;
/// Limit on the files of which it is remembered when they were used.
const REMEMBERED: usize = 8192;
/// Stores are not listed sooner than this for a new user, in nanoseconds: anybody can run what looks like a server.
const SOONEST: u64 = 60_000_000_000;

const NOT_LOOKED: &str = "what processes have mapped and open is not looked at (model_file.inspect)";
const NOT_ALLOWED: &str = "the agent may not look into all processes that may use files (CAP_SYS_PTRACE)";
const NOT_ALL: &str = "not all processes, or not all their files, are looked at";

pub struct Work {
    root: Root,
    memory: Hierarchy,
    settings: Settings,
    configured: Vec<ModelStore>,
    observed: Arc<Observed>,
    inspect: bool,
    patience: Patience,
    uses: Uses,
    /// Processes and stores that were reported.
    pids: BTreeSet<u32>,
    stores: BTreeSet<Arc<str>>,
    /// Whose stores were listed last, when that was, and when the next time is.
    users: BTreeSet<u32>,
    listed: u64,
    due: u64,
    /// How many processes and files, and stores, had no place in the last round: each counts as lost once.
    beyond: [u64; 2],
    /// There was no process, as of this change of them.
    idle: bool,
    version: u64,
}

/// A process that is looked at.
struct Subject {
    pid: u32,
    uid: u32,
    cgroup: Option<Id>,
    /// Of that cgroup.
    directory: Option<PathBuf>,
    server: Option<Arc<str>>,
}

impl Work {
    pub fn new(root: &Root, memory: &Hierarchy, config: &Config, observed: &Arc<Observed>, started: u64) -> Work {
        Work {
            root: root.clone(),
            memory: memory.clone(),
            settings: config.model_file.clone(),
            configured: config.model_store.iter().map(|entry| entry.value.clone()).collect(),
            observed: observed.clone(),
            inspect: config.model_file.inspects(),
            patience: Patience::new("headroom-model-file-user", DEADLINE),
            uses: Uses { since: started, ..Uses::default() },
            pids: BTreeSet::new(),
            stores: BTreeSet::new(),
            users: BTreeSet::new(),
            listed: 0,
            due: 0,
            beyond: [0; 2],
            idle: true,
            version: 0,
        }
    }

    /// Looks at everything that is due at `now` (monotonic). Returns how much more had no place than in the last round.
    pub fn round(&mut self, now: u64, emit: &mut dyn FnMut(Reading)) -> u64 {
        let (observed, version) = self.observed.all();
        self.version = version;
        self.idle = observed.is_empty();
        let users = self.users(&observed);
        let new = !users.is_subset(&self.users) && now >= self.listed.saturating_add(SOONEST);
        let listing = new || now >= self.due;
        let mut lost = 0;
        if !self.idle || !self.pids.is_empty() || listing {
            let host = self.host();
            let beyond = self.processes(&host, observed, emit);
            lost += beyond.saturating_sub(mem::replace(&mut self.beyond[0], beyond));
            if listing {
                self.users = users;
                let beyond = self.list(&host, emit);
                lost += beyond.saturating_sub(mem::replace(&mut self.beyond[1], beyond));
                self.listed = clock::monotonic_ns();
                self.due = self.listed.saturating_add(self.settings.store_interval.as_nanos() as u64);
            }
        }
        lost
    }

    /// Sleeps until something is due, or there is a process where there was none.
    pub fn rest(&self, watch: &Watch) {
        let left = Duration::from_nanos(self.due.saturating_sub(clock::monotonic_ns()));
        match self.idle {
            true if !watch.should_stop() => self.observed.wait(self.version, left),
            true => {}
            false => watch.sleep(self.settings.interval.min(left)),
        }
    }

    fn host(&self) -> Host {
        let mounts = process::mounts(&self.root.process()).unwrap_or_default();
        Host { root: self.root.clone(), mounts: Arc::new(Mounts::parse(&mounts)), inspect: self.inspect }
    }

    fn uid(&self, pid: u32) -> io::Result<u32> {
        Ok(fs::metadata(self.root.at("/proc").join(pid.to_string()))?.uid())
    }

    /// The users whose homes may have stores: root, and whoever runs one of these.
    fn users(&self, observed: &[observed::Process]) -> BTreeSet<u32> {
        let mut users = BTreeSet::from([0]);
        for process in observed {
            if users.len() >= STORES / 2 {
                break;
            }
            users.extend(self.uid(process.pid).ok());
        }
        users
    }

    /// Model servers first, then what they started, then others. Returns how many processes and files had no place.
    fn processes(&mut self, host: &Host, observed: Vec<observed::Process>, emit: &mut dyn FnMut(Reading)) -> u64 {
        let (mut lost, mut blind, mut partial) = (0, false, false);
        let mut of_user: BTreeMap<u32, usize> = BTreeMap::new();
        let mut done = BTreeSet::new();
        self.uses.now.clear();
        self.uses.models = observed.iter().flat_map(|process| process.models.iter().cloned()).collect();
        let (mut left, mut holders): (VecDeque<_>, VecDeque<_>) =
            observed.into_iter().partition(|process| process.server.is_some());
        // What a router started may be a server of its own.
        let own: BTreeSet<u32> = left.iter().map(|process| process.pid).collect();
        let mut rooms: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        while let Some(process) = left.pop_front().or_else(|| holders.pop_front()) {
            let observed::Process { pid, cgroup, server, .. } = process;
            if done.contains(&pid) {
                continue;
            }
            let Ok(uid) = self.uid(pid) else { continue };
            let count = of_user.entry(uid).or_default();
            if done.len() >= PROCESSES || (uid != 0 && *count >= OF_USER) {
                lost += 1;
                partial = true;
                continue;
            }
            done.insert(pid);
            *count += 1;
            let path = self.path(pid);
            let cgroup = cgroup.or_else(|| self.memory.cgroup_at(path.as_deref()?));
            let directory = path.and_then(|path| self.memory.directory(path.trim_end_matches('/')));
            let subject = Subject { pid, uid, cgroup, directory, server: server.clone() };
            let looked = match self.look(host, &subject) {
                Ok(looked) => looked,
                Err(error) if look::is_gone(&error) => {
                    done.remove(&pid);
                    continue;
                }
                Err(_) => Looked { blind: true, ..Looked::default() },
            };
            blind |= looked.blind;
            partial |= looked.partial;
            lost += looked.more;
            if let Some(server) = server {
                // Those do the work, in some servers.
                let room = rooms.entry(server.clone()).or_insert(STARTED);
                let started = looked.children.iter().filter(|pid| !own.contains(pid)).take(*room);
                let before = left.len();
                left.extend(started.map(|pid| observed::Process {
                    pid: *pid,
                    cgroup: None,
                    server: Some(server.clone()),
                    models: Vec::new(),
                }));
                *room -= left.len() - before;
            }
            self.tell(subject, looked, emit);
        }
        for pid in mem::replace(&mut self.pids, done.clone()).difference(&done) {
            emit(Reading::Gone { pid: *pid });
        }
        self.uses.blind = match (self.inspect, blind, partial) {
            (false, ..) => Some(NOT_LOOKED),
            (true, true, _) => Some(NOT_ALLOWED),
            (true, false, true) => Some(NOT_ALL),
            (true, false, false) => None,
        };
        self.forget();
        lost
    }

    /// Forgets the oldest of too many uses.
    fn forget(&mut self) {
        let seen = &mut self.uses.seen;
        let excess = seen.len().saturating_sub(REMEMBERED);
        if excess > 0 {
            let mut all: Vec<_> = seen.iter().map(|(id, time)| (*time, *id)).collect();
            all.sort_unstable();
            for (_, id) in &all[..excess] {
                seen.remove(id);
            }
        }
    }

    fn look(&mut self, host: &Host, subject: &Subject) -> io::Result<Looked> {
        let owner = if subject.uid == 0 { Owner::Process } else { Owner::User(subject.uid) };
        let (host, pid, uid) = (host.clone(), subject.pid, subject.uid);
        self.patience.call(owner, &format!("process {pid}, or where its files are,"), move || look(&host, pid, uid))?
    }

    fn tell(&mut self, subject: Subject, looked: Looked, emit: &mut dyn FnMut(Reading)) {
        let time = clock::unix_ns();
        self.uses.seen.extend(looked.ids.iter().map(|id| (*id, time)));
        self.uses.now.extend(&looked.ids);
        emit(Reading::Used(Arc::new(Process {
            pid: subject.pid,
            server: subject.server,
            cgroup: subject.cgroup,
            files: looked.files,
            faults: looked.faults,
            refaulted: subject.directory.as_deref().and_then(process::refaulted),
        })));
    }

    /// The path of a process's memory cgroup.
    fn path(&self, pid: u32) -> Option<String> {
        let text = fs::read(self.root.at("/proc").join(pid.to_string()).join("cgroup")).ok()?;
        path_in(&text, self.memory.id).map(Into::into)
    }

    fn list(&mut self, host: &Host, emit: &mut dyn FnMut(Reading)) -> u64 {
        let (mut listings, mut lost) = (Vec::<Listing>::new(), 0);
        let (mut ids, mut names) = (BTreeSet::new(), BTreeSet::new());
        for candidate in self.candidates() {
            let Some((mut listing, id)) = self.listed(host, &candidate) else { continue };
            // The home of Ollama's own user is where its package keeps models.
            if !ids.insert(id) {
                continue;
            }
            if listings.len() >= STORES {
                lost += 1;
                continue;
            }
            let name = listing.name.clone();
            let mut numbers = 2..;
            while !names.insert(listing.name.clone()) {
                listing.name = format!("{name}-{}", numbers.next().unwrap_or(u32::MAX)).into();
            }
            listings.push(listing);
        }
        let unused_after = self.settings.unused_after.as_nanos() as u64;
        for store in judge(&listings, &self.uses, clock::unix_ns(), unused_after) {
            emit(Reading::Store(Arc::new(store)));
        }
        for name in mem::replace(&mut self.stores, names.clone()).difference(&names) {
            emit(Reading::StoreGone { name: name.clone() });
        }
        lost
    }

    /// Without folders whose owner cannot be read.
    fn candidates(&mut self) -> Vec<Candidate> {
        let patience = &mut self.patience;
        candidates(&self.root, &self.configured, &self.users, &mut |path| {
            let what = format!("the store of models {}", path.display());
            let whose = patience.call(Owner::Process, &what, move || of_whom(path));
            whose.inspect_err(|error| tracing::debug!("not listed: {error}")).ok()
        })
    }

    /// A store that does not answer is gone until it does.
    fn listed(&mut self, host: &Host, candidate: &Candidate) -> Option<(Listing, (u64, u64))> {
        let (host, asked) = (host.clone(), candidate.clone());
        let what = format!("the store of models {}", candidate.place.path().display());
        let listed = self.patience.call_within(STORE_DEADLINE, candidate.owner, &what, move || list(&host, &asked));
        listed.unwrap_or_else(|error| {
            tracing::debug!("not listed: {error}");
            None
        })
    }
}

/// The stores that are configured, wherever they are, and the usual ones that there are, for people.
pub fn stores(root: &Root, config: &Config) -> Vec<String> {
    let shown = |path: &Path| escape(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())).into_owned();
    // Whatever is mounted there may not answer.
    let mut patience = Patience::new("headroom-model-file-user", LOOK_DEADLINE);
    let (mut said, mut late) = (Vec::new(), Vec::new());
    let all = candidates(root, &[], &BTreeSet::from([0]), &mut |path| {
        let what = shown(&path);
        let whose = patience.call(Owner::Process, &what, move || of_whom(path));
        whose.inspect_err(|_| late.push(what)).ok()
    });
    for it in all {
        let (path, place) = (shown(&it.place.path()), it.place.clone());
        let is_there = move || place.look().ok().flatten().is_some_and(|seen| seen.kind().is_dir());
        match patience.call(it.owner, &path, is_there) {
            Ok(true) => said.push(format!("store {} at {path}", it.name)),
            Ok(false) => {}
            Err(_) => late.push(path),
        }
    }
    said.extend(late.into_iter().map(|path| format!("{path} does not answer")));
    // It may be on a server that does not answer, so it is not looked at here.
    let configured = config.model_store.iter().map(|entry| &entry.value);
    let configured = configured.map(|it| format!("store {} at {} (configured)", it.name, shown(&it.path)));
    configured.chain(said).collect()
}

#[cfg(test)]
mod tests;
