//! The journal's file: schema and limits. Knows neither writers nor readers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rusqlite::Connection;

use crate::private;
use crate::sink::database::Layout;

pub const LAYOUT: Layout = Layout { file: FILE, what: "journal", version: 1, schema: SCHEMA };

/// File name in the configured folder.
pub const FILE: &str = "journal.db";

const SCHEMA: &str = "
    CREATE TABLE alert (
        id INTEGER PRIMARY KEY, time INTEGER NOT NULL, severity TEXT NOT NULL, state TEXT NOT NULL, body TEXT NOT NULL
    );
    -- The last alert of each rule and label set that has not resolved.
    CREATE TABLE firing (
        alert TEXT NOT NULL, labels TEXT NOT NULL, id INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (alert, labels)
    ) WITHOUT ROWID;
    CREATE TABLE incident (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, time INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL
    );
    CREATE TABLE event (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, body TEXT NOT NULL);
    -- State of an alert's delivery to each receiver; without a time it is pending.
    CREATE TABLE delivery (
        sink TEXT NOT NULL, alert INTEGER NOT NULL, state TEXT NOT NULL, time INTEGER, PRIMARY KEY (sink, alert)
    ) WITHOUT ROWID;
    CREATE INDEX delivery_alert ON delivery (alert);
";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Older entries are removed.
    pub max_age: Duration,
    /// Maximum bytes on disk; the oldest entries are removed to stay below.
    pub max_bytes: u64,
    /// The group whose members may read it, too.
    pub readers: Option<u32>,
}

/// State of one alert's delivery to one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    Pending,
    Delivered,
    /// The receiver permanently refused it.
    Refused,
    /// The queue was full.
    Dropped,
}

impl Progress {
    pub(super) fn label(self) -> &'static str {
        match self {
            Progress::Pending => "pending",
            Progress::Delivered => "delivered",
            Progress::Refused => "refused",
            Progress::Dropped => "dropped",
        }
    }
}

/// Opens the file for writing; see [`Layout::open`].
pub fn open(dir: &Path, limits: &Limits) -> Result<(Connection, Option<(PathBuf, String)>)> {
    let opened = LAYOUT.open(dir, limits.max_bytes)?;
    if let Some(group) = limits.readers {
        let files = ["", "-wal", "-shm"].map(|suffix| dir.join(format!("{FILE}{suffix}")));
        for path in [dir.to_owned()].iter().chain(&files) {
            // Without it only its members miss something.
            if let Err(error) = private::share(path, group) {
                tracing::warn!("the members of group {group} cannot read {}: {error}", path.display());
                break;
            }
        }
    }
    Ok(opened)
}
