//! Keeping the journal within its bounds, through a connection of its own: whoever writes alerts does not wait for it, nor
//! for the disk that a checkpoint waits for.

use std::path::Path;

use anyhow::{Context as _, Result};
use rusqlite::{Connection, params};

use super::file::{Limits, reopen, size};

/// Rows that are removed in one go: so long an alert may have to wait.
const CHUNK: i64 = 500;

/// Tables by how soon their oldest rows make room, each with what they are removed by.
const TABLES: [&str; 3] = [
    "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE id < ?1 ORDER BY id LIMIT ?2)",
    "DELETE FROM alert WHERE id IN (SELECT id FROM alert WHERE id < ?1 ORDER BY id LIMIT ?2)",
    "DELETE FROM incident WHERE id IN (SELECT id FROM incident WHERE id < ?1 ORDER BY id LIMIT ?2)",
];

/// Removes what is too old, and the oldest of what is too much; moves the write-ahead log into the file. `now` is in
/// microseconds since the Unix epoch, as ids are. Gives the number of rows removed for want of room.
pub fn tidy(dir: &Path, limits: &Limits, now: u64) -> Result<u64> {
    let connection = reopen(dir).context("open the journal")?;
    let horizon = now.saturating_sub(limits.max_age.as_micros() as u64);
    for table in TABLES {
        while remove(&connection, table, horizon)? > 0 {}
    }
    let mut removed = 0;
    // Events first: there are most of them, and they say least.
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
    connection.execute(orphans, []).context("remove deliveries")?;
    connection.execute_batch("PRAGMA incremental_vacuum").context("give back room")?;
    checkpoint(&connection)?;
    Ok(removed)
}

/// Moves the write-ahead log into the file if it has become long.
pub fn shorten(dir: &Path, least: u64) -> Result<()> {
    if size(dir).1 < least {
        return Ok(());
    }
    checkpoint(&reopen(dir).context("open the journal")?)
}

fn checkpoint(connection: &Connection) -> Result<()> {
    // Passive: it waits for nobody who reads or writes.
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).context("checkpoint")
}

/// Bytes of the file that hold something.
fn used(connection: &Connection) -> Result<u64> {
    let number = |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let (pages, free) = (number("page_count")?, number("freelist_count")?);
    Ok((pages - free).max(0) as u64 * number("page_size")? as u64)
}

fn remove(connection: &Connection, statement: &str, before: u64) -> Result<usize> {
    connection.execute(statement, params![before as i64, CHUNK]).context("remove what is old")
}
