//! Writes quarters into the days that they belong to, and keeps the file within its limits. Knows neither threads nor retries.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use collector_core::tier::{Entry, Quarter};
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::day::{Day, TRACK, place};
use super::file::{Limits, TABLES};
use super::rare;
use crate::sink::database::{checkpoint, used, vacuum};

/// How many days after the newest one before it a day may seem to be, for removing what is too old: a clock far ahead must not empty
/// the file.
const LEAP: u64 = 14;

/// How many workloads a day has, of each owner: whoever may create cgroups decides how many names there are.
#[derive(Debug, Default)]
pub struct Rows {
    day: Option<u64>,
    owners: HashMap<String, usize>,
}

impl Rows {
    fn of(&mut self, transaction: &Transaction<'_>, day: u64) -> Result<()> {
        if self.day == Some(day) {
            return Ok(());
        }
        let mut statement =
            transaction.prepare_cached("SELECT owner, count(*) FROM day WHERE day = ? GROUP BY owner")?;
        let counts = statement.query_map([day as i64], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as usize)))?;
        self.owners = counts.collect::<rusqlite::Result<_>>().context("count workloads")?;
        self.day = Some(day);
        Ok(())
    }

    /// Takes a row for another workload of this owner; root's have an empty one.
    fn take(&mut self, owner: &str, limits: &Limits) -> bool {
        let all: usize = self.owners.values().sum();
        let own = self.owners.get(owner).copied().unwrap_or(0);
        let has_room = all < limits.workloads && (owner.is_empty() || own < limits.workloads_of_owner);
        if has_room {
            *self.owners.entry(owner.to_owned()).or_default() += 1;
        }
        has_room
    }
}

/// Writes a quarter, all of it or nothing. Returns how many workloads found no room.
pub fn append(connection: &mut Connection, quarter: &Quarter, rows: &mut Rows, limits: &Limits) -> Result<u64> {
    let (day, place) = place(quarter.time);
    let transaction = connection.transaction().context("begin a transaction")?;
    rows.of(&transaction, day)?;
    let mut left_out = 0;
    for entry in &quarter.entries {
        left_out += u64::from(!put(&transaction, day, place, entry, rows, limits)?);
    }
    left_out += rare::put(&transaction, quarter)?;
    transaction.commit().context("commit the transaction")?;
    Ok(left_out)
}

fn put(
    transaction: &Transaction<'_>,
    day: u64,
    place: usize,
    entry: &Entry,
    rows: &mut Rows,
    limits: &Limits,
) -> Result<bool> {
    let (name, owner) = (entry.workload.as_deref().unwrap_or_default(), entry.owner.as_deref().unwrap_or_default());
    let body: Option<Vec<u8>> = transaction
        .prepare_cached("SELECT body FROM day WHERE day = ? AND workload = ?")?
        .query_row(params![day as i64, name], |row| row.get(0))
        .optional()
        .context("read a day")?;
    if body.is_none() && !name.is_empty() && !rows.take(owner, limits) {
        return Ok(false);
    }
    let unpack = |body: &[u8]| {
        let warn = |error: &anyhow::Error| {
            tracing::warn!("a day of {name} in the history cannot be read and starts empty: {error:#}");
        };
        Day::unpack(&TRACK, body).inspect_err(warn).unwrap_or_default()
    };
    let mut whole = body.as_deref().map(unpack).unwrap_or_default();
    whole.add(place, entry.seconds, &entry.row);
    transaction
        .prepare_cached("INSERT OR REPLACE INTO day VALUES (?, ?, ?, ?)")?
        .execute(params![day as i64, name, owner, whole.pack()?])
        .context("write a day")?;
    Ok(true)
}

/// Removes days above the maximum age, then the oldest above the maximum size, but never the day of `now`. Returns the number of days
/// removed because of the size.
pub fn tidy(connection: &Connection, limits: &Limits, now: u64) -> Result<u64> {
    let (today, _) = place(now);
    let number = |statement: &str, day: u64| {
        connection.query_row(statement, [day as i64], |row| row.get::<_, Option<i64>>(0)).context("find a day")
    };
    let before = number("SELECT max(day) FROM day WHERE day < ?", today)?;
    let current = before.map_or(today, |before| today.min(before as u64 + LEAP));
    let horizon = current.saturating_sub(limits.max_age.as_secs().div_ceil(24 * 3600));
    let remove = |before: u64| {
        TABLES.into_iter().try_for_each(|table| {
            let statement = format!("DELETE FROM {table} WHERE day < ?");
            connection.execute(&statement, [before as i64]).map(drop).context("remove old days")
        })
    };
    remove(horizon)?;
    let mut removed = 0;
    while used(connection)? > limits.max_bytes / 5 * 4 {
        let Some(oldest) = number("SELECT min(day) FROM day WHERE day < ?", today)? else { break };
        remove(oldest as u64 + 1)?;
        removed += 1;
    }
    vacuum(connection)?;
    checkpoint(connection)?;
    Ok(removed)
}
