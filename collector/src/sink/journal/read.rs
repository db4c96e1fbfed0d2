//! Reads the journal, with or without an agent that writes to it: for the verbs, and for the agent at its start.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use collector_core::alert::Alert;
use collector_core::incident::Incident;
use rusqlite::{Connection, Row, params};
use serde::Serialize;
use serde_json::{Map, Value};

use super::file::{FILE, LAYOUT, Limits};

/// Events in one page, and at most.
const PAGE: usize = 256;
const LONGEST_PAGE: usize = 4096;

/// The journal, opened read-only.
pub struct Reader {
    connection: Connection,
}

/// An event from the journal.
#[derive(Debug, Serialize)]
pub struct Event {
    /// Increases in the order of writing.
    pub id: u64,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// A serialized [`Outcome`](collector_core::outcome::Outcome): an object with one field, named after the kind.
    #[serde(flatten)]
    pub what: Map<String, Value>,
}

/// An alert from the journal.
#[derive(Debug, Serialize)]
pub struct StoredAlert {
    pub id: u64,
    /// When it fired or resolved, in nanoseconds since the Unix epoch.
    pub time: u64,
    #[serde(flatten)]
    pub alert: Alert,
    pub deliveries: Vec<Delivery>,
}

/// State of an alert's delivery to one receiver.
#[derive(Debug, PartialEq, Serialize)]
pub struct Delivery {
    /// Name of the receiver.
    pub sink: String,
    /// pending, delivered, refused or dropped.
    pub state: String,
    /// Nanoseconds since the Unix epoch; absent while pending.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}

impl Reader {
    /// # Errors
    /// If the file is missing, not readable, or not a journal of this version.
    pub fn open(dir: &Path) -> Result<Reader> {
        Ok(Reader { connection: LAYOUT.read(dir)? })
    }

    /// The same, or `None` while nothing was written yet.
    pub fn find(dir: &Path) -> Result<Option<Reader>> {
        match dir.join(FILE).try_exists() {
            Ok(false) => Ok(None),
            _ => Reader::open(dir).map(Some),
        }
    }

    pub(super) fn over(connection: Connection) -> Reader {
        Reader { connection }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Firing alerts, the oldest first.
    pub fn firing(&self) -> Result<Vec<Alert>> {
        let alerts = self.rows("SELECT body FROM firing ORDER BY id", [], |row| row.get::<_, String>(0))?;
        Ok(alerts.iter().filter_map(|body| parse(body)).collect())
    }

    /// The last alerts, the newest last.
    pub fn alerts(&self, limit: usize) -> Result<Vec<StoredAlert>> {
        self.alerts_where(0, limit, |_| true)
    }

    /// The last alerts since a moment that are wanted, the newest last.
    pub fn alerts_where(&self, from: u64, limit: usize, wants: impl Fn(&Alert) -> bool) -> Result<Vec<StoredAlert>> {
        let statement = "SELECT id, time, body FROM alert WHERE time >= ? ORDER BY id DESC";
        let found = self.newest(statement, from, limit, |row| {
            let alert = parse(&row.get::<_, String>(2)?).filter(&wants);
            let (id, time) = (unsigned(row, 0)?, unsigned(row, 1)?);
            Ok(alert.map(|alert| (id, time, alert)))
        })?;
        let stored = found.into_iter();
        stored.map(|(id, time, alert)| Ok(StoredAlert { id, time, alert, deliveries: self.deliveries(id)? })).collect()
    }

    /// The last incidents, the newest last.
    pub fn incidents(&self, limit: usize) -> Result<Vec<Incident>> {
        self.incidents_where(0, limit, |_| true)
    }

    /// The last incidents since a moment that are wanted, the newest last.
    pub fn incidents_where(&self, from: u64, limit: usize, wants: impl Fn(&Incident) -> bool) -> Result<Vec<Incident>> {
        let statement = "SELECT body FROM incident WHERE time >= ? ORDER BY id DESC";
        self.newest(statement, from, limit, |row| Ok(parse(&row.get::<_, String>(0)?).filter(&wants)))
    }

    /// The incidents that were reported since this moment, the newest last.
    pub fn incidents_since(&self, from: u64) -> Result<Vec<Incident>> {
        self.since("incident", from)
    }

    /// The alerts that fired or resolved since this moment, the newest last, without their deliveries.
    pub fn alerts_since(&self, from: u64) -> Result<Vec<Alert>> {
        self.since("alert", from)
    }

    /// Since when every incident and alert is kept, in nanoseconds since the Unix epoch.
    pub fn complete_since(&self, limits: &Limits, now: u64) -> Result<u64> {
        let horizon = now.saturating_sub(u64::try_from(limits.max_age.as_nanos()).unwrap_or(u64::MAX));
        let statement = "SELECT (SELECT coalesce(sum(length(body)), 0) FROM alert)
            + (SELECT coalesce(sum(length(body)), 0) FROM incident),
            max(coalesce((SELECT min(id) FROM alert), 0), coalesce((SELECT min(id) FROM incident), 0))";
        let (bytes, oldest) = self
            .connection
            .query_row(statement, [], |row| Ok((unsigned(row, 0)?, unsigned(row, 1)?)))
            .context("read the journal")?;
        // Alerts and incidents are removed for their size only when nothing else is left, so they fill most of the file then, with
        // their indexes and deliveries. Ids are microseconds.
        let shortened = bytes >= limits.max_bytes / 5 * 2;
        Ok(if shortened { horizon.max(oldest.saturating_mul(1000)) } else { horizon })
    }

    fn since<T: serde::de::DeserializeOwned>(&self, table: &str, from: u64) -> Result<Vec<T>> {
        let statement = format!("SELECT body FROM {table} WHERE time >= ? ORDER BY id");
        let bodies = self.rows(&statement, params![from as i64], |row| row.get::<_, String>(0))?;
        Ok(bodies.iter().filter_map(|body| parse(body)).collect())
    }

    /// The incident with this id, or with this unique prefix.
    pub fn incident(&self, id: &str) -> Result<Option<Incident>> {
        let statement =
            "SELECT body FROM incident WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name = ?1 DESC LIMIT 2";
        let bodies = self.rows(statement, params![id], |row| row.get::<_, String>(0))?;
        let found: Vec<Incident> = bodies.iter().filter_map(|body| parse(body)).collect();
        match found.as_slice() {
            [first, ..] if first.id == id => Ok(Some(first.clone())),
            [only] => Ok(Some(only.clone())),
            [] => Ok(None),
            _ => Err(anyhow!("more than one incident begins with {id}")),
        }
    }

    pub fn last_incident(&self) -> Result<Option<Incident>> {
        Ok(self.incidents(1)?.pop())
    }

    /// At most `limit` events after the one with this id, in order.
    pub fn events_after(&self, id: u64, limit: usize) -> Result<Vec<Event>> {
        self.events("WHERE id > ?1 ORDER BY id LIMIT ?2", id, limit)
    }

    /// The last events, the newest last.
    pub fn last_events(&self, limit: usize) -> Result<Vec<Event>> {
        self.events_where(0, limit, |_| true)
    }

    /// The last events since a moment that are wanted, the newest last.
    pub fn events_where(&self, from: u64, limit: usize, wants: impl Fn(&Event) -> bool) -> Result<Vec<Event>> {
        let (mut found, mut before) = (Vec::new(), i64::MAX as u64);
        // Page by page: of all tables together SQLite would sort every row.
        while found.len() < limit {
            let page =
                self.events("WHERE id < ?1 ORDER BY id DESC LIMIT ?2", before, limit.clamp(PAGE, LONGEST_PAGE))?;
            let Some(oldest) = page.last() else { break };
            // Ids grow with time; an incident keeps the id of its first report.
            let over = oldest.time < from && page.iter().all(|event| event.time < from);
            before = oldest.id;
            found.extend(page.into_iter().filter(&wants).take(limit - found.len()));
            if over {
                break;
            }
        }
        found.reverse();
        Ok(found)
    }

    /// Alerts pending for this receiver, the oldest first.
    pub fn pending(&self, sink: &str, limit: usize) -> Result<Vec<(u64, Alert)>> {
        let statement = "SELECT alert.id, alert.body FROM delivery JOIN alert ON alert.id = delivery.alert
            WHERE delivery.sink = ?1 AND delivery.state = 'pending' ORDER BY alert.id DESC LIMIT ?2";
        let rows =
            self.rows(statement, params![sink, limit as i64], |row| Ok((unsigned(row, 0)?, row.get::<_, String>(1)?)))?;
        Ok(rows.into_iter().rev().filter_map(|(id, body)| Some((id, parse(&body)?))).collect())
    }

    /// The largest id in the journal; 0 if it is empty.
    pub fn last_id(&self) -> Result<u64> {
        let statement = "SELECT max(coalesce((SELECT max(id) FROM alert), 0), coalesce((SELECT max(id) FROM event), 0),
            coalesce((SELECT max(id) FROM incident), 0), coalesce((SELECT max(alert) FROM delivery), 0),
            coalesce((SELECT max(id) FROM firing), 0))";
        self.connection.query_row(statement, [], |row| unsigned(row, 0)).context("read the journal")
    }

    fn events(&self, which: &str, after: u64, limit: usize) -> Result<Vec<Event>> {
        // Limit each table first; otherwise SQLite sorts all rows of all tables.
        let one = |table: &str, tag: u8| format!("SELECT * FROM (SELECT id, time, body, {tag} FROM {table} {which})");
        let (alerts, incidents, others) = (one("alert", 0), one("incident", 1), one("event", 2));
        let order = which.split_once("ORDER").map_or("", |(_, order)| order);
        let statement = format!("{alerts} UNION ALL {incidents} UNION ALL {others} ORDER {order}");
        self.rows(&statement, params![after as i64, limit as i64], |row| {
            let body = parse::<Value>(&row.get::<_, String>(2)?).unwrap_or_default();
            let what = match (row.get::<_, u8>(3)?, body) {
                (0, body) => Map::from_iter([("alert".to_owned(), body)]),
                (1, body) => Map::from_iter([("incident".to_owned(), body)]),
                (_, Value::Object(what)) => what,
                _ => Map::new(),
            };
            Ok(Event { id: unsigned(row, 0)?, time: unsigned(row, 1)?, what })
        })
    }

    /// The newest rows of which there is something, at most so many, the newest last.
    fn newest<T>(
        &self,
        statement: &str,
        from: u64,
        limit: usize,
        mut take: impl FnMut(&Row<'_>) -> rusqlite::Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let mut statement = self.connection.prepare(statement).context("read the journal")?;
        let mut rows = statement.query(params![from as i64]).context("read the journal")?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next().context("read the journal")?
        {
            found.extend(take(row).context("read the journal")?);
        }
        found.reverse();
        Ok(found)
    }

    fn deliveries(&self, alert: u64) -> Result<Vec<Delivery>> {
        let statement = "SELECT sink, state, time FROM delivery WHERE alert = ? ORDER BY sink";
        self.rows(statement, params![alert as i64], |row| {
            let time: Option<i64> = row.get(2)?;
            Ok(Delivery { sink: row.get(0)?, state: row.get(1)?, time: time.map(|time| time as u64) })
        })
    }

    fn rows<T>(
        &self,
        statement: &str,
        parameters: impl rusqlite::Params,
        row: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.connection.prepare(statement).context("read the journal")?;
        let rows = statement.query_map(parameters, row).context("read the journal")?;
        rows.collect::<Result<_, _>>().context("read the journal")
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| number as u64)
}

/// Skips an entry that this version cannot parse; another version may have written it.
fn parse<T: serde::de::DeserializeOwned>(body: &str) -> Option<T> {
    serde_json::from_str(body)
        .inspect_err(|error| tracing::warn!("skipped an invalid entry of the journal: {error}"))
        .ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn alerts_and_incidents_are_complete_for_the_maximum_age_or_since_the_oldest_if_they_are_too_large() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(LAYOUT.schema).unwrap();
        let journal = Reader::over(connection);
        let (limits, now) = (Limits { max_age: Duration::from_secs(100), max_bytes: 1000, readers: None }, 1000 * S);
        assert_eq!(journal.complete_since(&limits, now).unwrap(), 900 * S);
        let alert = |second: u64, bytes: usize| {
            let row = params![(second * 1_000_000) as i64, (second * S) as i64, "x".repeat(bytes)];
            journal.connection.execute("INSERT INTO alert VALUES (?, ?, 'info', 'firing', ?)", row).unwrap();
        };
        alert(950, 10);
        assert_eq!(journal.complete_since(&limits, now).unwrap(), 900 * S, "there was no other");
        alert(960, 400);
        assert_eq!(journal.complete_since(&limits, now).unwrap(), 950 * S, "there may have been others");
        assert_eq!(journal.complete_since(&limits, 1100 * S).unwrap(), 1000 * S);
    }
}
