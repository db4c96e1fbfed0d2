//! The mounted filesystems as a source: how full each is. statvfs on a filesystem whose server does not answer may
//! block forever: a separate thread calls it. A thread that misses the deadline is left blocked, and another one
//! continues with the rest.

pub mod mount;
mod private;
mod volume;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use collector_core::sample::{self, Lost, Sample};
use collector_core::stage::Stage;
use collector_core::statistic::filesystem::{Reading, State, Statistic, Values};
use rustix::fs::{StatVfs, StatVfsMountFlags, statvfs};

use super::cgroup::Hierarchies;
use super::kept::KeptFile;
use super::root::Root;
use super::{Health, Source};
use crate::clock;
use crate::config;
use crate::mutex::lock;
use Statistic::*;
use mount::{Exclude, Mount, parse};
use private::Private;

/// Limit on threads blocked on filesystems that do not answer. Once it is reached, no filesystem is read.
const MAX_STUCK: usize = 8;
/// Stack size of a worker thread in bytes; more than it needs.
const STACK: usize = 128 * 1024;

/// Reads the usage of one filesystem; may block.
pub type Query = Arc<dyn Fn(&Path) -> io::Result<Values> + Send + Sync>;

pub struct Filesystems {
    mountinfo: KeptFile,
    root: PathBuf,
    exclude: Exclude,
    interval_ns: u64,
    deadline_ns: u64,
    query: Query,
    /// The mountinfo from which `mounts` was built.
    text: Vec<u8>,
    mounts: Vec<Watched>,
    /// Start of the last round (CLOCK_MONOTONIC, in nanoseconds).
    started: Option<u64>,
    /// A round is in progress.
    in_progress: bool,
    shared: Arc<Shared>,
    answers: Vec<Answer>,
    buffer: Vec<u8>,
    /// Volumes that no mount of the host shows.
    private: Option<Private>,
}

struct Watched {
    mount: Arc<Mount>,
    status: Status,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Answered,
    Refused,
    Pending,
    Hung,
}

type Answer = (Arc<Mount>, io::Result<Values>);

/// Shared with the worker threads.
#[derive(Default)]
struct Shared {
    state: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<Mount>>,
    busy: Vec<Busy>,
    answers: Vec<Answer>,
    /// Time of the last answer (CLOCK_MONOTONIC, in nanoseconds).
    answered: u64,
    /// Number of threads, including the stuck ones.
    threads: usize,
    stop: bool,
}

struct Busy {
    mount: Arc<Mount>,
    since: u64,
    /// It missed its deadline: another thread took over.
    stuck: bool,
}

impl Filesystems {
    pub fn new(root: &Root, config: &config::Filesystem) -> Filesystems {
        Filesystems {
            mountinfo: KeptFile::new(root.process().join("mountinfo")),
            root: root.at("/"),
            exclude: Exclude::of(config),
            interval_ns: config.interval.as_nanos() as u64,
            deadline_ns: config.deadline.as_nanos() as u64,
            query: Arc::new(query),
            text: Vec::new(),
            mounts: Vec::new(),
            started: None,
            in_progress: false,
            shared: Arc::default(),
            answers: Vec::new(),
            buffer: Vec::new(),
            private: None,
        }
    }

    /// Reads `/dev/shm` of workloads in mount namespaces of their own, too.
    pub fn with_private(
        mut self,
        root: &Root,
        hierarchies: &Hierarchies,
        config: &config::Filesystem,
    ) -> Result<Filesystems> {
        self.private = Private::start(root, &hierarchies.memory, config).context("start a thread")?;
        Ok(self)
    }

    /// Replaces the query, for tests.
    pub fn with_query(mut self, query: Query) -> Filesystems {
        self.query = query;
        self
    }

    /// Emits the answers, and marks filesystems past the deadline as hung.
    fn collect(&mut self, now: u64, emit: &mut dyn FnMut(Reading)) {
        let shared = self.shared.clone();
        let mut queue = lock(&shared.state);
        std::mem::swap(&mut queue.answers, &mut self.answers);
        for busy in &mut queue.busy {
            if !busy.stuck && now.saturating_sub(busy.since) > self.deadline_ns {
                busy.stuck = true;
                self.mark_hung(&busy.mount, emit);
            }
        }
        self.start_thread(&mut queue);
        if queue.threads == 0 || queue.busy.iter().filter(|busy| busy.stuck).count() == queue.threads {
            // No thread is left to query the rest.
            while let Some(mount) = queue.waiting.pop_front() {
                self.mark_hung(&mount, emit);
            }
        }
        drop(queue);
        let mut answers = std::mem::take(&mut self.answers);
        for (mount, answer) in answers.drain(..) {
            let Some(entry) = self.mounts.iter_mut().find(|entry| Arc::ptr_eq(&entry.mount, &mount)) else {
                continue;
            };
            let (status, state) = match answer {
                Ok(values) => (Status::Answered, State::Read(values)),
                Err(_) => (Status::Refused, State::Refused),
            };
            entry.status = status;
            emit(reading(&mount, state));
        }
        self.answers = answers;
    }

    fn mark_hung(&mut self, mount: &Arc<Mount>, emit: &mut dyn FnMut(Reading)) {
        if let Some(entry) = self.mounts.iter_mut().find(|entry| Arc::ptr_eq(&entry.mount, mount)) {
            entry.status = Status::Hung;
            emit(reading(mount, State::Hung));
        }
    }

    /// Starts a thread if all others are stuck, up to [`MAX_STUCK`].
    fn start_thread(&self, queue: &mut Queue) {
        let stuck = queue.busy.iter().filter(|busy| busy.stuck).count();
        if queue.waiting.is_empty() || queue.threads > stuck || stuck >= MAX_STUCK {
            return;
        }
        let (shared, query) = (self.shared.clone(), self.query.clone());
        let builder = thread::Builder::new().name("filesystem".to_owned()).stack_size(STACK);
        if builder.spawn(move || run_worker(&shared, &*query)).is_ok() {
            queue.threads += 1;
        }
    }

    /// Ends the round once no query is pending; hung ones do not count.
    fn finish_round(&mut self, now: u64) -> Health {
        if !self.in_progress || self.mounts.iter().any(|entry| entry.status == Status::Pending) {
            return Health::Silent;
        }
        self.in_progress = false;
        let bad = self.mounts.iter().find(|entry| entry.status != Status::Answered);
        let result = match bad {
            None => Ok(()),
            Some(bad) if bad.status == Status::Hung => Err(anyhow::anyhow!("{} does not answer", bad.mount.mountpoint)),
            Some(bad) => Err(anyhow::anyhow!("{} cannot be queried", bad.mount.mountpoint)),
        };
        // This runs once a tick: the last answer may be older than now.
        let last = lock(&self.shared.state).answered.min(now);
        Health::Round { ns: last.saturating_sub(self.started.unwrap_or(now)), result }
    }

    fn start_round(&mut self, emit: &mut dyn FnMut(Reading)) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let refreshed = self.refresh_mounts(&mut buffer, emit);
        self.buffer = buffer;
        refreshed?;
        let mut queue = lock(&self.shared.state);
        queue.waiting.reserve(self.mounts.len());
        for entry in &mut self.mounts {
            if matches!(entry.status, Status::Answered | Status::Refused) || !is_queued(&queue, &entry.mount) {
                entry.status = Status::Pending;
                queue.waiting.push_back(entry.mount.clone());
            }
        }
        self.start_thread(&mut queue);
        self.shared.changed.notify_one();
        Ok(())
    }

    /// Reads the current mounts.
    fn refresh_mounts(&mut self, buffer: &mut Vec<u8>, emit: &mut dyn FnMut(Reading)) -> Result<()> {
        let text = self.mountinfo.read(buffer).and_then(|text| text.ok_or_else(|| io::ErrorKind::NotFound.into()));
        match text {
            Ok(text) if text != self.text => {
                text.clone_into(&mut self.text);
                let mounts = parse(text, &self.root, &self.exclude);
                self.set_mounts(mounts, emit);
            }
            Ok(_) => {}
            Err(error) => {
                self.text.clear();
                self.set_mounts(Vec::new(), emit);
                return Err(error).with_context(|| format!("read {}", self.mountinfo.path().display()));
            }
        }
        Ok(())
    }

    /// Replaces the mounts. A mount that was known before keeps its status.
    fn set_mounts(&mut self, mounts: Vec<Mount>, emit: &mut dyn FnMut(Reading)) {
        let mut before = std::mem::take(&mut self.mounts);
        for mount in mounts {
            let entry = match before.iter().position(|known| *known.mount == mount) {
                Some(place) => before.swap_remove(place),
                None => Watched { mount: Arc::new(mount), status: Status::Answered },
            };
            self.mounts.push(entry);
        }
        for Watched { mount, .. } in before {
            if self.mounts.iter().all(|entry| entry.mount.mountpoint != mount.mountpoint) {
                emit(reading(&mount, State::Gone));
            }
        }
    }
}

impl Source for Filesystems {
    /// Emits the answers since the last call, and starts a new round when it is due.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let time = clock::unix_ns();
        let count = self.private.as_mut().map_or(0, Private::lost);
        if count > 0 {
            emit(Sample { time, reading: sample::Reading::Lost(Lost { stage: Stage::Filesystem, count }) });
        }
        let mut emit = |reading| emit(Sample { time, reading: sample::Reading::Filesystem(reading) });
        let now = clock::monotonic_ns();
        self.collect(now, &mut emit);
        self.private.iter_mut().for_each(|private| private.collect(&mut emit));
        let mut health = self.finish_round(now);
        if !self.in_progress && self.started.is_none_or(|started| now.saturating_sub(started) >= self.interval_ns) {
            self.started = Some(now);
            self.private.iter_mut().for_each(Private::start_round);
            match self.start_round(&mut emit) {
                Ok(()) => self.in_progress = true,
                Err(error) => health = Health::Round { ns: 0, result: Err(error) },
            }
        }
        health
    }

    fn follow(&mut self, reading: &sample::Reading) {
        if let (Some(private), sample::Reading::Cgroup(reading)) = (&mut self.private, reading) {
            private.follow(reading);
        }
    }
}

impl Drop for Filesystems {
    fn drop(&mut self) {
        lock(&self.shared.state).stop = true;
        self.shared.changed.notify_all();
    }
}

fn is_queued(queue: &Queue, mount: &Arc<Mount>) -> bool {
    let busy = queue.busy.iter().map(|busy| &busy.mount);
    busy.chain(&queue.waiting).any(|other| Arc::ptr_eq(other, mount))
}

fn reading(mount: &Mount, state: State) -> Reading {
    let Mount { mountpoint, device, fstype, owner, .. } = mount;
    let (device, fstype, owner) = (device.clone(), fstype.clone(), owner.clone());
    Reading { mountpoint: mountpoint.clone(), device, fstype, owner, state }
}

/// A worker thread: queries one filesystem after the other. A thread that missed its deadline has been replaced, and
/// ends after its answer.
fn run_worker(shared: &Shared, query: &dyn Fn(&Path) -> io::Result<Values>) {
    let mut queue = lock(&shared.state);
    while !queue.stop {
        let Some(mount) = queue.waiting.pop_front() else {
            queue = shared.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        queue.busy.push(Busy { mount: mount.clone(), since: clock::monotonic_ns(), stuck: false });
        drop(queue);
        let answer = query(&mount.path);
        queue = lock(&shared.state);
        let place = queue.busy.iter().position(|busy| Arc::ptr_eq(&busy.mount, &mount));
        queue.answered = clock::monotonic_ns();
        let stuck = place.is_some_and(|place| queue.busy.swap_remove(place).stuck);
        queue.answers.push((mount, answer));
        if stuck {
            break;
        }
    }
    queue.threads -= 1;
}

fn query(path: &Path) -> io::Result<Values> {
    Ok(figures(&statvfs(path)?))
}

fn figures(found: &StatVfs) -> Values {
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    // A server may report less than nothing, which arrives as more than there is.
    let part = |part: u64, whole: u64| Some(part).filter(|part| *part <= whole);
    let mut values = Values::new();
    values.set(Size, bytes(found.f_blocks));
    values.put(Free, part(found.f_bfree, found.f_blocks).map(bytes));
    values.put(Available, part(found.f_bavail, found.f_blocks).map(bytes));
    // Filesystems without an inode table report 0 of 0.
    if found.f_files > 0 {
        values.set(Inodes, found.f_files);
        values.put(InodesFree, part(found.f_ffree, found.f_files));
    }
    values.set(ReadOnly, found.f_flag.contains(StatVfsMountFlags::RDONLY).into());
    values
}

#[cfg(test)]
mod tests;
