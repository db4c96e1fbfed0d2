//! The delivery thread, owned by the outbox: writes outcomes to the journal, then queues alerts for each receiver. Nothing here
//! blocks: the journal has its own thread, and its maintenance runs in this runtime's blocking pool.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use collector_core::alert::Alert;
use collector_core::incident::Incident;
use collector_core::lease::Notice;
use collector_core::outcome::Outcome;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::queue::Message;
use super::receiver::{Incidents, Receiver};
use crate::clock;
use crate::event::Events;
use crate::sink::journal::thread::{Health, Journal, Past};
use crate::sink::journal::write::Entry;
use crate::sink::journal::{Limits, Progress, tidy};

/// Maximum outcomes in one write to the journal.
const BATCH: usize = 256;

/// How long an alert waits for the journal. A hung disk must not stop alerts.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(1);

/// How long shutdown waits for queued alerts to be delivered.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Interval of checking the size of the journal's write-ahead log, while something is written.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// Every so many checks, the whole journal is tidied.
const TIDY_EVERY: u32 = 6;

/// A journal to which nothing was written since is tidied so often: its entries grow too old.
const IDLE_INTERVAL: Duration = Duration::from_secs(600);

/// The write-ahead log is checkpointed from this size in bytes.
const MIN_LOG: u64 = 1 << 20;

/// An outcome published by the agent.
pub struct Published {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    pub outcome: Outcome,
}

/// What the journal has from before the start.
#[derive(Debug, Default)]
pub struct Restored {
    /// The alerts that fired.
    pub alerts: Vec<Alert>,
    /// The newest last.
    pub incidents: Vec<Incident>,
}

pub struct Deliverer {
    pub journal: Journal,
    pub dir: PathBuf,
    pub limits: Limits,
    pub receivers: Vec<Arc<Receiver>>,
    pub incidents: Arc<Incidents>,
    pub events: Arc<Events>,
    /// The largest id assigned so far.
    pub last: u64,
    /// Sends the fold loop what was before the start.
    pub restored: mpsc::Sender<Restored>,
}

impl Deliverer {
    /// Restores alerts and incidents from the journal: at the start, or later if the journal is slow.
    pub fn restore(&mut self, past: Past) {
        let Past { firing, pending, incidents, last } = past;
        self.last = self.last.max(last);
        self.events.begin(last);
        self.incidents.restore(incidents.clone());
        for (receiver, pending) in self.receivers.iter().zip(pending) {
            // Before the fold loop can resolve one of them.
            receiver.restore(&firing);
            // Before what came meanwhile: a newer state of an alert must be delivered after an older one.
            let pending = pending.into_iter().map(|(id, alert)| Arc::new(Message { id, alert })).collect();
            let over = receiver.queue.restore(pending);
            if !over.is_empty() {
                receiver.record(&self.journal, &over, Progress::Dropped);
            }
        }
        // Sent once, so there is room; fails only if the agent is stopping.
        let _ = self.restored.try_send(Restored { alerts: firing, incidents });
    }

    /// Runs until the outbox is closed, then gives receivers [`SHUTDOWN_TIMEOUT`] for queued alerts. `past` is the pending read
    /// of a slow journal.
    pub async fn run(
        mut self,
        mut published: mpsc::Receiver<Published>,
        past: Option<std::sync::mpsc::Receiver<Option<Past>>>,
    ) {
        let mut past = past.map(|past| spawn_blocking(move || past.iter().flatten().next()));
        let mut maintenance = Maintenance::new(self.last);
        let mut late = None;
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = published.recv_many(&mut batch, BATCH) => match count {
                    0 => break,
                    _ => {
                        self.pass_on(&mut batch, &mut late).await;
                        maintenance.wrote(Instant::now());
                    }
                },
                read = async { past.as_mut()?.await.ok().flatten() }, if past.is_some() => {
                    past = None;
                    if let Some(read) = read {
                        tracing::info!("the journal has been read: {} alerts fired before the start", read.firing.len());
                        maintenance = maintenance.bounded(read.last);
                        self.restore(read);
                    }
                }
                () = sleep_until(maintenance.next) => {
                    maintenance.start(&self.dir, self.limits, &self.journal.health);
                }
            }
        }
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        while self.receivers.iter().any(|receiver| !receiver.queue.is_empty()) && Instant::now() < deadline {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Writes outcomes, then queues alerts for each receiver. `late` is an unfinished write of a hung journal.
    async fn pass_on(&mut self, batch: &mut Vec<Published>, late: &mut Option<oneshot::Receiver<()>>) {
        let mut entries = Vec::with_capacity(batch.len());
        let mut alerts = Vec::new();
        for Published { time, outcome } in batch.drain(..) {
            self.last = next(self.last, clock::unix_ns());
            let id = self.last;
            self.events.add(id, &outcome);
            if let Outcome::Lease(change) = &outcome
                && let Some(notice) = Notice::of(change)
            {
                self.tell(&notice);
            }
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
        // While the journal hangs, do not wait again for every batch.
        let hangs = late.as_mut().is_some_and(|late| late.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        if !hangs {
            *late = None;
            if !alerts.is_empty() && timeout(JOURNAL_TIMEOUT, &mut written).await.is_err() {
                tracing::error!(
                    "writing the journal takes longer than {JOURNAL_TIMEOUT:?}: alerts are delivered without waiting for it"
                );
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

impl Deliverer {
    fn tell(&self, notice: &Notice) {
        for receiver in &self.receivers {
            receiver.evictions.iter().for_each(|evictions| evictions.push(notice.clone(), &receiver.queue));
        }
    }
}

/// The next id; see [`journal`](crate::sink::journal).
fn next(last: u64, now_ns: u64) -> u64 {
    (last + 1).max(now_ns / 1000)
}

/// Keeps the journal within its limits.
struct Maintenance {
    started: Instant,
    /// The time at `started`, in microseconds since the Unix epoch.
    base: u64,
    turn: u32,
    /// Something was written since the whole journal was tidied.
    written: bool,
    next: Instant,
    running: Option<JoinHandle<()>>,
}

impl Maintenance {
    fn new(last: u64) -> Maintenance {
        let (now, base) = (Instant::now(), clock::unix_ns() / 1000);
        let (turn, next) = (TIDY_EVERY - 1, now + CHECK_INTERVAL);
        Maintenance { started: now, base, turn, written: true, next, running: None }.bounded(last)
    }

    /// Limits the damage of a wrong clock at the start: the time may be two weeks after the last entry at most.
    fn bounded(mut self, last: u64) -> Maintenance {
        const FORTNIGHT: u64 = 14 * 24 * 3600 * 1_000_000;
        if last > 0 {
            self.base = self.base.min(last.saturating_add(FORTNIGHT));
        }
        self
    }

    /// Something was written. What receivers did with it follows soon, and is written, too.
    fn wrote(&mut self, now: Instant) {
        self.written = true;
        self.next = self.next.min(now + CHECK_INTERVAL);
    }

    /// Begins a turn: whether the whole journal is to be tidied in it.
    fn turn(&mut self, now: Instant) -> bool {
        self.turn = if self.written { (self.turn + 1) % TIDY_EVERY } else { 0 };
        let whole = self.turn == 0;
        self.written &= !whole;
        self.next = now + if self.written { CHECK_INTERVAL } else { IDLE_INTERVAL };
        whole
    }

    fn start(&mut self, dir: &Path, limits: Limits, health: &Arc<Health>) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            self.next = Instant::now() + CHECK_INTERVAL;
            return;
        }
        let whole = self.turn(Instant::now());
        // Use elapsed time, because the wall clock may be set.
        let now = self.base + self.started.elapsed().as_micros() as u64;
        let (dir, health) = (dir.to_owned(), health.clone());
        self.running = Some(spawn_blocking(move || {
            let result = match whole {
                true => tidy::tidy(&dir, &limits, now).map(|removed| {
                    if removed > 0 {
                        tracing::info!(
                            "removed the {removed} oldest entries to keep the journal below journal.max_bytes"
                        );
                    }
                }),
                false => tidy::shorten(&dir, MIN_LOG),
            };
            if let Err(error) = result {
                // The writer logs an error if writing fails, too.
                health.doubt(&error);
                tracing::debug!("cannot tidy the journal: {error:#}");
            }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_even_if_the_clock_goes_back() {
        assert_eq!(next(0, 5_000_000), 5_000);
        assert_eq!(next(5_000, 5_000_999), 5_001);
        assert_eq!(next(5_001, 1_000), 5_002, "the clock was set back");
        assert_eq!(next(5_002, 9_000_000), 9_000);
    }

    #[tokio::test]
    async fn a_journal_to_which_nothing_is_written_is_left_alone_for_long() {
        let mut maintenance = Maintenance::new(0);
        let begun = maintenance.started;
        // The seconds at which there is a turn until then, and whether it is for the whole journal.
        let turns = |maintenance: &mut Maintenance, until: u64| {
            let mut turns = Vec::new();
            while maintenance.next <= begun + Duration::from_secs(until) {
                let now = maintenance.next;
                turns.push(((now - begun).as_secs(), maintenance.turn(now)));
            }
            turns
        };
        assert_eq!(turns(&mut maintenance, 1300), [(10, true), (610, true), (1210, true)]);
        maintenance.wrote(begun + Duration::from_secs(1300));
        let written = [(1310, false), (1320, false), (1330, false), (1340, false), (1350, false), (1360, true)];
        assert_eq!(turns(&mut maintenance, 1959), written, "so often that the log stays short");
        maintenance.wrote(begun + Duration::from_secs(1959));
        assert_eq!(turns(&mut maintenance, 1960), [(1960, false)], "it is not later for that");
    }

    #[tokio::test]
    async fn a_clock_far_ahead_at_the_start_does_not_empty_the_journal() {
        let now = clock::unix_ns() / 1000;
        assert!(Maintenance::new(0).base >= now && Maintenance::new(now).base >= now);
        let year = 365 * 24 * 3600 * 1_000_000;
        assert!(Maintenance::new(now - year).base < now - year / 2);
        assert!(Maintenance::new(now + year).base < now + year / 2, "entries from the future do not matter");
    }
}
