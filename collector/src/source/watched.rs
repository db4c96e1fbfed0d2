//! Workloads that a thread reads in rounds while the view watches them: who they are, what was found, and when the next round is. Knows
//! neither why they are watched nor what is read of them.

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector_core::sample::{Reading, Sample};

use super::{Health, Source};
use crate::clock;
use crate::mutex::lock;

const STACK: usize = 256 * 1024;

/// Which workloads are watched, and what was read of them. Shared with the fold loop, which says who they are.
#[derive(Debug)]
pub struct Watched<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    /// The number that the view had when it last said who they are.
    number: u64,
    /// Paths of their own cgroups.
    tops: Arc<[Arc<str>]>,
    found: Vec<T>,
    round: Option<Duration>,
    ended: bool,
}

/// When the next round is.
#[derive(Clone, Copy)]
pub(super) struct Pace {
    pub interval: Duration,
    /// After a round the thread rests for at least so many times as long as it took.
    pub rest: u32,
    /// Whether the next round begins at once when others are watched.
    pub at_once: bool,
}

impl<T> Default for Watched<T> {
    fn default() -> Watched<T> {
        let state = State { number: 0, tops: Arc::default(), found: Vec::new(), round: None, ended: false };
        Watched { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> Watched<T> {
    /// Who they are; asked only if the number is not the one before.
    pub fn set(&self, number: u64, tops: impl FnOnce() -> Vec<Arc<str>>) {
        let mut state = lock(&self.state);
        if state.number != number {
            (state.number, state.tops) = (number, tops().into());
            self.changed.notify_all();
        }
    }

    /// Reads all of them, again and again; sleeps while there are none. `read` gets their paths.
    fn run(&self, pace: Pace, mut read: impl FnMut(&[Arc<str>]) -> Vec<T>) {
        loop {
            let (tops, number) = {
                let mut state = lock(&self.state);
                while state.tops.is_empty() && !state.ended {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.ended {
                    return;
                }
                (state.tops.clone(), state.number)
            };
            let begun = Instant::now();
            let found = read(&tops);
            let took = begun.elapsed();
            let mut state = lock(&self.state);
            (state.found, state.round) = (found, Some(took));
            let rest = pace.interval.saturating_sub(took).max(took * pace.rest);
            let rests = |state: &mut State<T>| !(state.ended || pace.at_once && state.number != number);
            drop(self.changed.wait_timeout_while(state, rest, rests).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// The source: what the thread found. The thread ends with it.
pub struct Rounds<T> {
    watched: Arc<Watched<T>>,
    reading: fn(T) -> Reading,
}

impl<T: Send + fmt::Debug + 'static> Rounds<T> {
    /// Starts the thread `name`.
    pub(super) fn start(
        name: &str,
        watched: &Arc<Watched<T>>,
        pace: Pace,
        reading: fn(T) -> Reading,
        read: impl FnMut(&[Arc<str>]) -> Vec<T> + Send + 'static,
    ) -> Result<Rounds<T>> {
        let (mine, thread) = (watched.clone(), std::thread::Builder::new().name(name.to_owned()));
        let spawned = thread.stack_size(STACK).spawn(move || mine.run(pace, read));
        spawned.with_context(|| format!("start the thread {name}"))?;
        Ok(Rounds { watched: watched.clone(), reading })
    }
}

impl<T> Drop for Rounds<T> {
    fn drop(&mut self) {
        lock(&self.watched.state).ended = true;
        self.watched.changed.notify_all();
    }
}

impl<T> Source for Rounds<T> {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let (found, round) = {
            let mut state = lock(&self.watched.state);
            (std::mem::take(&mut state.found), state.round.take())
        };
        let time = clock::unix_ns();
        found.into_iter().for_each(|found| emit(Sample { time, reading: (self.reading)(found) }));
        match round {
            Some(round) => Health::Round { ns: round.as_nanos() as u64, result: Ok(()) },
            None => Health::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use collector_core::cgroup::Id;
    use collector_core::statistic::contention;

    use super::*;

    fn reading(of: &str) -> contention::Reading {
        let id = of.len() as u64;
        let (values, nodes) = (contention::Values::new(), Arc::default());
        contention::Reading { cgroup: Id { hierarchy: 0, id }, values, nodes, interval: 1 }
    }

    /// Reads the source until this many were found.
    fn found(source: &mut Rounds<contention::Reading>, many: usize) -> Vec<u64> {
        let mut found = Vec::new();
        let begun = Instant::now();
        while found.len() < many {
            source.read(&mut |sample| {
                if let Reading::Contention(reading) = sample.reading {
                    found.push(reading.cgroup.id);
                }
            });
            assert!(begun.elapsed() < Duration::from_secs(60), "{found:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        found
    }

    fn start(pace: Pace) -> (Arc<Watched<contention::Reading>>, Rounds<contention::Reading>) {
        let watched: Arc<Watched<contention::Reading>> = Arc::default();
        let read = |tops: &[Arc<str>]| tops.iter().map(|top| reading(top)).collect();
        let source = Rounds::start("test", &watched, pace, Reading::Contention, read).unwrap();
        (watched, source)
    }

    #[test]
    fn whoever_is_watched_is_read_again_and_again_and_nobody_else() {
        let pace = Pace { interval: Duration::from_millis(5), rest: 1, at_once: false };
        let (watched, mut source) = start(pace);
        assert!(matches!(source.read(&mut |_| panic!("nobody is watched")), Health::Silent));
        watched.set(1, || vec!["/a".into(), "/bc".into()]);
        assert_eq!(found(&mut source, 4), [2, 3, 2, 3]);
        watched.set(1, || panic!("the same number: nobody is asked"));
        // The thread holds one, too, until it ends.
        drop(source);
        let begun = Instant::now();
        while Arc::strong_count(&watched) > 1 {
            assert!(begun.elapsed() < Duration::from_secs(60), "the thread goes on");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn who_is_new_may_end_the_rest() {
        let pace = Pace { interval: Duration::from_secs(1000), rest: 1, at_once: true };
        let (watched, mut source) = start(pace);
        watched.set(1, || vec!["/a".into()]);
        assert_eq!(found(&mut source, 1), [2]);
        watched.set(2, || vec!["/bc".into()]);
        assert_eq!(found(&mut source, 1), [3]);
    }
}
