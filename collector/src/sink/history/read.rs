//! Reads the history's tier on disk, with or without an agent that writes to it.

use std::path::Path;

use anyhow::{Context as _, Result};
use collector_core::api::forecast::{Question, Read};
use collector_core::api::lookup::Kept;
use collector_core::digest::card::Card;
use collector_core::forecast::Material;
use collector_core::tier::{Known, Rare, Tier};
use rusqlite::{Connection, params};

use super::day::{Day, QUARTERS, TRACK, begin, place};
use super::file::{FILE, LAYOUT};
use super::rare;

/// Most days that one answer goes through, the last ones.
const DAYS: i64 = 400;

/// The file, opened read-only.
pub struct Reader {
    connection: Connection,
}

impl Reader {
    /// # Errors
    /// If the file is missing, not readable, or not a history of this version.
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

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The workloads of which anything is kept between two moments (nanoseconds since the Unix epoch), by name.
    pub fn workloads(&self, from: u64, to: u64) -> Result<Vec<String>> {
        let statement =
            "SELECT DISTINCT workload FROM day WHERE day BETWEEN ? AND ? AND workload <> '' ORDER BY workload";
        let mut statement = self.connection.prepare(statement).context("read the history")?;
        let names = statement.query_map(params![place(from).0 as i64, place(to).0 as i64], |row| row.get(0));
        names.context("read the history")?.collect::<Result<_, _>>().context("read the history")
    }

    /// What there is of the host or of a workload from one moment to another, both included; `None` if nothing of it is kept.
    pub fn kept(&self, workload: Option<&str>, from: u64, to: u64) -> Result<Option<Kept>> {
        let Some((first, day)) = self.oldest(workload.unwrap_or_default())? else { return Ok(None) };
        let quarter = (0..QUARTERS).find(|quarter| day.seconds(*quarter) > 0).unwrap_or(0);
        // A quarter belongs to what was asked if a part of it does.
        let from = from.saturating_sub(Tier::QuarterHour.step() - 1);
        let quarters = self.quarters(workload, from, to.saturating_add(1))?;
        Ok(Some(Kept { from: begin(first, quarter), quarters }))
    }

    /// What is known of each quarter of an hour that began in a period: of the host, or of a workload.
    pub fn quarters(&self, workload: Option<&str>, from: u64, to: u64) -> Result<Vec<Known>> {
        let days = self.days(workload.unwrap_or_default(), place(from).0, place(to).0)?;
        let quarters = days.iter().flat_map(|(day, body)| (0..QUARTERS).map(move |quarter| (*day, body, quarter)));
        let known =
            quarters.filter(|(_, body, quarter)| body.seconds(*quarter) > 0).map(|(day, body, quarter)| Known {
                time: begin(day, quarter),
                seconds: body.seconds(quarter),
                values: std::array::from_fn(|kept| body.values(quarter, kept)),
            });
        Ok(known.filter(|known| (from..to).contains(&known.time)).collect())
    }

    /// What is known of each GPU in quarters that began in a period.
    pub fn cards(&self, from: u64, to: u64) -> Result<Vec<Card>> {
        rare::cards(&self.connection, from, to)
    }

    /// What was counted in quarters that began in a period, by when they did.
    pub fn counts(&self, from: u64, to: u64) -> Result<Vec<(u64, Rare, u64)>> {
        rare::counts(&self.connection, from, to)
    }

    /// What a forecast rests on.
    pub fn forecast(&self, question: &Question) -> Result<Read> {
        let (query, (from, to)) = (question.query(), question.period());
        let work = |name: &Option<Box<str>>| -> Result<Option<Material>> {
            let of = |name: &str| -> Result<Material> {
                let quarters = self.quarters(Some(name), from, to)?;
                Ok(Material { workload: Some(name.to_owned()), quarters, ..Material::default() })
            };
            name.as_deref().map(of).transpose()
        };
        let (workload, one_more) = (work(&query.workload)?, work(&query.one_more)?);
        // Of a workload alone the host says nothing.
        let mut host = Material::default();
        if workload.is_none() || one_more.is_some() {
            host.quarters = self.quarters(None, from, to)?;
            host.cards = self.cards(from, to)?;
            host.counts = rare::sizes(&self.connection, from, to)?;
        }
        Ok(Read { host, workload, one_more })
    }

    fn oldest(&self, name: &str) -> Result<Option<(u64, Day)>> {
        let statement = "SELECT min(day) FROM day WHERE workload = ?";
        let day: Option<i64> =
            self.connection.query_row(statement, [name], |row| row.get(0)).context("read the history")?;
        let Some(day) = day else { return Ok(None) };
        let days = self.days(name, day as u64, day as u64)?;
        Ok(Some(days.into_iter().next().unwrap_or((day as u64, Day::default()))))
    }

    /// Days that can be read, oldest first; others are skipped.
    fn days(&self, name: &str, from: u64, to: u64) -> Result<Vec<(u64, Day)>> {
        let statement =
            "SELECT day, body FROM day WHERE day BETWEEN ? AND ? AND workload = ? ORDER BY day DESC LIMIT ?";
        let mut statement = self.connection.prepare(statement).context("read the history")?;
        let rows = statement
            .query_map(params![from as i64, to as i64, name, DAYS], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .context("read the history")?;
        let mut days = Vec::new();
        for row in rows {
            let (day, body) = row.context("read the history")?;
            match Day::unpack(&TRACK, &body) {
                Ok(body) => days.push((day as u64, body)),
                Err(error) => tracing::warn!("skipped a day of {name} in the history: {error:#}"),
            }
        }
        days.reverse();
        Ok(days)
    }
}
