//! Writes entries to the journal, several in one transaction. Knows neither threads nor retries.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use collector_core::alert::State;
use collector_core::outcome::Outcome;
use rusqlite::{Connection, Transaction, params};
use serde_json::to_string;

use super::file::Progress;

#[derive(Clone, Debug)]
pub enum Entry {
    /// An outcome of the engine.
    Outcome {
        id: u64,
        /// Nanoseconds since the Unix epoch.
        time: u64,
        outcome: Arc<Outcome>,
        /// Receivers of an alert.
        sinks: Arc<[Arc<str>]>,
    },
    /// Delivery state of alerts for one receiver.
    Progress {
        sink: Arc<str>,
        /// Ids.
        alerts: Vec<u64>,
        progress: Progress,
        /// Nanoseconds since the Unix epoch.
        time: u64,
    },
}

impl Entry {
    /// Whether to keep the entry for a retry if writing fails.
    pub fn is_essential(&self) -> bool {
        match self {
            Entry::Outcome { outcome, .. } => matches!(**outcome, Outcome::Alert(_) | Outcome::Incident(_)),
            Entry::Progress { .. } => true,
        }
    }
}

/// Writes all entries, or none.
pub fn append<'a>(connection: &mut Connection, entries: impl IntoIterator<Item = &'a Entry>) -> Result<()> {
    let transaction = connection.transaction().context("begin a transaction")?;
    for entry in entries {
        match entry {
            Entry::Outcome { id, time, outcome, sinks } => {
                match &**outcome {
                    Outcome::Alert(alert) => {
                        let body = to_string(alert)?;
                        let state = match alert.state {
                            State::Firing => "firing",
                            State::Resolved => "resolved",
                        };
                        transaction
                            .prepare_cached("INSERT OR REPLACE INTO alert VALUES (?, ?, ?, ?, ?)")?
                            .execute(params![*id as i64, *time as i64, alert.severity.label(), state, body])?;
                        let labels = to_string(&alert.labels)?;
                        match alert.state {
                            State::Firing => transaction
                                .prepare_cached("INSERT OR REPLACE INTO firing VALUES (?, ?, ?, ?)")?
                                .execute(params![&*alert.alert, labels, *id as i64, body])?,
                            State::Resolved => transaction
                                .prepare_cached("DELETE FROM firing WHERE alert = ? AND labels = ?")?
                                .execute(params![&*alert.alert, labels])?,
                        };
                        for sink in &**sinks {
                            deliver(&transaction, sink, *id, Progress::Pending, None)?;
                        }
                    }
                    Outcome::Incident(incident) => {
                        // An update keeps the incident's id and so its place in the order.
                        transaction
                            .prepare_cached(
                                "INSERT INTO incident VALUES (?, ?, ?, ?, ?)
                             ON CONFLICT (name) DO UPDATE SET body = excluded.body",
                            )?
                            .execute(params![
                                *id as i64,
                                incident.id,
                                *time as i64,
                                incident.kind.name(),
                                to_string(incident)?
                            ])?;
                    }
                    other => {
                        transaction
                            .prepare_cached("INSERT OR REPLACE INTO event VALUES (?, ?, ?)")?
                            .execute(params![*id as i64, *time as i64, to_string(other)?])?;
                    }
                }
            }
            Entry::Progress { sink, alerts, progress, time } => {
                for alert in alerts {
                    deliver(&transaction, sink, *alert, *progress, Some(*time))?;
                }
            }
        }
    }
    transaction.commit().context("commit the transaction")
}

fn deliver(
    transaction: &Transaction<'_>,
    sink: &str,
    alert: u64,
    progress: Progress,
    time: Option<u64>,
) -> rusqlite::Result<usize> {
    transaction.prepare_cached("INSERT OR REPLACE INTO delivery VALUES (?, ?, ?, ?)")?.execute(params![
        sink,
        alert as i64,
        progress.label(),
        time.map(|time| time as i64)
    ])
}
