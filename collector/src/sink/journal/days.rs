//! Reads kills, alerts and advice of the last days, entry by entry. Does not know what is made of them.

use std::collections::HashSet;

use anyhow::{Context as _, Result};
use collector_core::alert::Alert;
use collector_core::incident::Kind;
use collector_core::past::{Events, Short};
use collector_core::signal::oom::Scope;
use collector_core::standing::{Standing, State};
use rusqlite::params;
use serde::Deserialize;

use super::read::Reader;

/// Most entries that are read at once: the last ones.
const ENTRIES: i64 = 100_000;

/// Processes that the OOM killer killed.
#[derive(Debug, PartialEq)]
pub struct Kills {
    /// In nanoseconds since the Unix epoch.
    pub time: u64,
    pub workload: Option<String>,
    pub count: u64,
    pub short: Short,
}

impl Kills {
    pub fn add(&self, events: &mut Events) {
        events.kill(self.time, self.workload.as_deref(), self.count, self.short);
    }
}

/// What is needed of an incident, which has a hundred times as much.
#[derive(Deserialize)]
struct Part {
    time: u64,
    #[serde(default)]
    labels: Labels,
    #[serde(default)]
    evidence: Evidence,
}

/// Events that are advice begin so.
const ADVICE: &str = r#"body LIKE '{"advice":%'"#;

#[derive(Deserialize)]
struct Advised {
    advice: Standing,
}

#[derive(Default, Deserialize)]
struct Labels {
    workload: Option<String>,
}

#[derive(Default, Deserialize)]
struct Evidence {
    #[serde(default)]
    killed: u64,
    #[serde(default)]
    scope: Option<Scope>,
    #[serde(default)]
    requested: bool,
    #[serde(default)]
    limit: Option<Limit>,
}

#[derive(Default, Deserialize)]
struct Limit {
    #[serde(default)]
    own: bool,
}

impl Evidence {
    fn short(&self) -> Short {
        match self.scope {
            _ if self.requested => Short::Other,
            Some(Scope::Host) => Short::Host,
            _ if self.limit.as_ref().is_some_and(|limit| limit.own) => Short::OwnLimit,
            _ => Short::Other,
        }
    }
}

impl Reader {
    /// Kills since this moment.
    pub fn kills(&self, from: u64, mut take: impl FnMut(Kills)) -> Result<()> {
        let statement = "SELECT body FROM incident WHERE id >= ? AND kind = ? ORDER BY id DESC LIMIT ?";
        let mut statement = self.connection().prepare_cached(statement).context("read the journal")?;
        let mut rows = statement.query(params![id(from), Kind::Oom.name(), ENTRIES]).context("read the journal")?;
        while let Some(row) = rows.next().context("read the journal")? {
            let body: String = row.get(0).context("read the journal")?;
            let Ok(Part { time, labels, evidence }) = serde_json::from_str(&body) else { continue };
            if time >= from {
                let short = evidence.short();
                take(Kills { time, workload: labels.workload, count: evidence.killed, short });
            }
        }
        Ok(())
    }

    /// The last state of each advice since this moment, and each time that it was followed; at most so many, the newest first.
    pub fn advice(&self, from: u64, most: usize) -> Result<Vec<Standing>> {
        let statement = format!("SELECT body FROM event WHERE id >= ? AND {ADVICE} ORDER BY id DESC LIMIT ?");
        let mut statement = self.connection().prepare(&statement).context("read the journal")?;
        let mut rows = statement.query(params![id(from), ENTRIES]).context("read the journal")?;
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        while found.len() < most
            && let Some(row) = rows.next().context("read the journal")?
        {
            let body: String = row.get(0).context("read the journal")?;
            let Ok(Advised { advice }) = serde_json::from_str(&body) else { continue };
            let is_newest = seen.insert(advice.advice.id.clone());
            if is_newest || matches!(advice.state, State::Followed { .. }) {
                found.push(advice);
            }
        }
        Ok(found)
    }

    /// Advice, as it began, was followed or no longer held, with the time of each; the newest last.
    pub fn advice_before(&self, to: u64) -> Result<Vec<(u64, Standing)>> {
        let statement = format!("SELECT time, body FROM event WHERE time < ? AND {ADVICE} ORDER BY id");
        let mut statement = self.connection().prepare(&statement).context("read the journal")?;
        let mut rows = statement.query(params![to as i64]).context("read the journal")?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().context("read the journal")? {
            let (time, body) = (row.get::<_, i64>(0)? as u64, row.get::<_, String>(1)?);
            found.extend(serde_json::from_str(&body).ok().map(|Advised { advice }| (time, advice)));
        }
        Ok(found)
    }

    /// Alerts that fired or resolved since this moment, each with when it did.
    pub fn each_alert(&self, from: u64, mut take: impl FnMut(u64, Alert)) -> Result<()> {
        let statement = "SELECT time, body FROM alert WHERE id >= ? ORDER BY id DESC LIMIT ?";
        let mut statement = self.connection().prepare_cached(statement).context("read the journal")?;
        let mut rows = statement.query(params![id(from), ENTRIES]).context("read the journal")?;
        while let Some(row) = rows.next().context("read the journal")? {
            let (time, body) = (row.get::<_, i64>(0)? as u64, row.get::<_, String>(1)?);
            let Ok(alert) = serde_json::from_str(&body) else { continue };
            if time >= from {
                take(time, alert);
            }
        }
        Ok(())
    }
}

/// No entry of this moment or later has a smaller one: ids are at least the time of writing in microseconds.
fn id(time: u64) -> i64 {
    i64::try_from(time / 1000).unwrap_or(i64::MAX)
}
