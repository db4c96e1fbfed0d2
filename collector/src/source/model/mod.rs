//! Model servers as a source: finds those of this host by their processes, and asks them, and those of the configuration, what they say
//! of themselves. Enters no namespace, asks no port that is not theirs, and wakes nothing: what is asked is the core's to say. Finding is
//! a thread of its own, and so is asking.

mod address;
mod ask;
mod examine;
mod find;
mod http;
mod look;
mod place;
pub mod process;
mod remote;
mod room;
mod server;
mod socket;
pub mod wanted;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result};
use collector_core::identity::Grants;
use collector_core::sample::{self, Sample};
use collector_core::signal::cgroup::Reading as Change;
use collector_core::stage::Stage;
use collector_core::statistic::model::Reading;

use super::cgroup::Hierarchies;
use super::kept::KeptFile;
use super::observed::Observed;
use super::root::Root;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::Config;
use crate::mutex::lock;
use ask::Asking;
use find::Finder;
use place::{Key, Places};
use server::{Known, Seen, Servers};
use wanted::{Settings, Wanted, is_loopback};

/// Finding uses at most 1/50 of a CPU, however many processes there are.
const CPU_SHARE: u32 = 50;
/// Readings that wait for a tick. Of a server only the last one does.
const WAITING: usize = 1024;

pub struct Models {
    wanted: Arc<Wanted>,
    shared: Arc<Shared>,
    loadavg: KeptFile,
    buffer: Vec<u8>,
    /// When to see whether there are new processes, and what the kernel's count of them was.
    due: u64,
    last: Option<u32>,
    /// Something moved into a cgroup.
    hurried: bool,
    readings: Vec<Reading>,
}

struct Shared {
    found: Mutex<Found>,
    /// Cgroups that root gave to users.
    grants: Mutex<Grants>,
    /// When a process is to be looked at again, and the last number of a process.
    due: AtomicU64,
    last: AtomicU64,
}

#[derive(Default)]
struct Found {
    readings: Vec<Reading>,
    round: Option<(u64, Option<String>)>,
    lost: u64,
}

impl Found {
    fn add(&mut self, reading: Reading) {
        self.readings.retain(|other| other.server.name != reading.server.name);
        match self.readings.len() < WAITING {
            true => self.readings.push(reading),
            false => self.lost += 1,
        }
    }
}

impl Models {
    pub fn start(
        root: &Root,
        hierarchies: &Hierarchies,
        wanted: &Arc<Wanted>,
        observed: &Arc<Observed>,
    ) -> Result<Models> {
        let shared = Arc::new(Shared {
            found: Mutex::default(),
            grants: Mutex::default(),
            due: AtomicU64::new(0),
            last: AtomicU64::new(u64::MAX),
        });
        let proc = root.at("/proc");
        let seeker = Seeker {
            wanted: wanted.clone(),
            shared: shared.clone(),
            observed: observed.clone(),
            finder: Finder::new(root, &hierarchies.memory),
            servers: Servers::new(proc.clone(), hierarchies.memory.clone()),
            asking: None,
            refused: BTreeSet::new(),
            proc: proc.clone(),
            settings: Arc::default(),
            due: 0,
        };
        thread::Builder::new()
            .name("headroom-model".into())
            .spawn(move || seeker.run())
            .context("start the thread that finds model servers")?;
        Ok(Models {
            wanted: wanted.clone(),
            shared,
            loadavg: KeptFile::at_once(proc.join("loadavg")),
            buffer: Vec::new(),
            due: 0,
            last: None,
            hurried: false,
            readings: Vec::new(),
        })
    }

    /// Wakes the thread if there may be something new to look at: an idle host without servers is not woken for.
    fn watch(&mut self) {
        let now = clock::monotonic_ns();
        if now < self.due && !self.hurried {
            return;
        }
        self.due = now + self.wanted.settings().interval.as_nanos() as u64;
        let text = self.loadavg.read(&mut self.buffer).ok().flatten();
        let last = text.and_then(look::last);
        if self.hurried || last != self.last || last.is_none() || now >= self.shared.due.load(Ordering::Relaxed) {
            self.last = last;
            self.hurried = false;
            self.shared.last.store(last.map_or(u64::MAX, u64::from), Ordering::Relaxed);
            self.wanted.ring();
        }
    }
}

impl Source for Models {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        self.watch();
        let time = clock::unix_ns();
        let mut say = |reading| emit(Sample { time, reading });
        let (round, lost) = {
            let mut found = lock(&self.shared.found);
            std::mem::swap(&mut self.readings, &mut found.readings);
            (found.round.take(), std::mem::take(&mut found.lost))
        };
        self.readings.drain(..).for_each(|reading| say(sample::Reading::Model(reading)));
        if lost > 0 {
            say(sample::Reading::Lost(sample::Lost { stage: Stage::Model, count: lost }));
        }
        match round {
            Some((ns, None)) => Health::Round { ns, result: Ok(()) },
            Some((ns, Some(error))) => Health::Round { ns, result: Err(Error::msg(error)) },
            None => Health::Silent,
        }
    }

    fn follow(&mut self, reading: &sample::Reading) {
        match reading {
            sample::Reading::Cgroup(Change::Given { path, uid }) => lock(&self.shared.grants).set(path, *uid),
            sample::Reading::Cgroup(Change::Attached { .. }) => self.hurried = true,
            _ => {}
        }
    }

    fn examine(config: &Config, root: &Root) -> Vec<Finding> {
        vec![examine::examine(config, root)]
    }
}

impl Drop for Models {
    fn drop(&mut self) {
        self.wanted.end();
    }
}

/// The state of the thread.
struct Seeker {
    wanted: Arc<Wanted>,
    shared: Arc<Shared>,
    observed: Arc<Observed>,
    finder: Finder,
    servers: Servers,
    /// Started when there is somebody to ask.
    asking: Option<Asking>,
    /// Ports that get no place.
    refused: BTreeSet<Key>,
    proc: PathBuf,
    settings: Arc<Settings>,
    /// When the next round is.
    due: u64,
}

impl Seeker {
    fn run(mut self) {
        let mut until = None;
        while self.wanted.sleep(until) {
            let (started, cpu) = (clock::monotonic_ns(), clock::thread_ns());
            let settings = self.wanted.settings();
            let interval = settings.interval.as_nanos() as u64;
            let changed = settings != self.settings;
            self.settings = settings;
            let before = self.finder.candidates.len();
            let mut failed = self.scan(started).err().map(|error| format!("list the processes: {error}"));
            let busy = !self.servers.is_empty() || !self.finder.candidates.is_empty();
            if changed || before != self.finder.candidates.len() || (busy && started >= self.due) {
                self.due = started + interval;
                failed = failed.or(self.round(started, interval).err().map(|error| format!("{error:#}")));
                let ns = clock::monotonic_ns().saturating_sub(started);
                lock(&self.shared.found).round = Some((ns, failed));
            }
            lock(&self.shared.found).lost += self.finder.take_lost();
            let rest = Duration::from_nanos(clock::thread_ns().saturating_sub(cpu)) * CPU_SHARE;
            if !self.wanted.rest(rest.min(Duration::from_secs(60))) {
                return;
            }
            let busy = !self.servers.is_empty() || !self.finder.candidates.is_empty();
            let left = Duration::from_nanos(self.due.saturating_sub(clock::monotonic_ns()));
            until = busy.then(|| Instant::now() + left);
        }
    }

    fn scan(&mut self, now: u64) -> std::io::Result<()> {
        let last = u32::try_from(self.shared.last.load(Ordering::Relaxed)).ok();
        let scanned = self.finder.scan(last, now, &self.shared.grants);
        self.shared.due.store(self.finder.due().unwrap_or(u64::MAX), Ordering::Relaxed);
        scanned
    }

    /// Finds out which servers there are now, and asks those that are due.
    fn round(&mut self, now: u64, interval: u64) -> Result<()> {
        self.finder.renew(&self.shared.grants);
        let candidates = &self.finder.candidates;
        let mut places = Places::read(&self.proc);
        let mut spots = if candidates.is_empty() { BTreeMap::new() } else { places.spots(candidates) };
        let mut seen: BTreeMap<Known, Seen<'_>> = BTreeMap::new();
        for server in &self.settings.servers {
            let port = server.url.port_or_known_default().filter(|_| is_loopback(&server.url));
            let key = spots.keys().find(|(namespace, of)| Some(*of) == port && places.is_own(*namespace)).copied();
            // Whoever only says that the port is its own has no part in what is configured.
            let spot = key.and_then(|key| spots.remove(&key)).filter(|spot| spot.owns);
            let candidate = spot.as_ref().and_then(|spot| candidates.get(&spot.pid));
            seen.insert(Known::Configured(server.name.clone()), Seen { configured: Some(server), spot, candidate });
        }
        let exclude = &self.settings.exclude;
        spots.retain(|key, spot| {
            let candidate = candidates.get(&spot.pid);
            let found = Seen { configured: None, spot: Some(spot.clone()), candidate };
            let name = found.name(&Known::Found(*key, found.kind()));
            !exclude.matches(&name) && !candidate.is_some_and(|candidate| exclude.matches(&candidate.path))
        });
        let (placed, refused) = place::share(spots, candidates, seen.len());
        let refused: BTreeSet<Key> = refused.into_iter().collect();
        let fresh = refused.difference(&self.refused).count() as u64;
        self.refused = refused;
        for (key, spot) in placed {
            let candidate = candidates.get(&spot.pid);
            let found = Seen { configured: None, spot: Some(spot), candidate };
            seen.insert(Known::Found(key, found.kind()), found);
        }
        lock(&self.shared.found).lost += fresh;
        self.servers.settle(seen, &self.shared);
        self.observed.servers(self.servers.processes());
        if self.servers.is_empty() {
            return Ok(());
        }
        let asking = match &self.asking {
            Some(asking) => asking,
            None => self.asking.insert(Asking::start()?),
        };
        self.servers.ask(now, interval, asking, &self.shared);
        Ok(())
    }
}
