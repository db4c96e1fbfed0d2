//! The thread that writes the journal, which this file starts and owns: it may have to wait for the disk, and nobody else
//! should. What cannot be written is kept for later if it is an alert or an incident, up to a bound; the rest is counted
//! as lost.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::file::{FILE, Limits, is_beyond_use, open};
use super::read::Reader;
use super::tidy;
use super::write::{Entry, append};
use crate::alert::Alert;
use crate::clock;
use crate::incident::Incident;

/// Requests that may wait.
const QUEUE: usize = 256;

/// Entries that are kept until the journal can be written again.
const BACKLOG: usize = 1000;

/// How long after a failure the journal is tried again without a new entry.
const RETRY: Duration = Duration::from_secs(5);

/// What the journal knew when the agent started.
#[derive(Debug, Default)]
pub struct Past {
    /// The alerts that fire.
    pub firing: Vec<Alert>,
    /// The alerts that are on their way to each receiver, in the order of the receivers that were asked for.
    pub pending: Vec<Vec<(u64, Alert)>>,
    /// The last incidents, the newest last.
    pub incidents: Vec<Incident>,
    /// The largest id that was ever given.
    pub last: u64,
}

/// How much of the past to read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The receivers that there are.
    pub sinks: Vec<Arc<str>>,
    /// Pending alerts of each, the newest.
    pub pending: usize,
    /// Incidents, the newest.
    pub incidents: usize,
}

/// State of the journal, for metrics.
#[derive(Debug, Default)]
pub struct Health {
    /// Whether the last attempt to write failed.
    pub failing: AtomicBool,
    /// How long it took, in nanoseconds.
    pub ns: AtomicU64,
    /// Entries that were lost.
    pub lost: Arc<AtomicU64>,
    /// Somebody else found the file broken.
    doubtful: AtomicBool,
}

impl Health {
    /// Has the file looked at as a whole, if this is what becomes of one that is broken. Who writes may not notice for long:
    /// what it wrote last it need not read.
    pub fn doubt(&self, error: &anyhow::Error) {
        if is_beyond_use(error) {
            self.doubtful.store(true, Ordering::Relaxed);
        }
    }
}

/// Handle of the thread. When the last one is dropped, the thread writes what it has and ends.
#[derive(Clone)]
pub struct Journal {
    requests: SyncSender<Request>,
    /// Its state.
    pub health: Arc<Health>,
}

/// The thread, freshly started.
pub struct Started {
    /// Where entries go.
    pub journal: Journal,
    /// What the journal says of the past comes here once it could be read; before that, None if it could not at once.
    pub past: Receiver<Option<Past>>,
    /// Is hung up when the thread has written all it was given.
    pub ended: Receiver<()>,
}

struct Request {
    entries: Vec<Entry>,
    done: oneshot::Sender<()>,
}

impl Journal {
    /// Starts the thread.
    pub fn start(dir: PathBuf, limits: Limits, wanted: Wanted) -> Result<Started> {
        let (requests, received) = mpsc::sync_channel(QUEUE);
        // Room for both: this thread waits for nobody.
        let (tell, past) = mpsc::sync_channel(2);
        let (end, ended) = mpsc::sync_channel(0);
        let health = Arc::new(Health::default());
        let mut writer = Writer {
            dir,
            limits,
            health: health.clone(),
            unread: Some((wanted, tell.clone())),
            connection: None,
            again: None,
            backlog: VecDeque::new(),
        };
        let run = move || {
            if let Err(error) = writer.open() {
                writer.failed(&error);
                // Who waits for the past need not wait on.
                let _ = tell.send(None);
            }
            drop(tell);
            writer.run(&received);
            drop(end);
        };
        std::thread::Builder::new().name("journal".into()).spawn(run).context("start the journal's thread")?;
        Ok(Started { journal: Journal { requests, health }, past, ended })
    }

    /// Hands entries over, never waiting. The receiver resolves when they are written, or cannot be.
    pub fn write(&self, entries: Vec<Entry>) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        let count = entries.len() as u64;
        if self.requests.try_send(Request { entries, done }).is_err() {
            self.health.lost.fetch_add(count, Ordering::Relaxed);
        }
        told
    }
}

struct Writer {
    dir: PathBuf,
    limits: Limits,
    health: Arc<Health>,
    /// How much of the past is wanted and who wants it, until it was read.
    unread: Option<(Wanted, SyncSender<Option<Past>>)>,
    connection: Option<Connection>,
    /// When the journal, out of reach, is opened again.
    again: Option<Instant>,
    backlog: VecDeque<Entry>,
}

impl Writer {
    fn run(&mut self, requests: &Receiver<Request>) {
        loop {
            match requests.recv_timeout(RETRY) {
                Ok(Request { entries, done }) => {
                    self.backlog.extend(entries);
                    self.write();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) if self.backlog.is_empty() && self.connection.is_some() => {}
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if !self.backlog.is_empty() {
            self.write();
        }
    }

    /// Writes what is there. What remains for a retry is essential, and bounded.
    fn write(&mut self) {
        let begun = clock::monotonic_ns();
        match self.attempt() {
            Ok(true) => {
                self.backlog.clear();
                self.health.ns.store(clock::monotonic_ns().saturating_sub(begun), Ordering::Relaxed);
                if self.health.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("the journal is written again");
                }
            }
            Ok(false) => {}
            Err(error) => self.failed(&error),
        }
        let before = self.backlog.len();
        self.backlog.retain(Entry::is_essential);
        let over = self.backlog.len().saturating_sub(BACKLOG);
        self.backlog.drain(..over);
        self.health.lost.fetch_add((before - self.backlog.len()) as u64, Ordering::Relaxed);
    }

    fn failed(&mut self, error: &anyhow::Error) {
        self.again = Some(Instant::now() + RETRY);
        if !self.health.failing.swap(true, Ordering::Relaxed) {
            tracing::error!("the journal cannot be written, alerts are delivered all the same: {error:#}");
        }
    }

    /// `false` if it is too early for another attempt.
    fn attempt(&mut self) -> Result<bool> {
        // Somebody may have removed the file, and what is written to it then is lost.
        if self.connection.is_some() && !self.dir.join(FILE).exists() {
            tracing::error!("the journal is gone, and made anew");
            self.connection = None;
        }
        if self.health.doubtful.swap(false, Ordering::Relaxed) {
            self.connection = None;
        }
        for last in [false, true] {
            if self.connection.is_none() {
                if self.again.is_some_and(|again| Instant::now() < again) {
                    return Ok(false);
                }
                self.open()?;
            }
            let Some(connection) = &mut self.connection else { return Ok(false) };
            let Err(error) = append(connection, &self.backlog) else { return Ok(true) };
            let code = error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code());
            match code {
                // Opened again, it is looked at as a whole, and set aside.
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) if !last => self.connection = None,
                Some(ErrorCode::DiskFull) if !last => {
                    // Where the bound is what is full, this makes room; where it is the disk, perhaps.
                    tidy::tidy(&self.dir, &self.limits, 0).map_err(|_| error)?;
                }
                _ => {
                    self.connection = None;
                    return Err(error);
                }
            }
        }
        Ok(false)
    }

    fn open(&mut self) -> Result<()> {
        let (connection, aside) = open(&self.dir, &self.limits)?;
        if let Some((aside, reason)) = aside {
            tracing::error!(
                "the journal was beyond use, and is now {}; a new one has begun: {reason}",
                aside.display()
            );
        }
        let reader = Reader::over(connection);
        // Before anything new is written.
        if let Some((wanted, tell)) = &self.unread {
            // Whoever wanted it may have left.
            let _ = tell.send(Some(past(&reader, wanted)?));
            self.unread = None;
        }
        self.connection = Some(reader.into_connection());
        self.again = None;
        Ok(())
    }
}

fn past(reader: &Reader, wanted: &Wanted) -> Result<Past> {
    let pending = wanted.sinks.iter().map(|sink| reader.pending(sink, wanted.pending));
    Ok(Past {
        firing: reader.firing()?,
        pending: pending.collect::<Result<_>>()?,
        incidents: reader.incidents(wanted.incidents)?,
        last: reader.last_id()?,
    })
}
