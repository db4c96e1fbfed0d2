//! The thread that reads the memory of watched workloads between ticks. The fold loop waits for so much that waking it ten times a
//! second would cost more than all its ticks. Knows when is read; `sampled.rs` knows of whom, and what for.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector_core::cgroup::Id;

use super::sampled::{Sampled, read};
use crate::clock;
use crate::mutex::lock;

const STACK: usize = 128 * 1024;

/// What is read between ticks, and the thread that does it. Without a thread nothing is.
#[derive(Debug, Default)]
pub struct Sampler(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A workload is watched from now on, or it is the end.
    begins: Condvar,
}

#[derive(Debug, Default)]
struct State {
    sampled: Sampled,
    /// The thread waits for a workload.
    waits: bool,
    ended: bool,
}

impl Sampler {
    /// Starts the thread, unless nothing is to be read between ticks.
    pub fn start(interval: Duration, tick: Duration) -> Result<Sampler> {
        let sampled = Sampled::new(interval, tick);
        let on = sampled.is_on();
        let sampler =
            Sampler(Arc::new(Shared { state: State { sampled, ..State::default() }.into(), ..Shared::default() }));
        if on {
            let shared = sampler.0.clone();
            let builder = thread::Builder::new().name("headroom-sample".to_owned()).stack_size(STACK);
            builder.spawn(move || run(&shared, interval)).context("start the thread that reads between ticks")?;
        }
        Ok(sampler)
    }

    /// Asks and changes what is watched.
    pub fn with<T>(&self, ask: impl FnOnce(&mut Sampled) -> T) -> T {
        ask(&mut lock(&self.0.state).sampled)
    }

    /// After a tick.
    pub fn end(&self) {
        let mut state = lock(&self.0.state);
        state.sampled.end();
        if state.waits && state.sampled.any() {
            state.waits = false;
            self.0.begins.notify_one();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        lock(&self.0.state).ended = true;
        self.0.begins.notify_one();
    }
}

/// Until the end. While the files are read, the fold loop can go on.
fn run(shared: &Shared, interval: Duration) {
    let mut next = Instant::now();
    let mut files: Vec<(Id, Arc<OwnedFd>)> = Vec::new();
    let mut readings: Vec<(Id, Option<u64>)> = Vec::new();
    loop {
        let mut state = lock(&shared.state);
        while !state.sampled.any() && !state.ended {
            state = wait(shared, state);
            next = Instant::now();
        }
        if state.ended {
            return;
        }
        files.extend(state.sampled.files());
        drop(state);
        readings.extend(files.drain(..).map(|(id, file)| (id, read(&file))));
        lock(&shared.state).sampled.take(clock::unix_ns(), &readings);
        readings.clear();
        next += interval;
        match next.checked_duration_since(Instant::now()) {
            Some(left) => thread::sleep(left),
            // It was stopped, or the host was: none of those that were missed comes.
            None => next = Instant::now(),
        }
    }
}

fn wait<'a>(shared: &Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    state.waits = true;
    let mut state = shared.begins.wait(state).unwrap_or_else(PoisonError::into_inner);
    state.waits = false;
    state
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use super::super::sampled::Memory;
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Looks until it holds, for a time after which it will not.
    fn until(holds: impl Fn() -> bool) -> bool {
        (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(5));
            holds()
        })
    }

    #[test]
    fn who_is_watched_is_read_until_it_is_gone_and_the_thread_ends_with_its_owner() {
        let path = std::env::temp_dir().join(format!("headroom-sampler-{}", std::process::id()));
        fs::write(&path, format!("{}\n", 90 * MIB)).unwrap();
        let sampler = Sampler::start(Duration::from_millis(5), Duration::from_secs(1)).unwrap();
        let id = Id { hierarchy: 0, id: 1 };
        let memory = Memory { limit: Some(100 * MIB), before: None, now: Some(90 * MIB) };
        let open = || Some(OwnedFd::from(File::open(&path).unwrap()));
        assert_eq!(sampler.with(|sampled| sampled.tick(id, &None, memory, open)), None);
        sampler.end();
        let readings = || sampler.with(|sampled| sampled.before(id, clock::unix_ns()));
        assert!(until(|| readings().len() > 2), "{:?}", readings());
        assert!(readings().iter().all(|it| it.bytes == 90 * MIB));
        fs::write(&path, "").unwrap();
        assert!(until(|| !sampler.with(|sampled| sampled.any())), "a removed cgroup is not watched any more");
        // It waits for another one.
        fs::write(&path, format!("{}\n", 91 * MIB)).unwrap();
        sampler.with(|sampled| sampled.tick(id, &None, memory, open));
        sampler.end();
        assert!(until(|| readings().len() > 2), "{:?}", readings());
        let shared = sampler.0.clone();
        drop(sampler);
        assert!(until(|| Arc::strong_count(&shared) == 1), "the thread has ended");
        fs::remove_file(path).unwrap();
    }
}
