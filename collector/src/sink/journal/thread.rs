//! The thread that writes the journal, so that no other thread waits for the disk. If writing fails, alerts and incidents are
//! kept for a retry, up to a bound; other entries are counted as lost.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector_core::alert::Alert;
use collector_core::incident::Incident;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::file::{FILE, Limits, open};
use super::read::Reader;
use super::tidy;
use super::write::{Entry, append};
use crate::clock;
use crate::sink::database::is_unusable;

/// Capacity of the request channel.
const QUEUE: usize = 256;

/// Maximum entries kept for a retry.
const BACKLOG: usize = 1000;

/// Interval of retries after a failure.
const RETRY: Duration = Duration::from_secs(5);

/// Contents of the journal at the start of the agent.
#[derive(Debug, Default)]
pub struct Past {
    pub firing: Vec<Alert>,
    /// Pending alerts with their ids for each receiver, in the order of [`Wanted::sinks`].
    pub pending: Vec<Vec<(u64, Alert)>>,
    /// The newest last.
    pub incidents: Vec<Incident>,
    /// The largest id in the journal.
    pub last: u64,
}

/// How much of the past to read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Names of the receivers.
    pub sinks: Vec<Arc<str>>,
    /// Maximum pending alerts of each receiver; the newest are read.
    pub pending: usize,
    /// Maximum incidents; the newest are read.
    pub incidents: usize,
}

/// State of the journal, for metrics.
#[derive(Debug, Default)]
pub struct Health {
    /// Whether the last attempt to write failed.
    pub failing: AtomicBool,
    /// Duration of the last successful write, in nanoseconds.
    pub ns: AtomicU64,
    pub lost: Arc<AtomicU64>,
    /// Whether the past has been read.
    pub read: AtomicBool,
    /// Another thread found the file broken.
    doubtful: AtomicBool,
}

impl Health {
    /// If the error means a broken file, makes the thread reopen and check it. The writer itself may not notice for long, because
    /// it rarely reads.
    pub fn doubt(&self, error: &anyhow::Error) {
        if is_unusable(error) {
            self.doubtful.store(true, Ordering::Relaxed);
        }
    }
}

/// Handle of the thread. When the last handle is dropped, the thread writes the remaining entries and ends.
#[derive(Clone)]
pub struct Journal {
    requests: SyncSender<Request>,
    pub health: Arc<Health>,
}

/// The started thread.
pub struct Started {
    pub journal: Journal,
    /// Receives the past once the journal was read; before that None, if the first attempt failed.
    pub past: Receiver<Option<Past>>,
    /// Disconnected when the thread has written all entries.
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
        // Room for both messages, so the thread never waits.
        let (send_past, past) = mpsc::sync_channel(2);
        let (end, ended) = mpsc::sync_channel(0);
        let health = Arc::new(Health::default());
        let mut writer = Writer {
            dir,
            limits,
            health: health.clone(),
            unread: Some((wanted, send_past.clone())),
            connection: None,
            retry_at: None,
            backlog: VecDeque::new(),
        };
        let run = move || {
            if let Err(error) = writer.open() {
                writer.failed(&error);
                // Let the start continue without the past.
                let _ = send_past.send(None);
            }
            drop(send_past);
            writer.run(&received);
            drop(end);
        };
        std::thread::Builder::new().name("journal".into()).spawn(run).context("start the journal's thread")?;
        Ok(Started { journal: Journal { requests, health }, past, ended })
    }

    /// Queues entries without waiting. The receiver resolves when they are written or writing has failed.
    pub fn write(&self, entries: Vec<Entry>) -> oneshot::Receiver<()> {
        let (done, written) = oneshot::channel();
        let count = entries.len() as u64;
        if self.requests.try_send(Request { entries, done }).is_err() {
            self.health.lost.fetch_add(count, Ordering::Relaxed);
        }
        written
    }
}

struct Writer {
    dir: PathBuf,
    limits: Limits,
    health: Arc<Health>,
    /// Request for the past and its sender, until the journal was read.
    unread: Option<(Wanted, SyncSender<Option<Past>>)>,
    connection: Option<Connection>,
    /// When to try to open the journal again.
    retry_at: Option<Instant>,
    backlog: VecDeque<Entry>,
}

impl Writer {
    fn run(&mut self, requests: &Receiver<Request>) {
        loop {
            // Without anything to try again it need not wake.
            let waits = self.backlog.is_empty() && self.connection.is_some();
            let request = if waits { requests.recv().map_err(From::from) } else { requests.recv_timeout(RETRY) };
            match request {
                Ok(Request { entries, done }) => {
                    self.backlog.extend(entries);
                    self.write();
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        if !self.backlog.is_empty() {
            // The last chance.
            self.retry_at = None;
            self.write();
        }
        if !self.backlog.is_empty() {
            tracing::error!("the last {} entries could not be written to the journal", self.backlog.len());
        }
    }

    /// Writes the backlog. After a failure only essential entries remain, up to [`BACKLOG`].
    fn write(&mut self) {
        let begun = clock::monotonic_ns();
        match self.attempt() {
            Ok(true) => {
                self.backlog.clear();
                self.health.ns.store(clock::monotonic_ns().saturating_sub(begun), Ordering::Relaxed);
                if self.health.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("writing the journal works again");
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
        self.retry_at = Some(Instant::now() + RETRY);
        if !self.health.failing.swap(true, Ordering::Relaxed) {
            tracing::error!("cannot write the journal; alerts are delivered without it: {error:#}");
        }
    }

    /// `false` if it is too early for another attempt.
    fn attempt(&mut self) -> Result<bool> {
        // If somebody removed the file, writes to it are lost.
        if self.connection.is_some() && !self.dir.join(FILE).exists() {
            tracing::error!("the journal file was removed; a new one is created");
            self.connection = None;
        }
        if self.health.doubtful.swap(false, Ordering::Relaxed) {
            self.connection = None;
        }
        for last in [false, true] {
            if self.connection.is_none() {
                if self.retry_at.is_some_and(|at| Instant::now() < at) {
                    return Ok(false);
                }
                self.open()?;
            }
            let Some(connection) = &mut self.connection else { return Ok(false) };
            let Err(error) = append(connection, &self.backlog) else { return Ok(true) };
            let code = error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code());
            match code {
                // Reopening checks the whole file and renames it if broken.
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) if !last => self.connection = None,
                Some(ErrorCode::DiskFull) if !last => {
                    // Makes room if the file's own limit is reached; perhaps also if the disk is full.
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
        let (connection, renamed) = open(&self.dir, &self.limits)?;
        if let Some((renamed, reason)) = renamed {
            tracing::error!(
                "the journal was unusable: renamed it to {} and created a new one: {reason}",
                renamed.display()
            );
        }
        let reader = Reader::over(connection);
        // Read the past before the first write.
        if let Some((wanted, send_past)) = &self.unread {
            // The receiver may be gone.
            let _ = send_past.send(Some(past(&reader, wanted)?));
            self.unread = None;
            self.health.read.store(true, Ordering::Relaxed);
        }
        self.connection = Some(reader.into_connection());
        self.retry_at = None;
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
