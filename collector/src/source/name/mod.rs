//! The names of containers and pods as a source: read from the files of the kubelet and the container engines, without an API
//! or credentials. A separate thread reads, because a disk may be slow and a directory long. It looks a name up when
//! the cgroup of a container or pod is born, and again a few times, because the name may appear after the cgroup.

mod books;
mod engine;
mod examine;
mod file;
mod kubelet;
mod lookup;
mod queue;
mod request;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector_core::cgroup::Id;
use collector_core::identity::Identity;
use collector_core::sample::{Lost, Name, Reading, Sample};
use collector_core::signal::cgroup;
use collector_core::stage::Stage;

use super::cgroup::{Hierarchies, Hierarchy};
use super::root::Root;
use super::{Finding, Health, Source};
use crate::clock;
use crate::config::Config;
use lookup::{Lookup, Missing};
use queue::Queue;
use request::Request;

/// Capacity of the channels to and from the thread. A node runs a few hundred containers.
const CHANNEL_CAPACITY: usize = 4096;

/// The sending end of [`NameReceiver`].
pub type NameSender = tokio::sync::mpsc::Sender<Sample>;

/// A channel for the names that are found.
pub fn channel() -> (NameSender, NameReceiver) {
    let (sender, receiver) = tokio::sync::mpsc::channel(CHANNEL_CAPACITY);
    (sender, NameReceiver(receiver))
}

/// Requests names from the thread as cgroups are born.
pub struct NameSource {
    requests: SyncSender<Request>,
    lost: Arc<AtomicU64>,
    /// Cgroups whose names were requested, each with the last walk that met it.
    requested: HashMap<Id, u64>,
    memory_hierarchy: u64,
    walk: u64,
}

impl NameSource {
    /// Starts the thread. Only cgroups in the memory controller's hierarchy have names.
    pub fn start(root: &Root, hierarchies: &Hierarchies, config: &Config, sender: NameSender) -> Result<NameSource> {
        let lost = Arc::new(AtomicU64::new(0));
        let (requests, requested) = sync_channel(CHANNEL_CAPACITY);
        let search = Search {
            lookup: Lookup::new(root, &config.workload),
            memory: hierarchies.memory.clone(),
            reported: HashSet::new(),
        };
        let thread = std::thread::Builder::new().name("headroom-name".into());
        let failed = lost.clone();
        thread.spawn(move || serve(&requested, &sender, search, &failed)).context("start the thread for names")?;
        Ok(NameSource { requests, lost, requested: HashMap::new(), memory_hierarchy: hierarchies.memory.id, walk: 0 })
    }

    fn born(&mut self, cgroup: Id, path: &str) {
        if let Some(walk) = self.requested.get_mut(&cgroup) {
            *walk = self.walk;
            return;
        }
        let identity = Identity::of(path);
        if !identity.has_names() || *identity.top != *path {
            return;
        }
        match self.requests.try_send(Request { cgroup, identity }) {
            Ok(()) => {
                self.requested.insert(cgroup, self.walk);
            }
            Err(_) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Source for NameSource {
    /// Emits only the number of lost names: the names themselves arrive through [`NameReceiver`], between ticks too.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let count = self.lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            emit(Sample { time: clock::unix_ns(), reading: Reading::Lost(Lost { stage: Stage::Name, count }) });
        }
        Health::Silent
    }

    fn follow(&mut self, reading: &Reading) {
        match reading {
            Reading::Cgroup(cgroup::Reading::Born { id, path }) if id.hierarchy == self.memory_hierarchy => {
                self.born(*id, path);
            }
            Reading::Cgroup(cgroup::Reading::Died { id }) => {
                self.requested.remove(id);
            }
            Reading::Cgroup(cgroup::Reading::Walk) => self.walk += 1,
            Reading::Cgroup(cgroup::Reading::Walked) => self.requested.retain(|_, walk| *walk == self.walk),
            _ => {}
        }
    }

    fn examine(config: &Config, root: &Root) -> Vec<Finding> {
        examine::examine(config, root).into_iter().collect()
    }
}

/// Receives names as the thread finds them.
pub struct NameReceiver(tokio::sync::mpsc::Receiver<Sample>);

impl NameReceiver {
    /// The next name, if one is ready.
    pub fn try_next(&mut self) -> Option<Sample> {
        self.0.try_recv().ok()
    }

    /// Waits for the next name. Never returns once the thread has ended.
    pub async fn next(&mut self) -> Sample {
        match self.0.recv().await {
            Some(sample) => sample,
            None => std::future::pending().await,
        }
    }
}

/// What the thread looks names up with.
struct Search {
    lookup: Lookup,
    memory: Hierarchy,
    /// Those for whose containers no names were found, which is logged once.
    reported: HashSet<&'static str>,
}

impl Search {
    /// No names were found for a container or pod. One that has ended by now may never have had any.
    fn give_up(&mut self, Request { cgroup, identity }: &Request) {
        if self.memory.cgroup_at(&identity.top) != Some(*cgroup) {
            return;
        }
        let Missing { whose, advice } = self.lookup.missing(identity);
        if self.reported.insert(whose) {
            tracing::warn!(cgroup = &*identity.top, "containers of {whose} have no name, {advice}");
        }
    }
}

/// The thread's main loop: takes requests, looks names up, and retries those that were not found yet.
fn serve(requested: &Receiver<Request>, sender: &NameSender, mut search: Search, lost: &AtomicU64) {
    let mut queue = Queue::default();
    loop {
        let wait = queue.due().map(|due| Duration::from_nanos(due.saturating_sub(clock::monotonic_ns())));
        match requested.recv_timeout(wait.unwrap_or(Duration::MAX)) {
            Ok(request) => {
                let dropped = queue.push(request, clock::monotonic_ns());
                lost.fetch_add(dropped.into(), Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // One lookup serves all requests that arrived together.
        while let Some(request) = queue.has_room().then(|| requested.try_recv().ok()).flatten() {
            queue.push(request, clock::monotonic_ns());
        }
        let started = clock::thread_ns();
        let mut given_up = Vec::new();
        let lookup = &mut search.lookup;
        let failed = queue.run_due(clock::monotonic_ns(), |requests| lookup.find(requests), &mut |request, names| {
            let Some(names) = names else { return given_up.push(request.clone()) };
            let reading = Reading::Name(Name { cgroup: request.cgroup, names });
            // Fails only when the agent is stopping.
            let _ = sender.blocking_send(Sample { time: clock::unix_ns(), reading });
        });
        given_up.iter().for_each(|request| search.give_up(request));
        queue.throttle(clock::thread_ns() - started, clock::monotonic_ns());
        lost.fetch_add(failed, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn containers_without_books_are_reported_once_and_those_that_ended_are_not() {
        let host = std::env::temp_dir().join(format!("headroom-give-up-{}", std::process::id()));
        let path = format!("/docker/{}", "4f1c2a9b".repeat(8));
        let directory = host.join(&path[1..]);
        std::fs::create_dir_all(&directory).unwrap();
        let id = std::fs::metadata(&directory).unwrap().ino();
        let mut search = Search {
            lookup: Lookup::new(&Root::new(&host), &Config::default().workload),
            memory: Hierarchy { id: 0, root: host.clone(), prefix: String::new() },
            reported: HashSet::new(),
        };
        let request = |id| Request { cgroup: Id { hierarchy: 0, id }, identity: Identity::of(&path) };
        search.give_up(&request(id + 1));
        assert!(search.reported.is_empty(), "another cgroup is at its path now");
        (0..2).for_each(|_| search.give_up(&request(id)));
        std::fs::remove_dir_all(&host).unwrap();
        assert_eq!(search.reported, HashSet::from(["docker"]));
    }
}
