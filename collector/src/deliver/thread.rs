//! What runs on the delivery thread, which the outbox owns: outcomes are written to the journal, and then queued for each
//! receiver that wants them. Nothing on it blocks: the journal has a thread of its own, and its maintenance runs in this
//! runtime's pool.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};

use super::queue::Message;
use super::receiver::{Incidents, Receiver};
use crate::alert::Alert;
use crate::clock;
use crate::outcome::Outcome;
use crate::sink::journal::thread::{Health, Journal, Past};
use crate::sink::journal::write::Entry;
use crate::sink::journal::{Limits, Progress, tidy};

/// Outcomes that are written in one go.
const BATCH: usize = 256;

/// How long an alert waits for the journal. A disk that hangs is no reason to tell nobody.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long receivers have at shutdown for what is still queued.
const FAREWELL: Duration = Duration::from_secs(2);

/// How often the length of the journal's write-ahead log is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// One in so many checks tidies the whole journal.
const TIDY_EVERY: u32 = 6;

/// Bytes of the journal's write-ahead log that are not worth moving.
const LOG: u64 = 1 << 20;

/// An outcome, published by the agent.
pub struct Published {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    pub outcome: Outcome,
}

/// Writes outcomes down and queues alerts.
pub struct Deliverer {
    pub journal: Journal,
    /// The journal's folder.
    pub dir: PathBuf,
    pub limits: Limits,
    pub receivers: Vec<Arc<Receiver>>,
    pub incidents: Arc<Incidents>,
    /// The largest id given so far.
    pub last: u64,
    /// Where the fold loop takes alerts that fired before the start.
    pub restored: mpsc::Sender<Vec<Alert>>,
    /// The journal has not said yet what it knows of the past.
    pub late: Arc<AtomicBool>,
}

impl Deliverer {
    /// Takes over what the journal knows of the past: at the start, or whenever it comes.
    pub fn restore(&mut self, past: Past) {
        let Past { firing, pending, incidents, last } = past;
        self.last = self.last.max(last);
        self.incidents.restore(incidents);
        for (receiver, pending) in self.receivers.iter().zip(pending) {
            // Before the fold loop can say that one of them is over.
            receiver.restore(&firing);
            for (id, alert) in pending {
                receiver.queue.push(Arc::new(Message { id, alert }));
            }
        }
        // There is room for the only one; the agent may be stopping.
        let _ = self.restored.try_send(firing);
    }

    /// Runs until the outbox is closed; then receivers get a little time for what is queued. `past` is waited for if the
    /// journal was late with it.
    pub async fn run(
        mut self,
        mut published: mpsc::Receiver<Published>,
        past: Option<std::sync::mpsc::Receiver<Option<Past>>>,
    ) {
        let mut past = past.map(|past| spawn_blocking(move || past.iter().flatten().next()));
        let mut check = interval_at(Instant::now() + CHECK_INTERVAL, CHECK_INTERVAL);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut maintenance = Maintenance::new(self.last);
        let mut late = None;
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = published.recv_many(&mut batch, BATCH) => match count {
                    0 => break,
                    _ => self.pass_on(&mut batch, &mut late).await,
                },
                read = async { past.as_mut()?.await.ok().flatten() }, if past.is_some() => {
                    past = None;
                    self.late.store(false, Ordering::Relaxed);
                    if let Some(read) = read {
                        tracing::info!("the journal was read: {} alerts from before the start fire", read.firing.len());
                        maintenance = maintenance.bounded(read.last);
                        self.restore(read);
                    }
                }
                _ = check.tick() => maintenance.start(&self.dir, self.limits, &self.journal.health),
            }
        }
        let deadline = Instant::now() + FAREWELL;
        while self.receivers.iter().any(|receiver| !receiver.queue.is_empty()) && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has them written, then queues them for each receiver. `late` is a write that the journal has not finished yet.
    async fn pass_on(&mut self, batch: &mut Vec<Published>, late: &mut Option<oneshot::Receiver<()>>) {
        let mut entries = Vec::with_capacity(batch.len());
        let mut alerts = Vec::new();
        for Published { time, outcome } in batch.drain(..) {
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

/// The id after this one; see [`journal`](crate::sink::journal).
fn next(last: u64, now_ns: u64) -> u64 {
    (last + 1).max(now_ns / 1000)
}

/// Keeps the journal within its bounds.
struct Maintenance {
    begun: Instant,
    /// The time at `begun`, in microseconds since the Unix epoch.
    base: u64,
    turn: u32,
    running: Option<JoinHandle<()>>,
}

impl Maintenance {
    fn new(last: u64) -> Maintenance {
        Maintenance { begun: Instant::now(), base: clock::unix_ns() / 1000, turn: TIDY_EVERY - 1, running: None }
            .bounded(last)
    }

    /// A clock that was wrong, once, takes no more of the journal than a fortnight's worth.
    fn bounded(mut self, last: u64) -> Maintenance {
        const FORTNIGHT: u64 = 14 * 24 * 3600 * 1_000_000;
        if last > 0 {
            self.base = self.base.min(last.saturating_add(FORTNIGHT));
        }
        self
    }

    fn start(&mut self, dir: &Path, limits: Limits, health: &Arc<Health>) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        self.turn = (self.turn + 1) % TIDY_EVERY;
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
        assert!(Maintenance::new(0).base >= now && Maintenance::new(now).base >= now);
        let year = 365 * 24 * 3600 * 1_000_000;
        assert!(Maintenance::new(now - year).base < now - year / 2);
        assert!(Maintenance::new(now + year).base < now + year / 2, "entries of the future are none of its business");
    }
}
