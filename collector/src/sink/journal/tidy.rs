//! Keeps the journal within its limits, through its own connection, so that writing alerts does not wait for it, nor for the disk
//! during a checkpoint.

use std::path::Path;

use anyhow::{Context as _, Result};
use rusqlite::{Connection, params};

use super::file::{LAYOUT, Limits};
use crate::sink::database::{checkpoint, used, vacuum};

/// Rows removed in one statement. An alert may have to wait for one statement.
const CHUNK: i64 = 500;

/// Statements that remove the oldest rows of a table, in the order in which tables make room.
const TABLES: [&str; 3] = [
    "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id < ?1 ORDER BY id LIMIT ?2)",
    "DELETE FROM alert WHERE id IN (SELECT id FROM alert WHERE id < ?1 ORDER BY id LIMIT ?2)",
    "DELETE FROM incident WHERE id IN (SELECT id FROM incident WHERE id < ?1 ORDER BY id LIMIT ?2)",
];

/// Removes entries above the maximum age, then the oldest above the maximum size, and checkpoints the write-ahead log. `now` is
/// in microseconds since the Unix epoch, like ids. Returns the number of rows removed because of the size.
pub fn tidy(dir: &Path, limits: &Limits, now: u64) -> Result<u64> {
    let connection = LAYOUT.reopen(dir).context("open the journal")?;
    let horizon = now.saturating_sub(limits.max_age.as_micros() as u64);
    for table in TABLES {
        while remove(&connection, table, horizon)? > 0 {}
    }
    let mut removed = 0;
    // Events first: they are the most numerous and the least important.
    for table in TABLES {
        while used(&connection)? > limits.max_bytes / 5 * 4 {
            let rows = remove(&connection, table, i64::MAX as u64)?;
            removed += rows as u64;
            if rows == 0 {
                break;
            }
        }
    }
    let orphans = "DELETE FROM delivery WHERE alert NOT IN (SELECT id FROM alert)";
    connection.execute(orphans, []).context("remove deliveries of removed alerts")?;
    vacuum(&connection)?;
    checkpoint(&connection)?;
    Ok(removed)
}

/// Checkpoints the write-ahead log if it has at least `least` bytes.
pub fn shorten(dir: &Path, least: u64) -> Result<()> {
    if LAYOUT.size(dir).1 < least {
        return Ok(());
    }
    checkpoint(&LAYOUT.reopen(dir).context("open the journal")?)
}

fn remove(connection: &Connection, statement: &str, before: u64) -> Result<usize> {
    connection.execute(statement, params![before as i64, CHUNK]).context("remove old entries")
}
