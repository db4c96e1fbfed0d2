//! The mounted filesystems as a source: how full each is. Asking one whose server does not answer may block for ever:
//! a thread of its own asks, and when it misses the deadline it is left waiting while another asks the rest.

pub mod mount;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context as _, Result};
use rustix::fs::{StatVfsMountFlags, statvfs};

use super::kept::Kept;
use super::pattern::Patterns;
use super::root::Root;
use super::{Health, Source};
use crate::clock;
use crate::config;
use crate::sample::{self, Sample};
use crate::statistic::filesystem::{Reading, State, Statistic, Values};
use Statistic::*;
use mount::{Exclude, Mount, parse};

/// Threads that may wait for filesystems that do not answer. With all of them waiting, nobody asks the others.
const STUCK: usize = 8;
/// Stack size of a thread that asks; more than it needs.
const STACK: usize = 128 * 1024;

/// Asks one filesystem how full it is.
pub type Ask = Arc<dyn Fn(&Path) -> io::Result<Values> + Send + Sync>;

/// The mounted filesystems.
pub struct Filesystems {
    mountinfo: Kept,
    root: PathBuf,
    exclude: Exclude,
    interval_ns: u64,
    deadline_ns: u64,
    ask: Ask,
    /// The mountinfo that `watched` was made from.
    text: Vec<u8>,
    watched: Vec<Watched>,
    /// When the last round began.
    begun: Option<u64>,
    /// A round is under way.
    open: bool,
    asked: Arc<Asked>,
    answers: Vec<Answer>,
    buffer: Vec<u8>,
}

struct Watched {
    mount: Arc<Mount>,
    state: Asking,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Asking {
    Answered,
    Refused,
    Pending,
    Hung,
}

type Answer = (Arc<Mount>, io::Result<Values>);

/// Shared with the threads that ask.
#[derive(Default)]
struct Asked {
    state: Mutex<Questions>,
    changed: Condvar,
}

#[derive(Default)]
struct Questions {
    waiting: VecDeque<Arc<Mount>>,
    busy: Vec<Busy>,
    answers: Vec<Answer>,
    /// When the last answer came.
    answered: u64,
    /// Threads, the stuck ones included.
    threads: usize,
    over: bool,
}

struct Busy {
    mount: Arc<Mount>,
    since: u64,
    /// It missed its deadline: another thread has taken its place.
    stuck: bool,
}

impl Asked {
    fn lock(&self) -> MutexGuard<'_, Questions> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Filesystems {
    /// The filesystems of the host with this root.
    pub fn new(root: &Root, config: &config::Filesystem) -> Filesystems {
        let exclude =
            Exclude { mountpoints: Patterns::new(&config.exclude), types: Patterns::new(&config.exclude_types) };
        Filesystems {
            mountinfo: Kept::new(root.process().join("mountinfo")),
            root: root.at("/"),
            exclude,
            interval_ns: config.interval.as_nanos() as u64,
            deadline_ns: config.deadline.as_nanos() as u64,
            ask: Arc::new(ask),
            text: Vec::new(),
            watched: Vec::new(),
            begun: None,
            open: false,
            asked: Arc::default(),
            answers: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// The same with another way to ask.
    pub fn asking(mut self, ask: Ask) -> Filesystems {
        self.ask = ask;
        self
    }

    /// Takes the answers, and gives up those that are late.
    fn collect(&mut self, now: u64, tell: &mut dyn FnMut(Reading)) {
        let asked = self.asked.clone();
        let mut questions = asked.lock();
        std::mem::swap(&mut questions.answers, &mut self.answers);
        for busy in &mut questions.busy {
            if !busy.stuck && now.saturating_sub(busy.since) > self.deadline_ns {
                busy.stuck = true;
                self.hang(&busy.mount, tell);
            }
        }
        self.employ(&mut questions);
        if questions.threads == 0 || questions.busy.iter().filter(|busy| busy.stuck).count() == questions.threads {
            // There is nobody to ask the rest.
            while let Some(mount) = questions.waiting.pop_front() {
                self.hang(&mount, tell);
            }
        }
        drop(questions);
        let mut answers = std::mem::take(&mut self.answers);
        for (mount, answer) in answers.drain(..) {
            let Some(watched) = self.watched.iter_mut().find(|watched| Arc::ptr_eq(&watched.mount, &mount)) else {
                continue;
            };
            let (asking, state) = match answer {
                Ok(values) => (Asking::Answered, State::Read(values)),
                Err(_) => (Asking::Refused, State::Refused),
            };
            watched.state = asking;
            tell(reading(&mount, state));
        }
        self.answers = answers;
    }

    fn hang(&mut self, mount: &Arc<Mount>, tell: &mut dyn FnMut(Reading)) {
        if let Some(watched) = self.watched.iter_mut().find(|watched| Arc::ptr_eq(&watched.mount, mount)) {
            watched.state = Asking::Hung;
            tell(reading(mount, State::Hung));
        }
    }

    /// Starts a thread if all others are stuck, up to the bound.
    fn employ(&self, questions: &mut Questions) {
        let stuck = questions.busy.iter().filter(|busy| busy.stuck).count();
        if questions.waiting.is_empty() || questions.threads > stuck || stuck >= STUCK {
            return;
        }
        let (asked, ask) = (self.asked.clone(), self.ask.clone());
        let builder = thread::Builder::new().name("filesystem".to_owned()).stack_size(STACK);
        if builder.spawn(move || work(&asked, &*ask)).is_ok() {
            questions.threads += 1;
        }
    }

    /// The round is over when nobody is asked any more, but for those that were given up.
    fn end(&mut self, now: u64) -> Health {
        if !self.open || self.watched.iter().any(|watched| watched.state == Asking::Pending) {
            return Health::Silent;
        }
        self.open = false;
        let bad = self.watched.iter().find(|watched| watched.state != Asking::Answered);
        let result = match bad {
            None => Ok(()),
            Some(bad) if bad.state == Asking::Hung => Err(anyhow::anyhow!("{} does not answer", bad.mount.mountpoint)),
            Some(bad) => Err(anyhow::anyhow!("{} refuses to answer", bad.mount.mountpoint)),
        };
        // Whoever reads comes by once a tick: the answers may have been there for long.
        let last = self.asked.lock().answered.min(now);
        Health::Round { ns: last.saturating_sub(self.begun.unwrap_or(now)), result }
    }

    fn begin(&mut self, tell: &mut dyn FnMut(Reading)) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let renewed = self.renew(&mut buffer, tell);
        self.buffer = buffer;
        renewed?;
        let mut questions = self.asked.lock();
        questions.waiting.reserve(self.watched.len());
        for watched in &mut self.watched {
            if matches!(watched.state, Asking::Answered | Asking::Refused) || !is_asked(&questions, &watched.mount) {
                watched.state = Asking::Pending;
                questions.waiting.push_back(watched.mount.clone());
            }
        }
        self.employ(&mut questions);
        self.asked.changed.notify_one();
        Ok(())
    }

    /// Takes over what is mounted now.
    fn renew(&mut self, buffer: &mut Vec<u8>, tell: &mut dyn FnMut(Reading)) -> Result<()> {
        let text = self.mountinfo.read(buffer).and_then(|text| text.ok_or_else(|| io::ErrorKind::NotFound.into()));
        match text {
            Ok(text) if text != self.text => {
                text.clone_into(&mut self.text);
                let mounts = parse(text, &self.root, &self.exclude);
                self.watch(mounts, tell);
            }
            Ok(_) => {}
            Err(error) => {
                self.text.clear();
                self.watch(Vec::new(), tell);
                return Err(error).with_context(|| format!("read {}", self.mountinfo.path().display()));
            }
        }
        Ok(())
    }

    /// Watches these mounts from now on. A mount that was watched before keeps its state.
    fn watch(&mut self, mounts: Vec<Mount>, tell: &mut dyn FnMut(Reading)) {
        let mut before = std::mem::take(&mut self.watched);
        for mount in mounts {
            let watched = match before.iter().position(|known| *known.mount == mount) {
                Some(place) => before.swap_remove(place),
                None => Watched { mount: Arc::new(mount), state: Asking::Answered },
            };
            self.watched.push(watched);
        }
        for Watched { mount, .. } in before {
            if self.watched.iter().all(|watched| watched.mount.mountpoint != mount.mountpoint) {
                tell(reading(&mount, State::Gone));
            }
        }
    }
}

impl Source for Filesystems {
    /// Emits what has been answered since the last call, and begins a new round when it is time.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let time = clock::unix_ns();
        let mut tell = |reading| emit(Sample { time, reading: sample::Reading::Filesystem(reading) });
        let now = clock::monotonic_ns();
        self.collect(now, &mut tell);
        let mut health = self.end(now);
        if !self.open && self.begun.is_none_or(|begun| now.saturating_sub(begun) >= self.interval_ns) {
            self.begun = Some(now);
            match self.begin(&mut tell) {
                Ok(()) => self.open = true,
                Err(error) => health = Health::Round { ns: 0, result: Err(error) },
            }
        }
        health
    }
}

impl Drop for Filesystems {
    fn drop(&mut self) {
        self.asked.lock().over = true;
        self.asked.changed.notify_all();
    }
}

fn is_asked(questions: &Questions, mount: &Arc<Mount>) -> bool {
    let busy = questions.busy.iter().map(|busy| &busy.mount);
    busy.chain(&questions.waiting).any(|other| Arc::ptr_eq(other, mount))
}

fn reading(mount: &Mount, state: State) -> Reading {
    let Mount { mountpoint, device, fstype, .. } = mount;
    Reading { mountpoint: mountpoint.clone(), device: device.clone(), fstype: fstype.clone(), state }
}

/// One thread: asks one filesystem after the other. One that missed its deadline was replaced, and ends with its answer.
fn work(asked: &Asked, ask: &dyn Fn(&Path) -> io::Result<Values>) {
    let mut questions = asked.lock();
    while !questions.over {
        let Some(mount) = questions.waiting.pop_front() else {
            questions = asked.changed.wait(questions).unwrap_or_else(PoisonError::into_inner);
            continue;
        };
        questions.busy.push(Busy { mount: mount.clone(), since: clock::monotonic_ns(), stuck: false });
        drop(questions);
        let answer = ask(&mount.path);
        questions = asked.lock();
        let place = questions.busy.iter().position(|busy| Arc::ptr_eq(&busy.mount, &mount));
        questions.answered = clock::monotonic_ns();
        let stuck = place.is_some_and(|place| questions.busy.swap_remove(place).stuck);
        questions.answers.push((mount, answer));
        if stuck {
            break;
        }
    }
    questions.threads -= 1;
}

fn ask(path: &Path) -> io::Result<Values> {
    let found = statvfs(path)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let mut values = Values::new();
    values.set(Size, bytes(found.f_blocks));
    values.set(Free, bytes(found.f_bfree));
    values.set(Available, bytes(found.f_bavail));
    // Filesystems without a table of inodes have zero of zero.
    if found.f_files > 0 {
        values.set(Inodes, found.f_files);
        values.set(InodesFree, found.f_ffree);
    }
    values.set(ReadOnly, found.f_flag.contains(StatVfsMountFlags::RDONLY).into());
    Ok(values)
}

#[cfg(test)]
mod tests;
