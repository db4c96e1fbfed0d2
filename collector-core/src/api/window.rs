//! History over a span of time that ends now: the answer of `/api/v1/history`, and what of it is in the report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::history::{Points, shown};
use crate::series::Series;
use crate::view::View;
use crate::view::history::Track;

/// The longest window, in seconds: 90 days.
pub const LONGEST: u64 = 90 * 24 * 3600;
/// The window of the report, and of a history without one, in seconds.
pub const USUAL: u64 = 300;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Query {
    pub seconds: u64,
    /// The host, if there is none.
    pub workload: Option<Box<str>>,
    /// All that are known, if there is none.
    pub series: Option<Series>,
    /// At most so many points of each.
    pub points: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// When the window ends, in nanoseconds since the Unix epoch.
    pub time: u64,
    pub window_seconds: u64,
    /// The workload; absent for the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Nothing of a series that is not there was known within the window.
    pub series: Vec<Points>,
    /// Where the window reaches back further than what is kept.
    #[serde(default)]
    pub missing: Vec<Gap>,
}

/// What of a window is not there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Gap {
    /// There is nothing before this moment, in nanoseconds since the Unix epoch.
    pub until: u64,
    /// Of these series.
    pub series: Vec<String>,
    /// Why, in one sentence.
    pub reason: String,
}

impl Query {
    pub(super) fn series(&self) -> impl Iterator<Item = Series> {
        let one = self.series;
        Series::ALL.into_iter().filter(move |series| one.map_or(!series.is_part(), |one| one == *series))
    }
}

/// Mean and maximum of the last minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Recent {
    pub window_seconds: u64,
    /// Of the host, by series.
    pub host: BTreeMap<String, Extent>,
    /// Of each workload, its memory, CPU and GPU memory by series.
    pub workloads: BTreeMap<String, BTreeMap<String, Extent>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Extent {
    /// Of the seconds in which it was known.
    pub mean: f64,
    pub max: f64,
}

impl Recent {
    /// Absent before anything is kept.
    pub fn of(view: &View) -> Option<Recent> {
        let host = extents(view, &view.history.host, Series::ALL.into_iter().filter(|series| !series.is_part()));
        let of = |track: &Track| extents(view, track, [Series::Memory, Series::Cpu, Series::Vram].into_iter());
        let workloads = view.workloads.iter().map(|workload| (workload.name.to_string(), of(&workload.track)));
        let workloads: BTreeMap<_, _> = workloads.filter(|(_, extents)| !extents.is_empty()).collect();
        (!host.is_empty() || !workloads.is_empty()).then_some(Recent { window_seconds: USUAL, host, workloads })
    }
}

fn extents(view: &View, track: &Track, all: impl Iterator<Item = Series>) -> BTreeMap<String, Extent> {
    let from = view.time.saturating_sub(USUAL * 1_000_000_000);
    let extent = |series| {
        let (mean, max) = view.history.extent(track, series, from)?;
        Some((series.name().to_owned(), Extent { mean: shown(series, mean), max: shown(series, f64::from(max)) }))
    };
    all.filter_map(extent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::problem::Problem;
    use crate::engine::Engine;
    use crate::engine::test::{ID, engine};
    use crate::sample::{Reading, Sample, Statistics};
    use crate::statistic::workload::Statistic;

    const SECOND: u64 = 1_000_000_000;

    /// Memory of `/a` second by second.
    fn with(memory: &[u64]) -> Engine {
        let mut engine = engine();
        for (second, memory) in (1000..).zip(memory) {
            let values = [(Statistic::MemoryCurrent, *memory)].into_iter().collect();
            for reading in [Reading::Statistics(Statistics { cgroup: ID, values, turn: true }), Reading::Tick] {
                engine.apply(&Sample { time: second * SECOND, reading });
            }
        }
        engine
    }

    fn ask(engine: &Engine, seconds: u64, workload: Option<&str>, series: Option<Series>) -> Result<History, Problem> {
        History::of(engine.view(), &Query { seconds, workload: workload.map(Into::into), series, points: None })
    }

    #[test]
    fn a_window_ends_now_and_has_what_was_known_within_it() {
        let engine = with(&[10, 20, 30, 40]);
        let all = ask(&engine, 300, Some("/a"), None).unwrap();
        assert_eq!((all.time, all.window_seconds), (1003 * SECOND, 300));
        assert_eq!(all.series.iter().map(|points| &*points.series).collect::<Vec<_>>(), ["memory_bytes"]);
        assert_eq!(all.series[0].mean, [10.0, 20.0, 30.0, 40.0].map(Some));
        let last = ask(&engine, 1, Some("/a"), Some(Series::Memory)).unwrap();
        assert_eq!(last.series[0].times, [1002, 1003].map(|second| second * SECOND));
        assert_eq!(ask(&engine, LONGEST, Some("/a"), None).unwrap().series, all.series);
        assert_eq!(ask(&engine, 300, Some("/a"), Some(Series::Vram)).unwrap().series, []);
        assert_eq!(ask(&engine, 300, Some("/b"), None).unwrap_err().status, 404);
        assert_eq!(ask(&engine, 300, None, None).unwrap().workload, None);
    }

    #[test]
    fn the_report_has_mean_and_maximum_of_five_minutes() {
        let memory: Vec<u64> = (0..400).collect();
        let recent = Recent::of(with(&memory).view()).unwrap();
        let extent = &recent.workloads["/a"]["memory_bytes"];
        // The last 301 readings: both ends of the window are part of it.
        assert_eq!((recent.window_seconds, extent.max), (300, 399.0));
        assert_eq!(extent.mean, (99 + 399) as f64 / 2.0);
        assert_eq!(Recent::of(engine().view()), None);
    }
}
