//! `headroom report`: a period of days on one page, from the history and the journal; two of them beside each other.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, anyhow};
use collector_core::digest::{Digest, compared, html, markdown, page, text};

use super::direct::Direct;
use super::settings::Settings;
use super::terminal::{colour, width};
use crate::clock;
use crate::config::Config;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use crate::sink::{history, journal};

const DAY: u64 = 86_400_000_000_000;
const LONGEST: u64 = 366;

/// Report on a period: peaks and means against limits, incidents and their causes, waits, alerts
///
/// Reads the history (a quarter of an hour at a time) and the journal, so it works without a running agent. What was not recorded
/// is not known: the page says for how much of the period the host was watched. Limits are those of now.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  The last week, in the terminal:
    headroom report
  The last day as a page to send to somebody, with pictures, in one file:
    headroom report --days 1 --html report.html
  What a change on the 20th did: the three days before it, and the three after:
    headroom report --days 3 --compare 2026-11-17..2026-11-20 --markdown
  Numbers for a script:
    headroom report --json | jq '.workloads[] | [.workload, .memory_bytes.max]'
")]
pub struct ReportArgs {
    /// Length of the period in days
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u64).range(1..=LONGEST))]
    pub days: u64,
    /// Compare the period that begins at A with the one that begins at B, each DAYS long: dates, or moments such as
    /// 2026-11-20T08:00, in UTC
    #[arg(long, value_name = "A..B")]
    pub compare: Option<Pair>,
    /// Write one HTML file, with pictures and nothing from elsewhere
    #[arg(long, value_name = "FILE", conflicts_with_all = ["markdown", "json"])]
    pub html: Option<PathBuf>,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    pub markdown: bool,
    /// Print the numbers as JSON; with --compare, an array of both
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// When two periods begin, in nanoseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair(u64, u64);

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Pair, String> {
        let (one, other) = text.split_once("..").ok_or("two moments with .. between them are wanted")?;
        Ok(Pair(moment(one)?, moment(other)?))
    }
}

/// A date, or a date and a time, in UTC.
fn moment(text: &str) -> Result<u64, String> {
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => text.to_owned(),
    };
    let time = humantime::parse_rfc3339_weak(&whole).map_err(|_| format!("{text:?} is no date such as 2026-11-20"))?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos();
    u64::try_from(since).map_err(|_| format!("{text:?} is too far away"))
}

pub fn run(args: &ReportArgs, effective: &Effective) -> Result<(), Failure> {
    let config = &effective.config;
    let Some(record) = Record::open(config)? else {
        let dir = config.journal.dir.display();
        return super::print(&format!(
            "There is no journal and no history in {dir} yet: headroom run writes both. Nothing to report.\n"
        ));
    };
    let (now, length) = (clock::unix_ns(), args.days * DAY);
    let mut digests = match args.compare {
        None => vec![record.digest((now.saturating_sub(length), now))?],
        Some(Pair(one, other)) => {
            let period = |from: u64| (from, from.saturating_add(length).min(now));
            let late = [one, other].into_iter().find(|from| *from >= now);
            if late.is_some() {
                return Err(Failure::new(Exit::Usage, anyhow!("--compare: a period begins in the future")));
            }
            vec![record.digest(period(one))?, record.digest(period(other))?]
        }
    };
    limits(&mut digests, config);
    if args.json {
        let json = match &digests[..] {
            [only] => serde_json::to_string_pretty(only),
            both => serde_json::to_string_pretty(both),
        };
        return super::print(&(json.context("write JSON")? + "\n"));
    }
    let host = config.host_name();
    let blocks = match &digests[..] {
        [before, after] => compared(before, after, &host),
        digests => digests.iter().flat_map(|digest| page(digest, &host)).collect(),
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

/// The limits that workloads have now. A host that cannot be read has none to show.
fn limits(digests: &mut [Digest], config: &Config) {
    let Ok(mut direct) = Direct::open(config) else { return };
    let lines = collector_core::api::workloads::Summary::of(direct.read()).workloads;
    for figures in digests.iter_mut().flat_map(|digest| &mut digest.workloads) {
        let line = lines.iter().find(|line| Some(&line.workload) == figures.workload.as_ref());
        figures.memory_limit_bytes = line.and_then(|line| line.memory_limit_bytes);
    }
}

/// What is on disk.
struct Record {
    history: Option<history::Reader>,
    journal: Option<journal::Reader>,
}

impl Record {
    /// `None` if there is neither a journal nor a history.
    fn open(config: &Config) -> Result<Option<Record>, Failure> {
        let dir = &config.journal.dir;
        let journal = there(journal::Reader::open(dir))?;
        let history = there(history::Reader::open(dir))?;
        if journal.is_none() && history.is_none() {
            return Ok(None);
        }
        Ok(Some(Record { history, journal }))
    }

    fn digest(&self, (from, to): (u64, u64)) -> anyhow::Result<Digest> {
        let (mut host, mut workloads) = (Vec::new(), Vec::new());
        if let Some(history) = &self.history {
            host = history.quarters(None, from, to)?;
            for name in history.workloads(from, to)? {
                let quarters = history.quarters(Some(&name), from, to)?;
                workloads.push((name, quarters));
            }
        }
        let (mut incidents, mut alerts) = (Vec::new(), Vec::new());
        if let Some(journal) = &self.journal {
            (incidents, alerts) = (journal.incidents_since(from)?, journal.alerts_since(from)?);
        }
        Ok(Digest::new((from, to), &host, workloads, &incidents, &alerts))
    }
}

/// `None` if the file does not exist; that it cannot be read is an error.
fn there<T>(opened: anyhow::Result<T>) -> Result<Option<T>, Failure> {
    let kind = |error: &anyhow::Error| error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    match opened {
        Err(error) if kind(&error) == Some(std::io::ErrorKind::NotFound) => Ok(None),
        Err(error) if kind(&error) == Some(std::io::ErrorKind::PermissionDenied) => {
            Err(Failure::from(error).hint("run this command as root, or as a user who may read the journal"))
        }
        opened => Ok(Some(opened?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_dates_or_moments_are_a_pair() {
        let day = |days: u64| days * DAY;
        assert_eq!("1970-01-02..1970-01-03".parse(), Ok(Pair(day(1), day(2))));
        assert_eq!("1970-01-01T12:00..1970-01-02T00:00:00Z".parse(), Ok(Pair(DAY / 2, day(1))));
        for wrong in ["", "1970-01-01", "a..b", "1970-01-01..", "1970-01-01..1970-13-01"] {
            assert!(wrong.parse::<Pair>().is_err(), "{wrong}");
        }
    }
}
