//! The thread that writes the history's file, so that no other thread waits for the disk. What cannot be written is kept for a retry,
//! up to a bound; the rest is counted as lost.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector_core::sample::{Reading, Sample, Source};
use collector_core::tier::Quarter;
use rusqlite::{Connection, ErrorCode};

use super::file::{FILE, Limits, open};
use super::write::{Rows, append, tidy};
use crate::clock;
use crate::sink::database::is_unusable;

/// Capacity of the channel: two hours of a disk that hangs.
const QUEUE: usize = 8;
/// Quarters that are kept for a retry.
const BACKLOG: usize = 8;
/// Interval of retries after a failure.
const RETRY: Duration = Duration::from_secs(60);
/// How long shutdown waits for the disk.
const TIMEOUT: Duration = Duration::from_secs(10);

/// State of the thread, for metrics.
#[derive(Debug, Default)]
pub struct Health {
    failing: AtomicBool,
    /// Whether the file was opened.
    open: AtomicBool,
    /// Duration of the last successful write, in nanoseconds.
    ns: AtomicU64,
}

impl Health {
    /// Passes the present state to `fold` as a sample, once it is known: not before the thread tried to open the file.
    pub fn read(&self, fold: &mut dyn FnMut(Sample)) {
        let failing = self.failing.load(Ordering::Relaxed);
        if !failing && !self.open.load(Ordering::Relaxed) {
            return;
        }
        let source = Source {
            source: "history".into(),
            up: !failing,
            ns: self.ns.load(Ordering::Relaxed),
            error: failing.then(|| "cannot write the history".to_owned()),
        };
        fold(Sample { time: clock::unix_ns(), reading: Reading::Source(source) });
    }
}

/// Handle of the thread.
pub struct History {
    quarters: SyncSender<Quarter>,
    ended: Receiver<()>,
    pub health: Arc<Health>,
    /// Workloads of which a quarter was not written.
    pub lost: Arc<AtomicU64>,
}

impl History {
    pub fn start(dir: PathBuf, limits: Limits) -> Result<History> {
        let (quarters, received) = mpsc::sync_channel(QUEUE);
        let (end, ended) = mpsc::sync_channel(0);
        let (health, lost) = (Arc::<Health>::default(), Arc::<AtomicU64>::default());
        let mut writer = Writer {
            dir,
            limits,
            health: health.clone(),
            lost: lost.clone(),
            connection: None,
            rows: Rows::default(),
            backlog: VecDeque::new(),
        };
        let run = move || {
            writer.run(&received);
            drop(end);
        };
        std::thread::Builder::new().name("history".into()).spawn(run).context("start the history's thread")?;
        Ok(History { quarters, ended, health, lost })
    }

    /// Queues a quarter without waiting.
    pub fn write(&self, quarter: Quarter) {
        let count = quarter.entries.len() as u64;
        if self.quarters.try_send(quarter).is_err() {
            self.lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// Waits a bounded time until all is written.
    pub fn close(self) {
        drop(self.quarters);
        if self.ended.recv_timeout(TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("writing the history takes longer than {TIMEOUT:?}: its last quarter of an hour is lost");
        }
    }
}

struct Writer {
    dir: PathBuf,
    limits: Limits,
    health: Arc<Health>,
    lost: Arc<AtomicU64>,
    connection: Option<Connection>,
    rows: Rows,
    backlog: VecDeque<Quarter>,
}

impl Writer {
    fn run(&mut self, quarters: &Receiver<Quarter>) {
        // A broken file is found at the start, and not with the first quarter.
        self.write();
        loop {
            // Without anything to try again it need not wake.
            let waits = self.backlog.is_empty() && self.connection.is_some();
            let quarter = if waits { quarters.recv().map_err(From::from) } else { quarters.recv_timeout(RETRY) };
            match quarter {
                Ok(quarter) => {
                    self.backlog.push_back(quarter);
                    self.write();
                }
                Err(RecvTimeoutError::Timeout) => self.write(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            while self.backlog.len() > BACKLOG {
                self.lose();
            }
        }
        if !self.backlog.is_empty() {
            tracing::error!("{} quarters of an hour could not be written to the history", self.backlog.len());
        }
    }

    /// Gives up the oldest quarter.
    fn lose(&mut self) {
        if let Some(quarter) = self.backlog.pop_front() {
            self.lost.fetch_add(quarter.entries.len() as u64, Ordering::Relaxed);
        }
    }

    /// Writes the backlog.
    fn write(&mut self) {
        let begun = clock::monotonic_ns();
        match self.attempt() {
            Ok(()) => {
                self.health.open.store(true, Ordering::Relaxed);
                self.health.ns.store(clock::monotonic_ns().saturating_sub(begun), Ordering::Relaxed);
                if self.health.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("writing the history works again");
                }
            }
            Err(error) => {
                self.connection = None;
                if !self.health.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!("cannot write the history; it is kept for a retry: {error:#}");
                }
            }
        }
    }

    fn attempt(&mut self) -> Result<()> {
        // If somebody removed the file, writes to it are lost.
        if self.connection.is_some() && !self.dir.join(FILE).exists() {
            tracing::error!("the history's file was removed; a new one is created");
            self.connection = None;
        }
        self.opened()?;
        let limits = self.limits;
        while let Some(quarter) = self.backlog.front().cloned() {
            let left_out = match self.append(&quarter) {
                Ok(left_out) => left_out,
                Err(error) => {
                    self.make_room(error, quarter.time)?;
                    self.append(&quarter)?
                }
            };
            self.lost.fetch_add(left_out, Ordering::Relaxed);
            self.backlog.pop_front();
            let removed = tidy(self.opened()?, &limits, quarter.time)?;
            if removed > 0 {
                tracing::info!("removed the {removed} oldest days to keep the history below history.max_bytes");
            }
        }
        Ok(())
    }

    fn append(&mut self, quarter: &Quarter) -> Result<u64> {
        self.opened()?;
        let Writer { connection: Some(connection), rows, limits, .. } = self else { return Ok(0) };
        append(connection, quarter, rows, limits)
    }

    /// Makes another attempt worth it.
    ///
    /// # Errors
    /// If it is not.
    fn make_room(&mut self, error: anyhow::Error, now: u64) -> Result<()> {
        // What a failed transaction counted is not there.
        self.rows = Rows::default();
        let code = error.chain().find_map(|cause| cause.downcast_ref::<rusqlite::Error>()?.sqlite_error_code());
        if is_unusable(&error) {
            // Reopening checks the whole file and renames it if broken.
            self.connection = None;
        } else if code == Some(ErrorCode::DiskFull) {
            let limits = self.limits;
            tidy(self.opened()?, &limits, now)?;
        } else {
            return Err(error);
        }
        Ok(())
    }

    fn opened(&mut self) -> Result<&Connection> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let (connection, renamed) = open(&self.dir, self.limits.max_bytes)?;
                self.rows = Rows::default();
                if let Some((renamed, reason)) = renamed {
                    let renamed = renamed.display();
                    tracing::error!(
                        "the history was unusable: renamed it to {renamed} and created a new one: {reason}"
                    );
                }
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }
}
