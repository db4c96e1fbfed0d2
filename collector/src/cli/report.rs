//! `headroom report`: a period of days on one page, from the history and the journal; two of them beside each other.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io};

use anyhow::{Context as _, anyhow};
use collector_core::digest::{Digest, Listed, Material, Setting, compared, html, markdown, page, text};
use collector_core::tier::Rare;

use super::moment::Moment;
use super::settings::Settings;
use super::terminal::{colour, width};
use crate::clock;
use crate::config::Config;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use crate::sink::{history, journal};
use crate::zone;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
const LONGEST: u64 = 366;

/// Report on a period: what stands out, what to change, peaks against limits, GPUs, incidents and their causes, alerts
///
/// Reads the history (a quarter of an hour at a time) and the journal, so it works without a running agent. A peak is compared with
/// the limit that was in force at that time. What was not recorded is not known: the page says for how much of the period the host
/// was watched, and what the agent lost. Times are local; TZ=UTC headroom report has them in UTC.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  The last week, in the terminal:
    headroom report
  The last day as a page to send to somebody, with charts, in one file:
    headroom report --days 1 --html report.html
  What a change on the 20th did: the three days before it, and the three after:
    headroom report --days 3 --compare 2026-11-17..2026-11-20 --markdown
  Numbers for a script, of all workloads:
    headroom report --json | jq '.workloads[] | [.workload, .memory_bytes.max]'
")]
pub struct ReportArgs {
    /// Length of the period in days
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    pub days: u64,
    /// Compare the period that begins at A with the one that begins at B, each DAYS long: dates, or moments such as
    /// 2026-11-20T08:00, in local time, or in UTC with a Z at the end
    #[arg(long, value_name = "A..B")]
    pub compare: Option<Pair>,
    /// Write one HTML file, self-contained, with charts
    #[arg(long, value_name = "FILE", conflicts_with_all = ["markdown", "json"])]
    pub html: Option<PathBuf>,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print the numbers as JSON; with --compare, an array of both
    #[arg(long)]
    pub json: bool,
    /// List the first N workloads, instead of those that matter: with a limit, an incident, stalls, GPU memory, or more than 1 % of the
    /// host's memory
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// List every workload
    #[arg(long, conflicts_with = "limit")]
    pub all: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// When two periods begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(Moment, Moment);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Pair, String> {
        let (one, other) =
            text.split_once("..").ok_or("expected two dates with .. between them, such as 2026-11-17..2026-11-20")?;
        Ok(Pair(one.parse()?, other.parse()?))
    }
}

pub fn run(args: &ReportArgs, effective: &Effective) -> Result<(), Failure> {
    let (config, now) = (&effective.config, clock::unix_ns());
    let Some(record) = Record::open(config, now)? else {
        let dir = config.journal.dir.display();
        return super::print(&format!(
            "There is no journal and no history in {dir} yet: headroom run writes both. Nothing to report.\n"
        ));
    };
    let length = args.days * DAY;
    let digests = match args.compare {
        None => vec![record.digest((now.saturating_sub(length), now))?],
        Some(Pair(one, other)) => {
            let (one, other) = (one.time(), other.time());
            let period = |from: u64| (from, from.saturating_add(length).min(now));
            let late = [one, other].into_iter().find(|from| *from >= now);
            if late.is_some() {
                return Err(Failure::new(Exit::Usage, anyhow!("--compare: a period begins in the future")));
            }
            vec![record.digest(period(one))?, record.digest(period(other))?]
        }
    };
    if args.json {
        let json = match &digests[..] {
            [only] => serde_json::to_string_pretty(only),
            both => serde_json::to_string_pretty(both),
        };
        return super::print(&(json.context("write JSON")? + "\n"));
    }
    let span = digests.iter().fold((now, 0), |(from, to), it| (it.from.min(from), it.to.max(to)));
    let listed = match (args.limit, args.all) {
        (_, true) => Listed::All,
        (Some(count), _) => Listed::First(count),
        (None, false) => Listed::Important,
    };
    let setting = Setting { host: config.host_name(), zone: zone::between(span), listed };
    let blocks = match &digests[..] {
        [before, after] => compared(before, after, &setting),
        digests => digests.iter().flat_map(|digest| page(digest, &setting)).collect(),
    };
    match &args.html {
        Some(file) => write(file, &html(&blocks)),
        None if args.markdown => super::print(&markdown(&blocks)),
        None => super::print(&text(&blocks, width(), colour())),
    }
}

fn write(file: &Path, page: &str) -> Result<(), Failure> {
    fs::write(file, page).with_context(|| format!("write {}", file.display()))?;
    Ok(())
}

/// What is on disk.
struct Record {
    history: Option<history::Reader>,
    journal: Option<journal::Reader>,
    /// See [`Material`].
    history_from: Option<u64>,
    events_from: Option<u64>,
}

impl Record {
    /// `None` if there is neither a journal nor a history.
    fn open(config: &Config, now: u64) -> Result<Option<Record>, Failure> {
        let dir = &config.journal.dir;
        let journal = journal::Reader::find(dir).map_err(hinted)?;
        let history = history::Reader::find(dir).map_err(hinted)?;
        if journal.is_none() && history.is_none() {
            return Ok(None);
        }
        let kept = history.as_ref().map(|history| history.kept(None, 0, 0)).transpose()?.flatten();
        let limits = journal::Limits {
            max_age: config.journal.max_age,
            max_bytes: config.journal.max_bytes as u64,
            readers: None,
        };
        let events_from = journal.as_ref().map(|journal| journal.complete_since(&limits, now)).transpose()?;
        Ok(Some(Record { history, journal, history_from: kept.map(|kept| kept.from), events_from }))
    }

    fn digest(&self, (from, to): (u64, u64)) -> anyhow::Result<Digest> {
        let (history_from, events_from) = (self.history_from, self.events_from);
        let mut material = Material { history_from, events_from, ..Material::default() };
        if let Some(history) = &self.history {
            material.host = history.quarters(None, from, to)?;
            for name in history.workloads(from, to)? {
                let quarters = history.quarters(Some(&name), from, to)?;
                material.workloads.push((name, quarters));
            }
            material.cards = history.cards(from, to)?;
            material.counts = history.counts(from, to)?;
        }
        if let Some(journal) = &self.journal {
            material.incidents = journal.incidents_since(from)?;
            material.alerts = journal.alerts_since(from)?;
            material.advice = journal.advice_before(to)?;
        }
        if let (Some(history), Some((oldest, _))) = (&self.history, material.advice.first()) {
            let counts = history.counts(*oldest, to)?;
            let started = counts.into_iter().filter(|(_, rare, _)| *rare == Rare::Start);
            material.starts = started.map(|(time, ..)| time).collect();
        }
        Ok(Digest::new((from, to), &material))
    }
}

/// What to do where a file may not be read.
fn hinted(error: anyhow::Error) -> Failure {
    match error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => {
            Failure::from(error).hint("run this command as root, or as a user who may read the journal")
        }
        _ => Failure::from(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_dates_or_moments_are_a_pair() {
        let Pair(one, other) = "1970-01-01T12:00Z..1970-01-02T00:00:00Z".parse().unwrap();
        assert_eq!((one.time(), other.time()), (DAY / 2, DAY));
        for wrong in ["", "1970-01-01", "a..b", "1970-01-01..", "1970-01-01..1970-13-01", "1970-01-01ZZ..1970-01-02"] {
            assert!(wrong.parse::<Pair>().is_err(), "{wrong}");
        }
    }
}
