//! A thread that looks names up: takes requests, runs those that are due, and logs once whose names are not found.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector_core::sample::{Name, Reading, Sample};

use super::channel::{CHANNEL_CAPACITY, NameSender};
use super::queue::Queue;
use super::request::{Missing, Request};
use super::search::Search;
use crate::clock;
use crate::source::cgroup::Hierarchy;
use crate::source::queue::{Receiver, Sender, queue};
use crate::source::watch::Watch;

/// A lookup that takes longer than this counts as hung.
const DEADLINE: Duration = Duration::from_secs(30);

/// Limit on engines whose missing names are logged.
const MAX_REPORTED: usize = 16;

/// The requesting end.
pub(super) struct Names {
    requests: Sender<Request>,
    shared: Arc<Shared>,
}

struct Shared {
    watch: Watch,
    /// How long the last round of lookups took, in nanoseconds.
    round_ns: AtomicU64,
}

impl Names {
    /// Starts the thread.
    pub fn start(
        name: &str,
        search: Box<dyn Search + Send>,
        memory: &Hierarchy,
        sender: NameSender,
        lost: &Arc<AtomicU64>,
    ) -> Result<Names> {
        let (requests, requested) = queue(CHANNEL_CAPACITY);
        let shared = Arc::new(Shared { watch: Watch::new(DEADLINE), round_ns: AtomicU64::new(0) });
        let worker = Worker {
            queue: Queue::default(),
            search,
            memory: memory.clone(),
            reported: HashSet::new(),
            sender,
            lost: lost.clone(),
            shared: shared.clone(),
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || worker.serve(&requested)).context("start a thread for names")?;
        Ok(Names { requests, shared })
    }

    /// `false` if there is no room.
    pub fn request(&self, request: Request) -> bool {
        self.requests.try_send(request)
    }

    /// Whether a lookup has missed the deadline.
    pub fn hangs(&self) -> bool {
        self.shared.watch.overdue().is_some()
    }

    /// How long the last round of lookups took, in nanoseconds.
    pub fn round_ns(&self) -> u64 {
        self.shared.round_ns.load(Ordering::Relaxed)
    }
}

struct Worker {
    queue: Queue,
    search: Box<dyn Search + Send>,
    memory: Hierarchy,
    /// Those for whose containers no names were found, which is logged once.
    reported: HashSet<String>,
    sender: NameSender,
    lost: Arc<AtomicU64>,
    shared: Arc<Shared>,
}

impl Worker {
    fn serve(mut self, requested: &Receiver<Request>) {
        loop {
            let wait = self.queue.due().map(|due| Duration::from_nanos(due.saturating_sub(clock::monotonic_ns())));
            match requested.recv_timeout(wait.unwrap_or(Duration::MAX)) {
                Ok(request) => self.push(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            // One lookup serves all requests that arrived together.
            while let Some(request) = self.queue.has_room().then(|| requested.try_recv().ok()).flatten() {
                self.push(request);
            }
            self.look_up();
        }
    }

    fn push(&mut self, request: Request) {
        let dropped = self.queue.push(request, clock::monotonic_ns());
        self.lost.fetch_add(dropped.into(), Ordering::Relaxed);
    }

    fn look_up(&mut self) {
        let (started, cpu) = (clock::monotonic_ns(), clock::thread_ns());
        let mut given_up = Vec::new();
        let Worker { queue, search, sender, shared, .. } = self;
        let find = |requests: &[&Request]| shared.watch.call("names", || search.find(requests));
        let failed = queue.run_due(started, find, &mut |request, names| {
            let Some(names) = names else { return given_up.push(request.clone()) };
            let reading = Reading::Name(Name { cgroup: request.cgroup, names });
            // Fails only when the agent is stopping.
            let _ = sender.blocking_send(Sample { time: clock::unix_ns(), reading });
        });
        given_up.iter().for_each(|request| self.give_up(request));
        let now = clock::monotonic_ns();
        self.queue.throttle(clock::thread_ns() - cpu + self.search.cpu_ns(), now);
        self.shared.round_ns.store(now.saturating_sub(started), Ordering::Relaxed);
        self.lost.fetch_add(failed, Ordering::Relaxed);
    }

    /// No names were found for a container or pod. One that has ended by now may never have had any.
    fn give_up(&mut self, Request { cgroup, identity }: &Request) {
        if self.memory.cgroup_at(&identity.top) != Some(*cgroup) || self.reported.len() >= MAX_REPORTED {
            return;
        }
        let Missing { whose, advice } = self.search.missing(identity);
        if !self.reported.contains(&whose) {
            tracing::warn!(cgroup = &*identity.top, "containers of {whose} have no name, {advice}");
            self.reported.insert(whose);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use collector_core::cgroup::Id;
    use collector_core::identity::Identity;

    use super::*;
    use crate::config::Config;
    use crate::source::name::lookup::Lookup;
    use crate::source::root::Root;
    use crate::source::test::Tree;

    #[test]
    fn containers_without_books_are_reported_once_and_those_that_ended_are_not() {
        let host = Tree::new();
        let path = format!("/docker/{}", "4f1c2a9b".repeat(8));
        let directory = host.0.join(&path[1..]);
        std::fs::create_dir_all(&directory).unwrap();
        let id = std::fs::metadata(&directory).unwrap().ino();
        let mut worker = Worker {
            queue: Queue::default(),
            search: Box::new(Lookup::new(&Root::new(&host.0), &Config::default().workload)),
            memory: Hierarchy { id: 0, root: host.0.clone(), prefix: String::new() },
            reported: HashSet::new(),
            sender: crate::source::name::channel::channel().0,
            lost: Arc::default(),
            shared: Arc::new(Shared { watch: Watch::new(DEADLINE), round_ns: AtomicU64::new(0) }),
        };
        let request = |id| Request { cgroup: Id { hierarchy: 0, id }, identity: Identity::of(&path) };
        worker.give_up(&request(id + 1));
        assert!(worker.reported.is_empty(), "another cgroup is at its path now");
        (0..2).for_each(|_| worker.give_up(&request(id)));
        assert_eq!(worker.reported, HashSet::from(["docker".to_owned()]));
    }
}
