//! The servers that are asked: their names, and what is kept of each between two rounds. Decides when each is asked; asks nobody itself.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use collector_core::model::Asker;
use collector_core::statistic::model::{Answer, Kind, NAME, Reading, Server, State};
use collector_core::text;

use super::Shared;
use super::ask::{Asking, Job, Kept, Route};
use super::find::Candidate;
use super::place::{Key, Spot};
use super::remote::Remote;
use super::wanted::{Configured, short};
use crate::clock;
use crate::mutex::lock;
use crate::source::cgroup::Hierarchy;
use crate::source::observed::Process;
use crate::source::resident;

/// The longest reason in bytes.
const WHY: usize = 200;
/// A server whose answer takes so much CPU time to understand is not asked again before so many times as long has passed.
const REST: u64 = 1000;

/// What a server is known by from round to round.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Known {
    Configured(Arc<str>),
    /// Another program on the same port is another server.
    Found(Key, Option<Kind>),
}

/// A server that is asked.
pub struct Entry {
    server: Arc<Server>,
    owner: Option<Arc<str>>,
    /// When its process started: another process is another server.
    started: Option<u64>,
    /// The directory of its cgroup.
    directory: Option<PathBuf>,
    route: Result<Route, (State, String)>,
    kept: Kept,
    /// The models in its last answer.
    models: Arc<Mutex<Vec<Arc<str>>>>,
    due: u64,
    /// When it may be asked again, whatever the interval.
    rested: Arc<AtomicU64>,
    /// It is gone: a late answer is dropped.
    gone: Arc<AtomicBool>,
}

/// What a round found of one server.
pub struct Seen<'a> {
    pub configured: Option<&'a Configured>,
    pub spot: Option<Spot>,
    pub candidate: Option<&'a Candidate>,
}

pub struct Servers {
    all: BTreeMap<Known, Entry>,
    proc: PathBuf,
    memory: Hierarchy,
}

impl Servers {
    /// `memory` is the hierarchy of the cgroups by which workloads are named.
    pub fn new(proc: PathBuf, memory: Hierarchy) -> Servers {
        Servers { all: BTreeMap::new(), proc, memory }
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// These are all servers now. Reports those that are gone.
    pub fn settle(&mut self, seen: BTreeMap<Known, Seen<'_>>, shared: &Shared) {
        let gone: Vec<Known> = self.all.keys().filter(|known| !seen.contains_key(*known)).cloned().collect();
        for known in gone {
            if let Some(entry) = self.all.remove(&known) {
                shared.tell_gone(&entry.server, &entry.gone);
            }
        }
        let mut names: BTreeMap<u32, Arc<str>> = BTreeMap::new();
        for (known, seen) in &seen {
            let name = self.update(known, seen);
            names.extend(seen.spot.as_ref().map(|spot| (spot.pid, name)));
        }
        for (known, seen) in &seen {
            let parent = seen.candidate.and_then(|candidate| names.get(&candidate.parent)).cloned();
            if let Some(entry) = self.all.get_mut(known).filter(|entry| entry.server.parent != parent) {
                entry.server = Arc::new(Server { parent, ..Server::clone(&entry.server) });
            }
        }
    }

    fn update(&mut self, known: &Known, seen: &Seen<'_>) -> Arc<str> {
        let started = seen.candidate.map(|candidate| candidate.started);
        let pid = seen.spot.as_ref().map(|spot| spot.pid);
        let before = self.all.get(known).filter(|entry| (entry.started, entry.server.pid) == (started, pid));
        let kept = before.map(|entry| {
            (entry.kept.clone(), entry.models.clone(), entry.due, entry.rested.clone(), entry.gone.clone())
        });
        let name = self.all.get(known).map(|entry| entry.server.name.clone());
        let name = name.unwrap_or_else(|| self.unused(seen.name(known)));
        let (kept, models, due, rested, gone) = kept.unwrap_or_else(|| {
            (Arc::new(Mutex::new(Some(seen.asker()))), Arc::default(), 0, Arc::default(), Arc::default())
        });
        let kind = lock(&kept).as_ref().and_then(Asker::kind);
        let kind = kind.or_else(|| self.all.get(known).and_then(|entry| entry.server.kind));
        let server = Server {
            name: name.clone(),
            kind,
            url: seen.url().into(),
            pid,
            cgroup: seen.candidate.and_then(|candidate| candidate.cgroup),
            workload: seen.configured.and_then(|configured| configured.workload.clone()),
            parent: self.all.get(known).and_then(|entry| entry.server.parent.clone()),
            flags: seen.candidate.map(|candidate| candidate.found.settings.flags.clone()).unwrap_or_default(),
        };
        let same = self.all.get(known).filter(|entry| *entry.server == server).map(|entry| entry.server.clone());
        let server = same.unwrap_or_else(|| Arc::new(server));
        // A client is kept as long as its configuration is.
        let before = self.all.get(known).map(|entry| &entry.route);
        let route = seen.route(before);
        let owner = seen.candidate.and_then(|candidate| candidate.owner.clone());
        let path = seen.candidate.filter(|candidate| candidate.cgroup.is_some()).map(|candidate| &candidate.path);
        let directory = path.and_then(|path| self.memory.directory(path.trim_end_matches('/')));
        self.all
            .insert(known.clone(), Entry { server, owner, started, directory, route, kept, models, due, rested, gone });
        name
    }

    /// A name that no other server has.
    fn unused(&self, name: String) -> Arc<str> {
        let is_used = |name: &str| self.all.values().any(|entry| *entry.server.name == *name);
        let numbered = (2..).map(|number| short(&format!("{}-{number}", &name[..name.floor_char_boundary(NAME - 8)])));
        std::iter::once(short(&name)).chain(numbered).find(|name| !is_used(name)).unwrap_or_default()
    }

    /// The processes of all.
    pub fn processes(&self) -> Vec<Process> {
        let process = |entry: &Entry| {
            let Server { name, pid, cgroup, .. } = &*entry.server;
            let models = lock(&entry.models).clone();
            Some(Process { pid: (*pid)?, cgroup: *cgroup, server: Some(name.clone()), models })
        };
        self.all.values().filter_map(process).collect()
    }

    /// Asks those that are due, and reports why others cannot be asked.
    pub fn ask(&mut self, now: u64, interval: u64, asking: &Asking, shared: &Arc<Shared>) {
        let others: Arc<[u32]> = self.all.values().filter_map(|entry| entry.server.pid).collect();
        for entry in self.all.values_mut() {
            if now < entry.due.max(entry.rested.load(Ordering::Relaxed)) {
                continue;
            }
            let route = match &entry.route {
                Ok(route) => route.clone(),
                Err((state, why)) => {
                    entry.due = now + interval;
                    shared.tell(&entry.server, unasked(*state, why), &entry.gone);
                    continue;
                }
            };
            let Some(asker) = lock(&entry.kept).take() else { continue };
            entry.due = now + interval;
            let (server, shared, gone) = (entry.server.clone(), shared.clone(), entry.gone.clone());
            let (rested, models) = (entry.rested.clone(), entry.models.clone());
            let (proc, directory, others) = (self.proc.clone(), entry.directory.clone(), others.clone());
            let told = move |asker: &Asker, answer: Answer, cpu: u64| {
                let before = clock::thread_ns();
                let mates = || directory.as_deref().map(resident::mates).unwrap_or_default();
                let memory = server.pid.and_then(|pid| resident::of(&proc, pid, &mates(), &others));
                let cpu = cpu.saturating_add(clock::thread_ns().saturating_sub(before));
                let answer = Answer { memory, ..answer };
                rested.store(clock::monotonic_ns() + cpu.saturating_mul(REST), Ordering::Relaxed);
                *lock(&models) = answer.models.iter().map(|model| model.name.clone()).collect();
                let known = asker.kind().or(server.kind);
                let server = match server.kind == known {
                    true => server,
                    false => Arc::new(Server { kind: known, ..Server::clone(&server) }),
                };
                shared.tell(&server, answer, &gone);
            };
            asking.ask(Job {
                asker,
                kept: entry.kept.clone(),
                route,
                owner: entry.owner.clone(),
                told: Box::new(told),
            });
        }
    }
}

/// The answer that stands for a server that was not asked.
fn unasked(state: State, why: &str) -> Answer {
    let why = text::shown(why);
    let why = why[..why.floor_char_boundary(WHY)].into();
    Answer { state, why: Some(why), took: 0, models: Vec::new(), memory: None }
}

impl Seen<'_> {
    pub fn kind(&self) -> Option<Kind> {
        self.candidate.map(|candidate| candidate.found.kind)
    }

    /// What it is called if nothing else is: `vllm:8000`, `vllm@172.17.0.2:8000`.
    pub fn name(&self, known: &Known) -> String {
        match (known, self.spot.as_ref().and_then(|spot| spot.address)) {
            (Known::Configured(name), _) => name.to_string(),
            (Known::Found((_, port), kind), address) => {
                let kind = kind.map_or("server", Kind::label);
                let address = address.map(|address| format!("@{address}")).unwrap_or_default();
                format!("{kind}{address}:{port}")
            }
        }
    }

    fn asker(&self) -> Asker {
        let found = self.candidate.map(|candidate| Asker::found(&candidate.found));
        match self.configured {
            // What the command line says is lost if it says that it is another program.
            Some(server) if server.kind.is_none() || server.kind == self.kind() => {
                found.unwrap_or_else(|| configured(server))
            }
            Some(server) => configured(server),
            None => found.unwrap_or_else(|| Asker::configured(None)),
        }
    }

    fn url(&self) -> String {
        if let Some(server) = self.configured {
            return text::shown(server.url.as_str()).trim_end_matches('/').to_owned();
        }
        use super::place::Way;
        let way = self.spot.as_ref().map(|spot| &spot.way);
        let address = match way {
            Some(Ok(Way::Own(at) | Way::Container(at, _))) => at.first().map(ToString::to_string),
            _ => None,
        };
        let port = self.candidate.map_or(0, |candidate| candidate.found.port);
        let container = self.spot.as_ref().and_then(|spot| spot.address);
        let unasked = || container.map_or_else(|| format!("localhost:{port}"), |address| format!("{address}:{port}"));
        format!("http://{}", address.unwrap_or_else(unasked))
    }

    fn route(&self, before: Option<&Result<Route, (State, String)>>) -> Result<Route, (State, String)> {
        let Some(server) = self.configured else {
            return match self.spot.as_ref().map(|spot| spot.way.clone()) {
                Some(way) => way.map(Route::Found),
                None => Err((State::Failed, "nothing is known of it".to_owned())),
            };
        };
        match before {
            Some(Ok(Route::Configured(remote))) if remote.is_for(server) => Ok(Route::Configured(remote.clone())),
            _ => Remote::new(server)
                .map(|remote| Route::Configured(Arc::new(remote)))
                .map_err(|error| (State::Failed, format!("{error:#}"))),
        }
    }
}

fn configured(server: &Configured) -> Asker {
    Asker::configured(server.kind).sleeping_after(server.sleep.map(|time| time.as_nanos() as u64))
}

impl Shared {
    /// A server answered, unless it is gone since.
    fn tell(&self, server: &Arc<Server>, answer: Answer, gone: &AtomicBool) {
        let mut found = lock(&self.found);
        if !gone.load(Ordering::Relaxed) {
            found.add(Reading { server: server.clone(), answer: Some(answer) });
        }
    }

    fn tell_gone(&self, server: &Arc<Server>, gone: &AtomicBool) {
        let mut found = lock(&self.found);
        gone.store(true, Ordering::Relaxed);
        found.add(Reading { server: server.clone(), answer: None });
    }
}
