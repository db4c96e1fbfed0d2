//! The file: schema and limits. Knows neither writers nor readers.

use std::time::Duration;

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
