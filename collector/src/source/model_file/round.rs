//! [`Work`]: the thread's rounds: which processes are looked at, and stores now and then. Bounds what each user gets, and remembers
//! when which file was in use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
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
use super::store::{Candidate, candidates, list};
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
/// Limit on the processes of one user, and on those that one server started.
const OF_USER: usize = 64;
const STARTED: usize = 32;
/// Limit on the files of which it is remembered when they were used.
const REMEMBERED: usize = 8192;

const NOT_LOOKED: &str = "what processes have mapped and open is not looked at (model_file.inspect)";
const NOT_ALLOWED: &str = "the agent may not look into all processes that may use files (CAP_SYS_PTRACE)";

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
    /// Whose stores were listed last, and when the next time is.
    users: BTreeSet<u32>,
    due: u64,
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
            due: 0,
            idle: true,
            version: 0,
        }
    }

    /// Looks at everything that is due at `now` (monotonic). Returns how much had no place.
    pub fn round(&mut self, now: u64, emit: &mut dyn FnMut(Reading)) -> u64 {
        let (observed, version) = self.observed.all();
        self.version = version;
        self.idle = observed.is_empty();
        let users = self.users(&observed);
        let listing = now >= self.due || users != self.users;
        let mut lost = 0;
        if !self.idle || !self.pids.is_empty() || listing {
            let host = self.host();
            lost += self.processes(&host, observed, emit);
            if listing {
                self.users = users;
                lost += self.list(&host, emit);
                self.due = clock::monotonic_ns().saturating_add(self.settings.store_interval.as_nanos() as u64);
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
        let all = observed.iter().filter_map(|process| self.uid(process.pid).ok());
        all.chain([0]).take(STORES / 2).collect()
    }

    fn processes(&mut self, host: &Host, observed: Vec<observed::Process>, emit: &mut dyn FnMut(Reading)) -> u64 {
        let (mut lost, mut blind) = (0, false);
        let mut of_user: BTreeMap<u32, usize> = BTreeMap::new();
        let mut done = BTreeSet::new();
        self.uses.now.clear();
        self.uses.models = observed.iter().flat_map(|process| process.models.iter().cloned()).collect();
        let mut left: Vec<(observed::Process, usize)> =
            observed.into_iter().map(|process| (process, STARTED)).rev().collect();
        while let Some((process, room)) = left.pop() {
            let observed::Process { pid, cgroup, server, .. } = process;
            let Ok(uid) = self.uid(pid) else { continue };
            let count = of_user.entry(uid).or_default();
            if done.len() >= PROCESSES || (uid != 0 && *count >= OF_USER) {
                lost += 1;
                continue;
            }
            if !done.insert(pid) {
                continue;
            }
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
                Err(error) => Looked { blind: Some(error.to_string()), ..Looked::default() },
            };
            blind |= looked.blind.is_some();
            lost += looked.more;
            if server.is_some() {
                // Those do the work, in some servers.
                let room = room.saturating_sub(1);
                let started = looked.children.iter().take(room);
                let started = started.map(|pid| observed::Process {
                    pid: *pid,
                    cgroup: None,
                    server: server.clone(),
                    models: Vec::new(),
                });
                left.extend(started.map(|process| (process, room / 2)));
            }
            self.tell(subject, looked, emit);
        }
        for pid in std::mem::replace(&mut self.pids, done.clone()).difference(&done) {
            emit(Reading::Gone { pid: *pid });
        }
        self.uses.blind = match (self.inspect, blind) {
            (false, _) => Some(NOT_LOOKED),
            (true, true) => Some(NOT_ALLOWED),
            (true, false) => None,
        };
        lost
    }

    fn look(&mut self, host: &Host, subject: &Subject) -> io::Result<Looked> {
        let owner = if subject.uid == 0 { Owner::Process } else { Owner::User(subject.uid) };
        let (host, pid, uid) = (host.clone(), subject.pid, subject.uid);
        self.patience.call(owner, &format!("process {pid}, or where its files are,"), move || look(&host, pid, uid))?
    }

    fn tell(&mut self, subject: Subject, looked: Looked, emit: &mut dyn FnMut(Reading)) {
        let time = clock::unix_ns();
        for file in &looked.files {
            self.uses.seen.insert(file.id, time);
            self.uses.now.insert(file.id);
        }
        while self.uses.seen.len() > REMEMBERED {
            let oldest = self.uses.seen.iter().min_by_key(|(_, time)| **time).map(|(id, _)| *id);
            oldest.map(|id| self.uses.seen.remove(&id));
        }
        let why = looked.blind.map(|why| escape(why.as_bytes()).into());
        emit(Reading::Used(Arc::new(Process {
            pid: subject.pid,
            server: subject.server,
            cgroup: subject.cgroup,
            files: looked.files,
            resident: looked.resident,
            faults: looked.faults,
            refaulted: subject.directory.as_deref().and_then(process::refaulted),
            why: why.or_else(|| (!self.inspect).then(|| NOT_LOOKED.into())),
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
        for candidate in candidates(&self.root, &self.configured, &self.users) {
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
        for name in std::mem::replace(&mut self.stores, names.clone()).difference(&names) {
            emit(Reading::StoreGone { name: name.clone() });
        }
        lost
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

/// The stores that there are, for people.
pub fn stores(root: &Root, config: &Config) -> Vec<String> {
    let configured: Vec<ModelStore> = config.model_store.iter().map(|entry| entry.value.clone()).collect();
    let all = candidates(root, &configured, &BTreeSet::from([0]));
    let there = all.into_iter().filter(|it| it.place.look().ok().flatten().is_some_and(|seen| seen.kind().is_dir()));
    let shown = |path: &Path| escape(std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str())).into_owned();
    there.map(|it| format!("store {} at {}", it.name, shown(&it.place.path()))).collect()
}

#[cfg(test)]
mod tests {
    use collector_core::statistic::model_file::{How, Layout};

    use super::*;

    struct Folder(PathBuf);

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn work(store: &Path, observed: &Arc<Observed>) -> Work {
        let memory = Hierarchy { id: 0, root: "/sys/fs/cgroup".into(), prefix: String::new() };
        let mut config = Config::default();
        config.model_file.inspect = true;
        config.model_file.store_interval = Duration::ZERO;
        config.model_file.unused_after = Duration::ZERO;
        let mut work = Work::new(&Root::default(), &memory, &config, observed, 0);
        work.configured =
            vec![ModelStore { name: "mine".into(), path: store.into(), kind: Layout::Folder.label().into() }];
        work
    }

    /// Of one round, by pid: name and use of each file, and whether it is told that nothing was missed.
    /// The processes that were told, those that are gone, and of each store its bytes and what is unused.
    type Told = (Vec<Process>, Vec<u32>, Vec<(u64, Option<u64>)>);

    fn round(work: &mut Work) -> Told {
        let (mut used, mut gone, mut stores) = (Vec::new(), Vec::new(), Vec::new());
        work.round(clock::monotonic_ns(), &mut |reading| match reading {
            Reading::Used(process) => used.push(Process::clone(&process)),
            Reading::Gone { pid } => gone.push(pid),
            Reading::Store(store) if &*store.name == "mine" => {
                stores.push((store.files, store.unused.map(|unused| unused.files)));
            }
            _ => {}
        });
        (used, gone, stores)
    }

    #[test]
    fn a_process_is_told_of_while_it_is_there_and_its_files_are_in_use() {
        let folder = Folder(std::env::temp_dir().join(format!("headroom-round-{}", std::process::id())));
        fs::create_dir_all(&folder.0).unwrap();
        let path = folder.0.join("round.gguf");
        fs::write(&path, vec![7; 5000]).unwrap();
        let open = fs::File::open(&path).unwrap();
        let observed = Arc::new(Observed::default());
        let mut work = work(&folder.0, &observed);
        let pid = std::process::id();
        let (used, gone, stores) = round(&mut work);
        assert_eq!((used.len(), gone.len(), stores.len()), (0, 0, 1));
        let server = Some(Arc::from("test:1"));
        observed.servers(vec![observed::Process { pid, cgroup: None, server: server.clone(), models: Vec::new() }]);
        let (used, _, stores) = round(&mut work);
        let process = used.iter().find(|process| process.pid == pid).unwrap();
        assert_eq!((&process.server, process.why.as_deref()), (&server, None));
        // Other tests of this process may have files open, too.
        let file = process.files.iter().find(|file| &*file.name == "round.gguf").unwrap();
        assert_eq!((file.how, file.bytes), (How::Open, 5000));
        assert_eq!(stores[0].0, 1);
        assert!(stores[0].1.is_none_or(|unused| unused == 0), "{stores:?}");
        drop(open);
        observed.servers(Vec::new());
        let (used, gone, _) = round(&mut work);
        assert_eq!(used.len(), 0);
        assert!(gone.contains(&pid));
    }
}
