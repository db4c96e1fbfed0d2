//! The thread that delivers: what the engine tells is written to the journal, and then goes to each receiver that wants it.
//! Everything on it takes turns and none of it blocks: the journal has a thread of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::journal::thread::{Health, Journal};
use super::journal::write::Entry;
use super::journal::{Limits, Progress, tidy};
use super::queue::Message;
use super::receiver::{Incidents, Receiver};
use crate::outcome::Outcome;
use crate::source::clock;

/// Outcomes that are written in one go.
const BATCH: usize = 256;

/// How long an alert waits for the journal. A disk that hangs is no reason to tell nobody.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long receivers have at the end for what still waits.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often the journal's log is looked at, and after how many times it is tidied.
const LOOK: (Duration, u32) = (Duration::from_secs(10), 6);

/// Bytes of the journal's write-ahead log that are not worth moving.
const LOG: u64 = 1 << 20;

/// Something that the engine told.
pub struct Told {
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// What.
    pub outcome: Outcome,
}

/// Who passes on what is told.
pub struct Deliverer {
    /// The journal.
    pub journal: Journal,
    /// Where it is.
    pub dir: PathBuf,
    /// Its bounds.
    pub limits: Limits,
    /// Every receiver.
    pub receivers: Vec<Arc<Receiver>>,
    /// The last incidents.
    pub incidents: Arc<Incidents>,
    /// The largest id that was given.
    pub last: u64,
}

impl Deliverer {
    /// Until nobody has anything to tell any more; then the receivers have a little time.
    pub async fn run(mut self, mut told: mpsc::Receiver<Told>) {
        let mut look = interval_at(Instant::now() + LOOK.0, LOOK.0);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut care = Care::new(self.last);
        let mut late = None;
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = told.recv_many(&mut batch, BATCH) => match count {
                    0 => break,
                    _ => self.pass_on(&mut batch, &mut late).await,
                },
                _ = look.tick() => care.take(&self.dir, self.limits, &self.journal.health),
            }
        }
        let deadline = Instant::now() + FAREWELL;
        while self.receivers.iter().any(|receiver| !receiver.queue.is_empty()) && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has them written, and then gives each receiver what it wants. `late` is what the journal still owes.
    async fn pass_on(&mut self, batch: &mut Vec<Told>, late: &mut Option<oneshot::Receiver<()>>) {
        let mut entries = Vec::with_capacity(batch.len());
        let mut alerts = Vec::new();
        for Told { time, outcome } in batch.drain(..) {
            self.last = next(self.last, clock::unix_ns());
            let id = self.last;
            let mut sinks = Vec::new();
            match &outcome {
                Outcome::Alert(alert) => {
                    let wanting: Vec<_> = self.receivers.iter().filter(|receiver| receiver.wants(alert)).collect();
                    sinks.extend(wanting.iter().map(|receiver| receiver.name.clone()));
                    alerts.push(Arc::new(Message { id, alert: Clone::clone(alert) }));
                }
                Outcome::Incident(incident) => self.incidents.keep(Arc::new(Clone::clone(incident))),
                _ => {}
            }
            entries.push(Entry::Outcome { id, time, outcome: Arc::new(outcome), sinks: sinks.into() });
        }
        let mut written = self.journal.write(entries);
        // While the journal hangs it is not waited for each time anew.
        let hangs = late.as_mut().is_some_and(|late| late.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        if !hangs {
            *late = None;
            if !alerts.is_empty() && timeout(PATIENCE, &mut written).await.is_err() {
                tracing::error!("the journal takes longer than {PATIENCE:?}: alerts are delivered all the same");
                *late = Some(written);
            }
        }
        for message in alerts {
            for receiver in self.receivers.iter().filter(|receiver| receiver.wants(&message.alert)) {
                if let Some(over) = receiver.queue.push(message.clone()) {
                    receiver.record(&self.journal, &[over], Progress::Dropped);
                }
            }
        }
    }
}

/// The id after this one; see [`journal`](super::journal).
fn next(last: u64, now_ns: u64) -> u64 {
    (last + 1).max(now_ns / 1000)
}

/// Keeps the journal within its bounds.
struct Care {
    begun: Instant,
    /// The time at `begun`, in microseconds since the Unix epoch.
    base: u64,
    turn: u32,
    running: Option<JoinHandle<()>>,
}

impl Care {
    fn new(last: u64) -> Care {
        Care { begun: Instant::now(), base: clock::unix_ns() / 1000, turn: LOOK.1 - 1, running: None }.bounded(last)
    }

    /// A clock that was wrong, once, takes no more of the journal than a fortnight's worth.
    fn bounded(mut self, last: u64) -> Care {
        const FORTNIGHT: u64 = 14 * 24 * 3600 * 1_000_000;
        if last > 0 {
            self.base = self.base.min(last.saturating_add(FORTNIGHT));
        }
        self
    }

    fn take(&mut self, dir: &Path, limits: Limits, health: &Arc<Health>) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        self.turn = (self.turn + 1) % LOOK.1;
        let whole = self.turn == 0;
        // By the time that has passed, and not by a clock that somebody may have set.
        let now = self.base + self.begun.elapsed().as_micros() as u64;
        let (dir, health) = (dir.to_owned(), health.clone());
        self.running = Some(spawn_blocking(move || {
            let result = match whole {
                true => tidy::tidy(&dir, &limits, now).map(|removed| {
                    if removed > 0 {
                        tracing::info!("{removed} of the oldest entries of the journal made room");
                    }
                }),
                false => tidy::shorten(&dir, LOG),
            };
            if let Err(error) = result {
                // Whoever writes says so loudly if it matters.
                health.doubt(&error);
                tracing::debug!("the journal is not tidied: {error:#}");
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_whatever_the_clock_does() {
        assert_eq!(next(0, 5_000_000), 5_000);
        assert_eq!(next(5_000, 5_000_999), 5_001);
        assert_eq!(next(5_001, 1_000), 5_002, "the clock was set back");
        assert_eq!(next(5_002, 9_000_000), 9_000);
    }

    #[tokio::test]
    async fn a_clock_that_is_far_ahead_at_the_start_does_not_take_the_whole_journal() {
        let now = clock::unix_ns() / 1000;
        assert!(Care::new(0).base >= now && Care::new(now).base >= now);
        let year = 365 * 24 * 3600 * 1_000_000;
        assert!(Care::new(now - year).base < now - year / 2);
        assert!(Care::new(now + year).base < now + year / 2, "entries of the future are none of its business");
    }
}
