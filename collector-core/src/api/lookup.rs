//! What the tier on disk has of a window, and which points answer: those in memory or those. Does not know who reads the disk.

use std::collections::BTreeMap;

use super::history::{NotKept, Points};
use super::problem::Problem;
use super::window::{Gap, History, Query};
use crate::series::Series;
use crate::tier::{self, Known, Tier};
use crate::view::View;

/// What the tier on disk has of the host or of a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// When the oldest quarter of an hour began that is there, in nanoseconds since the Unix epoch.
    pub from: u64,
    /// Those of the window, oldest first.
    pub quarters: Vec<Known>,
}

/// What came of reading the disk.
#[derive(Clone, Debug, PartialEq)]
pub enum Disk {
    /// Nobody reads it.
    Unread,
    /// Nothing is kept there.
    Off,
    Failed(String),
    /// None: nothing of this workload is there.
    Read(Option<Kept>),
}

/// A question about the history, with what the tiers in memory have of it.
#[derive(Clone, Debug)]
pub struct Lookup {
    query: Query,
    now: u64,
    /// None: there is no such workload now.
    memory: Option<Vec<(Series, Result<Points, NotKept>)>>,
    /// What of the quarter that is not over is only in memory.
    open: Option<Known>,
}

impl History {
    /// What the tiers in memory have.
    pub fn of(view: &View, query: &Query) -> Result<History, Problem> {
        Lookup::of(view, query).answer(Disk::Unread)
    }
}

impl Kept {
    /// A series of it; `None` if it is not one that is kept.
    pub fn points(&self, workload: Option<&str>, series: Series) -> Option<Points> {
        let kept = tier::kept(series)?;
        let values = self.quarters.iter().map(|quarter| (quarter.time, quarter.values[kept]));
        Some(Points::new(workload, series, Tier::QuarterHour, self.from, values))
    }

    fn add(&mut self, open: &Known) {
        match self.quarters.last_mut() {
            Some(last) if last.time == open.time => last.add(open),
            Some(last) if last.time > open.time => {}
            _ => self.quarters.push(open.clone()),
        }
    }
}

impl Lookup {
    pub fn of(view: &View, query: &Query) -> Lookup {
        let workload = query.workload.as_deref();
        let mut lookup = Lookup {
            query: query.clone(),
            now: view.time,
            memory: None,
            open: view.track(workload).and_then(|track| view.history.open_quarter(track)),
        };
        let (from, to) = lookup.period();
        let points = |series| match Points::of(view, workload, series, from, to) {
            Err(NotKept::Workload) => None,
            points => Some((series, points)),
        };
        lookup.memory = query.series().map(points).collect();
        lookup
    }

    pub fn workload(&self) -> Option<&str> {
        self.query.workload.as_deref()
    }

    /// The window, both ends included, in nanoseconds since the Unix epoch.
    pub fn period(&self) -> (u64, u64) {
        (self.now.saturating_sub(self.query.seconds.saturating_mul(1_000_000_000)), self.now)
    }

    /// Whether the disk may have more of it than memory.
    pub fn wants_disk(&self) -> bool {
        let from = self.period().0;
        let lacks = |(series, points): &(Series, Result<Points, NotKept>)| {
            tier::kept(*series).is_some() && !points.as_ref().is_ok_and(|points| reaches(points, from))
        };
        let is_coarse = self.query.seconds.saturating_mul(1_000_000_000) > Tier::QuarterHour.step();
        is_coarse && self.memory.as_ref().is_none_or(|memory| memory.iter().any(lacks))
    }

    /// # Errors
    /// If there is no such workload, or that is not known.
    pub fn answer(mut self, mut disk: Disk) -> Result<History, Problem> {
        let kept = match &mut disk {
            Disk::Read(kept) => kept.take(),
            _ => None,
        };
        if self.memory.is_none() && kept.is_none() {
            return Err(self.unknown(&disk));
        }
        let kept = kept.map(|mut kept| {
            self.open.iter().for_each(|open| kept.add(open));
            kept
        });
        let from = self.period().0;
        let mut memory = self.memory.take().map(Vec::into_iter);
        let (mut series, mut gaps) = (Vec::new(), BTreeMap::<_, Vec<String>>::new());
        for one in self.query.series() {
            // Both are in the order of the question.
            let memory = memory.as_mut().and_then(|memory| memory.next()?.1.ok());
            let kept = kept.as_ref().and_then(|kept| kept.points(self.workload(), one));
            let Some(points) = chosen(memory, kept, from).filter(is_known) else { continue };
            if !reaches(&points, from) {
                gaps.entry((points.kept_from, reason(one, &disk))).or_default().push(points.series.clone());
            }
            series.push(match self.query.points {
                Some(most) => points.joined(self.query.seconds, most),
                None => points,
            });
        }
        let missing = gaps.into_iter().map(|((until, reason), series)| Gap { until, series, reason }).collect();
        let workload = self.workload().map(str::to_owned);
        Ok(History { time: self.now, window_seconds: self.query.seconds, workload, series, missing })
    }

    fn unknown(&self, disk: &Disk) -> Problem {
        let name = self.workload().unwrap_or_default();
        match disk {
            Disk::Failed(why) => Problem::new(
                503,
                format!("there is no workload {name:?} now, and the tier on disk was not read: {why}"),
            ),
            Disk::Read(_) => {
                Problem::unknown(format!("there is no workload {name:?}, and history.db has nothing of it"))
            }
            Disk::Unread | Disk::Off => Problem::unknown(format!("there is no workload {name:?}")),
        }
    }
}

/// Whether they begin within the first step of the window.
fn reaches(points: &Points, from: u64) -> bool {
    points.kept_from <= from.saturating_add(points.step())
}

fn is_known(points: &Points) -> bool {
    points.mean.iter().any(Option::is_some)
}

/// Those of the disk, if they reach further back by a quarter of an hour at least.
fn chosen(memory: Option<Points>, disk: Option<Points>, from: u64) -> Option<Points> {
    let disk = disk.filter(is_known);
    let further = |disk: &Points, memory: &Points| {
        !reaches(memory, from) && disk.kept_from.saturating_add(disk.step()) <= memory.kept_from
    };
    match (memory, disk) {
        (Some(memory), Some(disk)) if !further(&disk, &memory) => Some(memory),
        (_, Some(disk)) => Some(disk),
        (memory, None) => memory,
    }
}

/// Why nothing older is there.
fn reason(series: Series, disk: &Disk) -> String {
    match disk {
        _ if tier::kept(series).is_none() => "only its last minutes are kept".to_owned(),
        Disk::Unread => "nothing older is kept in memory".to_owned(),
        Disk::Off => "nothing older is kept in memory, and nothing on disk: history.max_bytes is 0".to_owned(),
        Disk::Failed(why) => format!("nothing older is kept in memory, and the tier on disk was not read: {why}"),
        Disk::Read(_) => "nothing older is kept".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::test::{ID, engine};
    use crate::sample::{Reading, Sample, Statistics};
    use crate::statistic::workload::Statistic;
    use crate::tier::KEPT;

    const SECOND: u64 = 1_000_000_000;
    const QUARTER: u64 = 900;
    /// When the agent started: within a quarter of an hour.
    const BEGUN: u64 = 1000 * QUARTER + 300;

    /// Memory of `/a`, second by second since [`BEGUN`].
    fn with(seconds: u64) -> Engine {
        let mut engine = engine();
        for second in BEGUN..BEGUN + seconds {
            let values = [(Statistic::MemoryCurrent, 4096), (Statistic::MemorySwap, 1)].into_iter().collect();
            for reading in [Reading::Statistics(Statistics { cgroup: ID, values, turn: true }), Reading::Tick] {
                engine.apply(&Sample { time: second * SECOND, reading });
            }
        }
        engine
    }

    fn lookup(engine: &Engine, seconds: u64, workload: &str) -> Lookup {
        let query = Query { seconds, workload: Some(workload.into()), series: None, points: None };
        Lookup::of(engine.view(), &query)
    }

    /// Quarters by number, with 64 KiB.
    fn kept(quarters: &[u64]) -> Kept {
        let mut values = [[None; 3]; KEPT.len()];
        values[tier::kept(Series::Memory).unwrap()] = [Some(1024.0), Some(65536.0), Some(131_072.0)];
        let known = |quarter: &u64| Known { time: quarter * QUARTER * SECOND, seconds: 900, values };
        Kept { from: quarters[0] * QUARTER * SECOND, quarters: quarters.iter().map(known).collect() }
    }

    fn memory(history: &History) -> &Points {
        history.series.iter().find(|points| points.series == Series::Memory.name()).unwrap()
    }

    #[test]
    fn a_window_beyond_memory_has_the_quarters_on_disk_and_the_one_that_is_not_over() {
        let engine = with(1000);
        let lookup = lookup(&engine, 7 * 24 * 3600, "/a");
        assert!(lookup.wants_disk());
        // The agent before this one stopped in the quarter in which this one started.
        let history = lookup.answer(Disk::Read(Some(kept(&[500, 501, 1000])))).unwrap();
        let points = memory(&history);
        assert_eq!(
            (points.tier, points.step_seconds, points.kept_from),
            (Tier::QuarterHour, 900, 500 * QUARTER * SECOND)
        );
        assert_eq!(points.times, [500, 501, 1000, 1001].map(|quarter| quarter * QUARTER * SECOND));
        assert_eq!(points.max, [131_072.0, 131_072.0, 131_072.0, 4096.0].map(Some));
        assert_eq!(points.min[3], Some(4096.0));
        let gaps: Vec<_> = history.missing.iter().map(|gap| (gap.until, gap.series.len(), &*gap.reason)).collect();
        assert_eq!(gaps.len(), 2, "{gaps:?}");
        assert_eq!(gaps[0], (500 * QUARTER * SECOND, 1, "nothing older is kept"));
        assert!(gaps[1].0 > BEGUN * SECOND && gaps[1].2 == "only its last minutes are kept", "{gaps:?}");
    }

    #[test]
    fn what_memory_reaches_is_not_read_from_the_disk() {
        let engine = with(4000);
        assert!(!lookup(&engine, 300, "/a").wants_disk() && !lookup(&engine, 3500, "/a").wants_disk());
        assert!(lookup(&engine, 6000, "/a").wants_disk(), "the agent started after that");
        assert!(!lookup(&engine, 900, "/b").wants_disk() && lookup(&engine, 901, "/b").wants_disk());
        // A quarter that began before the agent did says less than its minutes.
        let history = lookup(&engine, 6000, "/a").answer(Disk::Read(Some(kept(&[1000])))).unwrap();
        assert_eq!(memory(&history).tier, Tier::Minute);
        assert_eq!(history.missing[0].reason, "nothing older is kept");
    }

    #[test]
    fn a_workload_that_is_gone_has_what_the_disk_has() {
        let engine = with(10);
        let gone = lookup(&engine, 24 * 3600, "/gone");
        let history = gone.clone().answer(Disk::Read(Some(kept(&[990, 991])))).unwrap();
        assert_eq!(memory(&history).times.len(), 2, "the open quarter is not its own");
        let problem = |disk| gone.clone().answer(disk).map_err(|problem| (problem.status, problem.detail)).unwrap_err();
        assert_eq!(problem(Disk::Off), (404, "there is no workload \"/gone\"".to_owned()));
        assert_eq!(problem(Disk::Read(None)).0, 404);
        let (status, detail) = problem(Disk::Failed("the disk is slow".to_owned()));
        assert!(status == 503 && detail.contains("the disk is slow"), "{detail}");
    }

    #[test]
    fn a_disk_that_cannot_be_read_leaves_what_memory_has_and_says_so() {
        let engine = with(1000);
        for (disk, why) in [(Disk::Failed("it is slow".to_owned()), "it is slow"), (Disk::Off, "history.max_bytes")] {
            let history = lookup(&engine, 24 * 3600, "/a").answer(disk).unwrap();
            assert_eq!(memory(&history).tier, Tier::TenSeconds);
            assert!(history.missing.iter().any(|gap| gap.reason.contains(why)), "{:?}", history.missing);
        }
    }

    #[test]
    fn points_are_joined_to_as_many_as_are_wanted() {
        let engine = with(1000);
        let quarters: Vec<u64> = (900..1000).collect();
        for most in [1, 7, 50, 10_000] {
            let query = Query {
                seconds: 24 * 3600,
                workload: Some("/a".into()),
                series: Some(Series::Memory),
                points: Some(most),
            };
            let history = Lookup::of(engine.view(), &query).answer(Disk::Read(Some(kept(&quarters)))).unwrap();
            let points = memory(&history);
            // The window may begin and end within a step.
            assert!(points.times.len() as u64 <= most + 1, "{most}: {}", points.times.len());
            assert!(points.max.contains(&Some(131_072.0)) && points.min.contains(&Some(1024.0)));
            let step = points.step_seconds * SECOND;
            assert!(
                points.times.iter().all(|time| time.is_multiple_of(step)) && points.step_seconds.is_multiple_of(900)
            );
        }
    }
}
