//! What an agent seems to have left on disk days ago: a history of days, and a journal. Written in the agent's own formats; knows nothing of
//! what follows from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collector::sink::history::day::{Day, place};
use collector::sink::history::file;
use collector::sink::history::write::{Rows, append};
use collector::sink::journal::write::Entry;
use collector::sink::journal::{self, write};
use collector_core::outcome::Outcome;
use collector_core::past::{DAY_NS, midnight};
use collector_core::series::Series;
use collector_core::tier::{Code, KEPT, Quarter, ROUNDS, Rare, Tier, kept};

/// Nanoseconds of a quarter of an hour.
pub const QUARTER_NS: u64 = Tier::QuarterHour.step();

const MAX_AGE: Duration = Duration::from_secs(90 * 86_400);
const MAX_BYTES: u64 = 1 << 28;

/// The quarters of so many whole days and of today, up to the last one that is over: when each began.
pub fn quarters(days: u64, now: u64) -> impl Iterator<Item = u64> {
    (midnight(now) - days * DAY_NS..now / QUARTER_NS * QUARTER_NS).step_by(QUARTER_NS as usize)
}

/// Writes what was known of a workload, or of the host (`None`), in these quarters, the oldest first. In each of them it was the same all the
/// time.
pub fn leave(
    journal: &Path,
    workload: Option<&str>,
    quarters: impl IntoIterator<Item = u64>,
    of: impl Fn(u64) -> Vec<(Series, f32)>,
) {
    let mut days: BTreeMap<u64, Day> = BTreeMap::new();
    for time in quarters {
        let mut row = [[Code::UNKNOWN; 3]; KEPT.len()];
        for (series, value) in of(time) {
            row[kept(series).unwrap()] = ROUNDS.map(|round| Code::of(series, value, round));
        }
        let (day, quarter) = place(time);
        days.entry(day).or_default().add(quarter, 900, &row);
    }
    // The agent writes a quarter at a time, which would take seconds here.
    let (connection, _) = file::open(journal, MAX_BYTES).unwrap();
    for (day, body) in days {
        let row = (day as i64, workload.unwrap_or_default(), "", body.pack().unwrap());
        connection.execute("INSERT OR REPLACE INTO day VALUES (?, ?, ?, ?)", row).unwrap();
    }
}

/// Writes what was counted in the quarter that began then.
pub fn count(journal: &Path, time: u64, counts: Vec<(Rare, u64)>) {
    let limits = file::Limits { max_age: MAX_AGE, max_bytes: MAX_BYTES, workloads: 1000, workloads_of_owner: 100 };
    let (mut connection, _) = file::open(journal, MAX_BYTES).unwrap();
    let quarter = Quarter { time, entries: Vec::new(), cards: Vec::new(), counts };
    append(&mut connection, &quarter, &mut Rows::default(), &limits).unwrap();
}

/// Writes outcomes of these moments into the journal, the oldest first.
pub fn remember(journal: &Path, outcomes: Vec<(u64, Outcome)>) {
    let limits = journal::Limits { max_age: MAX_AGE, max_bytes: MAX_BYTES, readers: None };
    let (mut connection, _) = journal::open(journal, &limits).unwrap();
    let entry = |(index, (time, outcome)): (usize, (u64, Outcome))| Entry::Outcome {
        id: time / 1000 + index as u64,
        time,
        outcome: Arc::new(outcome),
        sinks: Arc::new([]),
    };
    let entries: Vec<Entry> = outcomes.into_iter().enumerate().map(entry).collect();
    write::append(&mut connection, &entries).unwrap();
}
