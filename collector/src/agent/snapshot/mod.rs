//! Snapshots: how others read the state without a lock on it. Whoever wants to read asks; the fold loop answers between two
//! samples with a share of its view, never a copy. All that ask in one tick get the same snapshot, so that all they show
//! agrees, and what is rendered from it is rendered once.
//!
//! What it costs the fold loop: while a snapshot is held, the next sample that changes the view makes a copy of the view
//! first, and the fold goes on with that. The fold loop lets its own share go when the next round of readings begins, so a
//! tick in which nobody asked copies nothing, and one in which somebody did copies once at most.
//!
//! Health and readiness are atomics: who asks for these waits for nobody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use crate::api::workloads::Summary;
use crate::clock;
use crate::exposition;
use crate::http::{self, Exposition, Page, Pages, SnapshotFuture};
use crate::view::View;

/// A tick that is this many ticks late means that the agent hangs.
const LATE_TICKS: u64 = 10;

/// Asks that may wait for the fold loop. One more waits before the channel.
const ASKS: usize = 64;

/// A request for the snapshot of the current tick.
pub type Ask = oneshot::Sender<Arc<Snapshot>>;

/// The state as it was when it was first asked for in a tick.
pub struct Snapshot {
    /// Number of the tick, counted from the start: its version.
    pub tick: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    pub view: Arc<View>,
    pages: Arc<Pages>,
    series: Arc<Series>,
}

/// The bound on what one exposition may hold.
struct Series {
    max: usize,
    /// Series that expositions left out since somebody last looked.
    left_out: Arc<AtomicU64>,
}

/// What the fold loop says of itself without being asked.
#[derive(Default)]
struct Pulse {
    /// Ticks so far.
    tick: AtomicU64,
    /// When the last one was over (CLOCK_MONOTONIC); zero before the first.
    ended: AtomicU64,
}

/// The fold loop's end.
pub struct Publisher {
    current: Option<Arc<Snapshot>>,
    pulse: Arc<Pulse>,
    series: Arc<Series>,
}

/// The readers' end.
pub struct Snapshots {
    asks: mpsc::Sender<Ask>,
    /// The last one that came back: held by the fold loop and by who renders, not from here.
    latest: Mutex<Weak<Snapshot>>,
    pulse: Arc<Pulse>,
    tick_ns: u64,
}

/// Both ends, and where asks arrive. `max_series` bounds an exposition; what it leaves out is added to `left_out`.
pub fn channel(
    tick_ns: u64,
    max_series: usize,
    left_out: Arc<AtomicU64>,
) -> (Publisher, mpsc::Receiver<Ask>, Snapshots) {
    let (sender, asks) = mpsc::channel(ASKS);
    let pulse = Arc::<Pulse>::default();
    let series = Arc::new(Series { max: max_series, left_out });
    let publisher = Publisher { current: None, pulse: pulse.clone(), series };
    (publisher, asks, Snapshots { asks: sender, latest: Mutex::default(), pulse, tick_ns })
}

impl Publisher {
    /// Lets the snapshot of the last tick go.
    pub fn release(&mut self) {
        self.current = None;
    }

    /// A tick is over.
    pub fn ticked(&mut self) {
        self.release();
        self.pulse.ended.store(clock::monotonic_ns(), Ordering::Relaxed);
        self.pulse.tick.fetch_add(1, Ordering::Release);
    }

    /// Answers with the snapshot of this tick, the first time with a share of `view`.
    pub fn answer(&mut self, ask: Ask, view: &Arc<View>) {
        let snapshot = self.current.get_or_insert_with(|| {
            Arc::new(Snapshot {
                tick: self.pulse.tick.load(Ordering::Relaxed),
                time: view.time,
                view: view.clone(),
                pages: Arc::default(),
                series: self.series.clone(),
            })
        });
        // Who asked may have left.
        let _ = ask.send(snapshot.clone());
    }
}

impl Snapshots {
    /// The snapshot of the current tick. None once the fold loop has ended.
    pub async fn current(&self) -> Option<Arc<Snapshot>> {
        let tick = self.pulse.tick.load(Ordering::Acquire);
        let latest = self.latest().upgrade();
        if let Some(snapshot) = latest.filter(|snapshot| snapshot.tick == tick) {
            return Some(snapshot);
        }
        let (ask, answer) = oneshot::channel();
        self.asks.send(ask).await.ok()?;
        let snapshot = answer.await.ok()?;
        *self.latest() = Arc::downgrade(&snapshot);
        Some(snapshot)
    }

    fn latest(&self) -> MutexGuard<'_, Weak<Snapshot>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exposition for Snapshots {
    fn snapshot(&self) -> SnapshotFuture<'_> {
        Box::pin(async { Some(self.current().await? as Arc<dyn http::Snapshot>) })
    }

    fn ready(&self) -> Result<(), String> {
        match self.pulse.tick.load(Ordering::Relaxed) {
            0 => Err("the first round of readings is not complete yet".to_owned()),
            _ => Ok(()),
        }
    }

    fn healthy(&self) -> Result<(), String> {
        let ended = self.pulse.ended.load(Ordering::Relaxed);
        let late = clock::monotonic_ns().saturating_sub(ended);
        if ended != 0 && late > LATE_TICKS * self.tick_ns {
            return Err(format!("the last round of readings was {} s ago", late / 1_000_000_000));
        }
        Ok(())
    }
}

impl http::Snapshot for Snapshot {
    fn render(&self, page: Page) -> Bytes {
        match page {
            Page::Metrics(format) => {
                let exposition::Exposition { text, left_out } = exposition::render(&self.view, format, self.series.max);
                self.series.left_out.fetch_add(left_out, Ordering::Relaxed);
                text.into()
            }
            // A map of strings and numbers: it can be written.
            Page::Workloads => serde_json::to_vec(&Summary::of(&self.view)).unwrap_or_default().into(),
        }
    }

    fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }
}

#[cfg(test)]
mod tests;
