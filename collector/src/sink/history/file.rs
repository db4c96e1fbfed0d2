//! The file: schema and limits. Knows neither writers nor readers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rusqlite::Connection;

use crate::config;
use crate::sink::database::Layout;

pub const LAYOUT: Layout = Layout { file: FILE, what: "history", version: 1, schema: SCHEMA };

/// File name in the journal's folder.
pub const FILE: &str = "history.db";

const SCHEMA: &str = "
    -- A day (UTC, counted since the Unix epoch) of a workload; the host's name is empty. In the order of writing, so that the rows that
    -- are written again are near each other.
    CREATE TABLE day (
        day INTEGER NOT NULL, workload TEXT NOT NULL, owner TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (day, workload)
    ) WITHOUT ROWID;
";

/// What came later, so a file of before gets it.
const LATER: &str = "
    CREATE TABLE IF NOT EXISTS gpu (
        day INTEGER NOT NULL, uuid TEXT NOT NULL, gpu TEXT NOT NULL, model TEXT NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY (day, uuid)
    ) WITHOUT ROWID;
    -- How often something happened in a quarter of an hour of a day.
    CREATE TABLE IF NOT EXISTS rare (
        day INTEGER NOT NULL, quarter INTEGER NOT NULL, gpu TEXT NOT NULL, what TEXT NOT NULL, count INTEGER NOT NULL,
        PRIMARY KEY (day, quarter, gpu, what)
    ) WITHOUT ROWID;
";

/// All that have days.
pub const TABLES: [&str; 3] = ["day", "gpu", "rare"];

/// Opens the file for writing; see [`Layout::open`].
pub fn open(dir: &Path, max_bytes: u64) -> Result<(Connection, Option<(PathBuf, String)>)> {
    let opened = LAYOUT.open(dir, max_bytes)?;
    opened.0.execute_batch(LATER).context("add tables to the history")?;
    Ok(opened)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Older days are removed.
    pub max_age: Duration,
    /// Maximum bytes on disk; the oldest days are removed to stay below.
    pub max_bytes: u64,
    /// Most workloads in a day, and of them those of one user.
    pub workloads: usize,
    pub workloads_of_owner: usize,
}

/// Lower bound of `history.max_bytes`, unless it is zero.
const MIN_BYTES: u64 = 1 << 20;

impl Limits {
    /// None: nothing is written.
    pub fn of(config: &config::History) -> Option<Limits> {
        let max_bytes = (config.max_bytes as u64).max(MIN_BYTES);
        let limits = Limits { max_age: config.max_age, max_bytes, workloads: 20_000, workloads_of_owner: 2000 };
        (config.max_bytes > 0).then_some(limits)
    }
}
