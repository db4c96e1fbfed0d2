//! What the host calls containers and pods: passive reads of what the kubelet, Docker and Podman leave on disk, no API and
//! no credentials. They happen on a thread of their own, because a disk may be slow and a directory long; asked is only
//! when a container's or a pod's cgroup is born, and again a few times, because the name may appear after the cgroup.

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

use super::clock;
use super::root::Root;
use crate::config;
use crate::identity::{Identity, Names};
use crate::sample::{Name, Reading, Sample};
use crate::signal::cgroup;

use lookup::Lookup;
use queue::Queue;

/// The stage of `headroom_lost_total` that counts names that could not be asked for or read.
pub const STAGE: &str = "name";

/// Questions, and answers, that can wait. A node has some hundred containers.
const WAITING: usize = 4096;

/// Whose names are wanted.
#[derive(Clone, Debug)]
struct Ask {
    cgroup: cgroup::Id,
    identity: Identity,
}

/// Starts the thread. Asked is for cgroups of the hierarchy `memory`.
pub fn start(root: &Root, memory: u64, config: &config::Workload) -> Result<(Asker, Answers)> {
    let lost = Arc::new(AtomicU64::new(0));
    let (asks, asked) = sync_channel(WAITING);
    let (answers, answered) = tokio::sync::mpsc::channel(WAITING);
    let lookup = Lookup::new(root, config);
    let thread = std::thread::Builder::new().name("headroom-name".into());
    let failed = lost.clone();
    thread.spawn(move || serve(&asked, &answers, lookup, &failed)).context("start the thread for names")?;
    Ok((Asker { asks, lost, asked: HashMap::new(), memory, walk: 0 }, Answers(answered)))
}

/// Asks, as cgroups are born.
pub struct Asker {
    asks: SyncSender<Ask>,
    lost: Arc<AtomicU64>,
    /// What was asked for already, and on which walk it was last met.
    asked: HashMap<cgroup::Id, u64>,
    memory: u64,
    walk: u64,
}

impl Asker {
    /// Names that were lost since it was last reset.
    pub fn lost(&self) -> Arc<AtomicU64> {
        self.lost.clone()
    }

    /// Takes in what is told of cgroups.
    pub fn follow(&mut self, reading: &Reading) {
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

/// The names, as they are found.
pub struct Answers(tokio::sync::mpsc::Receiver<Sample>);

impl Answers {
    /// The next, if there is one already.
    pub fn ready(&mut self) -> Option<Sample> {
        self.0.try_recv().ok()
    }

    /// The next. Never comes back once the thread is gone.
    pub async fn next(&mut self) -> Sample {
        match self.0.recv().await {
            Some(sample) => sample,
            None => std::future::pending().await,
        }
    }
}

/// The thread: waits for questions, looks, and waits again for what was not there yet.
fn serve(asked: &Receiver<Ask>, answers: &tokio::sync::mpsc::Sender<Sample>, mut lookup: Lookup, lost: &AtomicU64) {
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
        // All that came at once are looked for at once.
        while let Some(ask) = queue.room().then(|| asked.try_recv().ok()).flatten() {
            queue.push(ask, clock::monotonic_ns());
        }
        let begun = clock::thread_ns();
        let failed = queue.look(clock::monotonic_ns(), |asks| lookup.look(asks), &mut |ask, names| {
            let reading = Reading::Name(Name { cgroup: ask.cgroup, names });
            // Whoever is told stops last.
            let _ = answers.blocking_send(Sample { time: clock::unix_ns(), reading });
        });
        queue.rest(clock::thread_ns() - begun, clock::monotonic_ns());
        lost.fetch_add(failed, Ordering::Relaxed);
    }
}

/// What looking for a name came to.
#[derive(Clone, Debug, PartialEq)]
enum Found {
    /// All that there is to know.
    Whole(Names),
    /// The pod's; the container's may follow.
    Part(Names),
    /// Nothing, so far.
    Nothing,
    /// It may be there, and cannot be read.
    Unreadable,
}
