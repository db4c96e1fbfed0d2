//! Snapshots: read access to the state without a lock. A reader sends a request; the fold loop answers between two samples with
//! a reference to its view, not a copy. Readers within a tick, or within a second of a longer tick, get the same snapshot, so
//! their pages agree, and each page is rendered once.
//!
//! Cost for the fold loop: while a snapshot is held, the next sample that changes the view copies it first, and the fold goes
//! on with the copy. The fold loop drops its own reference when the next round of readings begins, so a tick without readers
//! copies nothing, and a tick with readers copies once at most, or once a second if it is longer.
//!
//! Health and readiness are atomics and never wait.

mod coverage;
mod forecast;
mod history;
mod workload;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use collector_core::api::read::Read;
use collector_core::view::View;
pub use coverage::Host;
use tokio::sync::{mpsc, oneshot};

use crate::clock;
use crate::event::Events;
use crate::exposition::{self, Cap};
use crate::http::{self, Answer, Exposition, Page, Pages, Rendering, Requests, SnapshotFuture};
use crate::mutex::lock;
use crate::source::member::Members;

/// The agent counts as hung when a tick is this many ticks late.
const LATE_TICKS: u64 = 10;

/// How long a snapshot may be used, in nanoseconds. A kill or a pressure event must not wait for the end of a long tick.
const FRESH_NS: u64 = 1_000_000_000;

/// How long the first readings may take before the agent counts as hung, in nanoseconds.
const START_NS: u64 = 60_000_000_000;

/// Requests that may wait in the channel; further ones wait before it.
const ASKS: usize = 64;

/// A request for a fresh snapshot.
pub type Ask = oneshot::Sender<Arc<Snapshot>>;

/// The state at the first request within a tick, or within a second of a longer tick.
pub struct Snapshot {
    /// Tick number, counted from the start.
    pub tick: u64,
    pub view: Arc<View>,
    /// Until when it may be used (CLOCK_MONOTONIC, in nanoseconds).
    until: u64,
    pages: Arc<Pages>,
    beside: Arc<Beside>,
}

/// What pages need besides the view.
#[derive(Debug)]
pub struct Beside {
    /// The bound on what one exposition may hold.
    pub cap: Cap,
    /// Left-out series since the counter was last read.
    pub left_out: Arc<AtomicU64>,
    /// The folder of the history's tier on disk, if there is one.
    pub history: Option<PathBuf>,
    pub members: Arc<Members>,
    pub host: Arc<Host>,
}

#[cfg(test)]
impl Default for Beside {
    fn default() -> Beside {
        Beside {
            cap: Cap::NONE,
            left_out: Arc::default(),
            history: None,
            members: Arc::default(),
            host: Arc::default(),
        }
    }
}

/// Progress of the fold loop, readable without a request.
struct Pulse {
    /// Ticks so far.
    tick: AtomicU64,
    /// When the last tick ended, or the agent started (CLOCK_MONOTONIC, in nanoseconds).
    ended: AtomicU64,
}

/// The fold loop's end.
pub struct Publisher {
    current: Option<Arc<Snapshot>>,
    fresh_ns: u64,
    pulse: Arc<Pulse>,
    beside: Arc<Beside>,
}

/// The readers' end.
pub struct Snapshots {
    asks: mpsc::Sender<Ask>,
    /// The latest snapshot. Weak: only the fold loop and rendering keep it alive.
    latest: Mutex<Weak<Snapshot>>,
    pulse: Arc<Pulse>,
    tick_ns: u64,
    pub events: Arc<Events>,
    pub requests: Option<Arc<dyn Requests>>,
    /// Whose members see what belongs to others.
    pub group: Option<u32>,
}

/// Both ends and the channel of requests.
pub fn channel(tick_ns: u64, beside: Beside) -> (Publisher, mpsc::Receiver<Ask>, Snapshots) {
    let (sender, asks) = mpsc::channel(ASKS);
    let pulse = Arc::new(Pulse { tick: AtomicU64::new(0), ended: AtomicU64::new(clock::monotonic_ns()) });
    let beside = Arc::new(beside);
    let publisher = Publisher { current: None, fresh_ns: FRESH_NS, pulse: pulse.clone(), beside };
    (
        publisher,
        asks,
        Snapshots {
            asks: sender,
            latest: Mutex::default(),
            pulse,
            tick_ns,
            events: Arc::default(),
            requests: None,
            group: None,
        },
    )
}

impl Publisher {
    /// Drops the snapshot of the last tick.
    pub fn release(&mut self) {
        self.current = None;
    }

    /// Ends a tick.
    pub fn ticked(&mut self) {
        self.release();
        self.pulse.ended.store(clock::monotonic_ns(), Ordering::Relaxed);
        self.pulse.tick.fetch_add(1, Ordering::Release);
    }

    /// Answers with the snapshot of this tick while it is fresh; else creates one from `view`.
    pub fn answer(&mut self, ask: Ask, view: &Arc<View>) {
        let now = clock::monotonic_ns();
        self.current.take_if(|snapshot| now >= snapshot.until);
        let snapshot = self.current.get_or_insert_with(|| {
            Arc::new(Snapshot {
                tick: self.pulse.tick.load(Ordering::Relaxed),
                view: view.clone(),
                until: now.saturating_add(self.fresh_ns),
                pages: Arc::default(),
                beside: self.beside.clone(),
            })
        });
        // The client may have disconnected.
        let _ = ask.send(snapshot.clone());
    }
}

impl Snapshots {
    /// The snapshot of the current tick while it is fresh, or a new one. None after the fold loop has ended.
    pub async fn current(&self) -> Option<Arc<Snapshot>> {
        let tick = self.pulse.tick.load(Ordering::Acquire);
        let latest = self.latest().upgrade();
        if let Some(snapshot) =
            latest.filter(|snapshot| snapshot.tick == tick && clock::monotonic_ns() < snapshot.until)
        {
            return Some(snapshot);
        }
        let (ask, answer) = oneshot::channel();
        self.asks.send(ask).await.ok()?;
        let snapshot = answer.await.ok()?;
        *self.latest() = Arc::downgrade(&snapshot);
        Some(snapshot)
    }

    fn latest(&self) -> MutexGuard<'_, Weak<Snapshot>> {
        lock(&self.latest)
    }
}

impl Exposition for Snapshots {
    fn snapshot(&self) -> SnapshotFuture<'_> {
        Box::pin(async { Some(self.current().await? as Arc<dyn http::Snapshot>) })
    }

    fn events(&self) -> Option<Arc<Events>> {
        Some(self.events.clone())
    }

    fn requests(&self) -> Option<Arc<dyn Requests>> {
        self.requests.clone()
    }

    fn group(&self) -> Option<u32> {
        self.group
    }

    fn ready(&self) -> Result<(), String> {
        match self.pulse.tick.load(Ordering::Relaxed) {
            0 => Err("the first readings are not complete yet".to_owned()),
            _ => Ok(()),
        }
    }

    fn healthy(&self) -> Result<(), String> {
        let late = clock::monotonic_ns().saturating_sub(self.pulse.ended.load(Ordering::Relaxed));
        let seconds = late / 1_000_000_000;
        let limit = LATE_TICKS * self.tick_ns;
        match self.pulse.tick.load(Ordering::Relaxed) {
            0 if late > limit.max(START_NS) => {
                Err(format!("the agent hangs: its first readings began {seconds} s ago"))
            }
            1.. if late > limit => Err(format!("the agent hangs: its last readings ended {seconds} s ago")),
            _ => Ok(()),
        }
    }
}

impl http::Snapshot for Snapshot {
    fn render(&self, page: &Page) -> Rendering {
        match page {
            Page::Metrics(format) => {
                let exposition::Exposition { text, left_out } =
                    exposition::render(&self.view, *format, self.beside.cap);
                self.beside.left_out.fetch_add(left_out, Ordering::Relaxed);
                Answer::ok(text).into()
            }
            Page::Api(Read::Coverage) => coverage::render(&self.view, &self.beside.host),
            Page::Api(Read::Workload(name)) => workload::render(&self.view, name, &self.beside.members),
            Page::Api(Read::History(query)) => history::render(&self.view, query, self.beside.history.as_deref()),
            Page::Api(Read::Forecast(query)) => forecast::render(&self.view, query, self.beside.history.as_deref()),
            Page::Api(read) => read.answer(&self.view).map_or_else(Answer::from, Answer::ok).into(),
        }
    }

    fn pages(&self) -> &Arc<Pages> {
        &self.pages
    }
}

#[cfg(test)]
mod tests;
