//! The names of containers and pods as a source: read from what the kubelet, Docker and Podman leave on disk, without
//! an API or credentials. A thread of its own reads, because a disk may be slow and a directory long. It looks when a
//! container's or a pod's cgroup is born, and a few times more, because the name may appear after the cgroup.

mod ask;
mod engine;
mod file;
mod kubelet;
mod lookup;
mod queue;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::cgroup::Hierarchies;
use super::root::Root;
use super::{Health, Source};
use crate::clock;
use crate::config::Config;
use crate::identity::Identity;
use crate::sample::{Lost, Name, Reading, Sample};
use crate::signal::cgroup;
use crate::stage::Stage;
use ask::Ask;
use lookup::Lookup;
use queue::Queue;

/// Capacity of the channels to and from the thread. A node runs a few hundred containers.
const WAITING: usize = 4096;

/// The sending end of [`Answers`].
pub type Answering = tokio::sync::mpsc::Sender<Sample>;

/// A channel for the names that are found.
pub fn channel() -> (Answering, Answers) {
    let (answering, answers) = tokio::sync::mpsc::channel(WAITING);
    (answering, Answers(answers))
}

/// Asks the thread for names as cgroups are born.
pub struct Asker {
    asks: SyncSender<Ask>,
    lost: Arc<AtomicU64>,
    /// Cgroups whose names were asked for, and the last walk that met them.
    asked: HashMap<cgroup::Id, u64>,
    memory: u64,
    walk: u64,
}

impl Asker {
    /// Starts the thread. Only cgroups in the memory controller's hierarchy have names.
    pub fn start(root: &Root, hierarchies: &Hierarchies, config: &Config, answering: Answering) -> Result<Asker> {
        let lost = Arc::new(AtomicU64::new(0));
        let (asks, asked) = sync_channel(WAITING);
        let lookup = Lookup::new(root, &config.workload);
        let thread = std::thread::Builder::new().name("headroom-name".into());
        let failed = lost.clone();
        thread.spawn(move || serve(&asked, &answering, lookup, &failed)).context("start the thread for names")?;
        Ok(Asker { asks, lost, asked: HashMap::new(), memory: hierarchies.memory.id, walk: 0 })
    }

    fn born(&mut self, cgroup: cgroup::Id, path: &str) {
        if let Some(walk) = self.asked.get_mut(&cgroup) {
            *walk = self.walk;
            return;
        }
        let identity = Identity::of(path);
        if !identity.has_names() || *identity.top != *path {
            return;
        }
        match self.asks.try_send(Ask { cgroup, identity }) {
            Ok(()) => {
                self.asked.insert(cgroup, self.walk);
            }
            Err(_) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

impl Source for Asker {
    /// Emits only how many names were lost: the names themselves arrive through [`Answers`], without waiting for a tick.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let count = self.lost.swap(0, Ordering::Relaxed);
        if count > 0 {
            emit(Sample { time: clock::unix_ns(), reading: Reading::Lost(Lost { stage: Stage::Name, count }) });
        }
        Health::Silent
    }

    fn follow(&mut self, reading: &Reading) {
        match reading {
            Reading::Cgroup(cgroup::Reading::Born { id, path }) if id.hierarchy == self.memory => {
                self.born(*id, path);
            }
            Reading::Cgroup(cgroup::Reading::Died { id }) => {
                self.asked.remove(id);
            }
            Reading::Cgroup(cgroup::Reading::Walk) => self.walk += 1,
            Reading::Cgroup(cgroup::Reading::Walked) => self.asked.retain(|_, walk| *walk == self.walk),
            _ => {}
        }
    }
}

/// Names, as the thread finds them.
pub struct Answers(tokio::sync::mpsc::Receiver<Sample>);

impl Answers {
    /// The next name, if one is waiting.
    pub fn ready(&mut self) -> Option<Sample> {
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

/// The thread: takes questions, looks, and looks again later for names that were not there yet.
fn serve(asked: &Receiver<Ask>, answering: &Answering, mut lookup: Lookup, lost: &AtomicU64) {
    let mut queue = Queue::default();
    loop {
        let wait = queue.due().map(|due| Duration::from_nanos(due.saturating_sub(clock::monotonic_ns())));
        match asked.recv_timeout(wait.unwrap_or(Duration::MAX)) {
            Ok(ask) => {
                let gave_way = queue.push(ask, clock::monotonic_ns());
                lost.fetch_add(gave_way.into(), Ordering::Relaxed);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // One look serves all questions that arrived together.
        while let Some(ask) = queue.room().then(|| asked.try_recv().ok()).flatten() {
            queue.push(ask, clock::monotonic_ns());
        }
        let begun = clock::thread_ns();
        let failed = queue.look(clock::monotonic_ns(), |asks| lookup.look(asks), &mut |ask, names| {
            let reading = Reading::Name(Name { cgroup: ask.cgroup, names });
            // Fails only when the agent is stopping.
            let _ = answering.blocking_send(Sample { time: clock::unix_ns(), reading });
        });
        queue.rest(clock::thread_ns() - begun, clock::monotonic_ns());
        lost.fetch_add(failed, Ordering::Relaxed);
    }
}
