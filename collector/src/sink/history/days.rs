//! Reads single days of the history, and which workloads are large: for what is known of the last days. Each read is bounded.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result};
use collector_core::past::OF_OWNER;
use collector_core::series::Series;
use collector_core::tier::{self, Known};
use rusqlite::{OptionalExtension as _, params};

use super::day::{Day, QUARTERS, TRACK, begin, place};
use super::read::Reader;

/// Most rows that are looked at to find the largest: a second or two, once a day.
const ROWS: i64 = 40_000;

/// The name of a workload, and its owner: empty if that is root.
pub type Named = (String, String);

impl Reader {
    /// What is known of the quarters of the day of a moment: of the host, or of a workload.
    pub fn day(&self, workload: Option<&str>, time: u64) -> Result<Vec<Known>> {
        let day = place(time).0;
        let body: Option<Vec<u8>> = self
            .connection()
            .prepare_cached("SELECT body FROM day WHERE day = ? AND workload = ?")
            .context("read the history")?
            .query_row(params![day as i64, workload.unwrap_or_default()], |row| row.get(0))
            .optional()
            .context("read the history")?;
        let Some(body) = body else { return Ok(Vec::new()) };
        let body = match Day::unpack(&TRACK, &body) {
            Ok(body) => body,
            Err(error) => {
                tracing::debug!("skipped a day of the history: {error:#}");
                return Ok(Vec::new());
            }
        };
        let quarters = (0..QUARTERS).filter(|quarter| body.seconds(*quarter) > 0);
        let known = quarters.map(|quarter| Known {
            time: begin(day, quarter),
            seconds: body.seconds(quarter),
            values: std::array::from_fn(|kept| body.values(quarter, kept)),
        });
        Ok(known.collect())
    }

    /// Some workloads of the days from one moment to another that are wanted, at most so many, and of one user not too many.
    pub fn named(&self, span: (u64, u64), most: usize, wants: impl Fn(&str) -> bool) -> Result<Vec<Named>> {
        let mut of_owner: HashMap<String, usize> = HashMap::new();
        self.some(span, most, |name, owner| {
            if !wants(name) || owner.is_empty() {
                return wants(name);
            }
            let count = of_owner.entry(owner.to_owned()).or_default();
            *count += 1;
            *count <= OF_OWNER
        })
    }

    fn some(
        &self,
        (from, to): (u64, u64),
        most: usize,
        mut wants: impl FnMut(&str, &str) -> bool,
    ) -> Result<Vec<Named>> {
        let statement = "SELECT DISTINCT workload, owner FROM day WHERE day BETWEEN ? AND ? AND workload <> '' LIMIT ?";
        let mut statement = self.connection().prepare_cached(statement).context("read the history")?;
        let mut rows =
            statement.query(params![place(from).0 as i64, place(to).0 as i64, ROWS]).context("read the history")?;
        let mut named: BTreeMap<String, String> = BTreeMap::new();
        while named.len() < most
            && let Some(row) = rows.next().context("read the history")?
        {
            let (name, owner): (String, String) = (row.get(0)?, row.get(1)?);
            if wants(&name, &owner) {
                named.insert(name, owner);
            }
        }
        Ok(named.into_iter().collect())
    }

    /// The workloads of these days with the highest peaks, at most so many: of all days if there are few rows, or else of the last ones. Of
    /// one user not too many.
    pub fn largest(&self, (from, to): (u64, u64), most: usize) -> Result<Vec<Named>> {
        let few = self.some((from, to), most + 1, |_, _| true)?;
        if few.len() <= most {
            return Ok(few);
        }
        let statement = "SELECT workload, owner, body FROM day WHERE day BETWEEN ? AND ? AND workload <> ''
             ORDER BY day DESC LIMIT ?";
        let mut statement = self.connection().prepare_cached(statement).context("read the history")?;
        let mut rows =
            statement.query(params![place(from).0 as i64, place(to).0 as i64, ROWS]).context("read the history")?;
        let memory = tier::kept(Series::Memory).unwrap_or(0);
        let mut peaks: HashMap<String, (String, f32)> = HashMap::new();
        while let Some(row) = rows.next().context("read the history")? {
            let body: Vec<u8> = row.get(2)?;
            let Ok(day) = Day::unpack(&TRACK, &body) else { continue };
            let peaks_of = (0..QUARTERS).filter_map(|quarter| day.values(quarter, memory)[2]);
            let peak = peaks_of.fold(0.0, f32::max);
            let known = peaks.entry(row.get(0)?).or_insert((row.get(1)?, 0.0));
            known.1 = known.1.max(peak);
            // Names may be many thousands.
            if peaks.len() > 8 * most {
                let kept = ranked(std::mem::take(&mut peaks), most);
                peaks = kept.into_iter().map(|(name, owner, peak)| (name, (owner, peak))).collect();
            }
        }
        Ok(ranked(peaks, most).into_iter().map(|(name, owner, _)| (name, owner)).collect())
    }
}

fn ranked(peaks: HashMap<String, (String, f32)>, most: usize) -> Vec<(String, String, f32)> {
    let mut ranked: Vec<_> = peaks.into_iter().map(|(name, (owner, peak))| (name, owner, peak)).collect();
    ranked.sort_by(|one, other| other.2.total_cmp(&one.2).then_with(|| one.0.cmp(&other.0)));
    let mut of_owner: HashMap<String, usize> = HashMap::new();
    ranked.retain(|(_, owner, _)| {
        let count = of_owner.entry(owner.clone()).or_default();
        *count += 1;
        owner.is_empty() || *count <= OF_OWNER
    });
    ranked.truncate(most);
    ranked
}
