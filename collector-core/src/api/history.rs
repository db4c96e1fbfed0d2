//! The history of one series: what `/api/v1/history` answers, and what terminal, page and report draw. The same for the tiers in
//! memory and the one on disk.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::series::Series;
pub use crate::tier::Tier;
use crate::view::View;

/// A series of the host or of one workload, point by point, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Points {
    /// The workload; absent for the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    pub series: String,
    /// Where the points come from: the finest that reaches back as far as was asked, or else the one that reaches back furthest.
    pub tier: Tier,
    /// What one point stands for, in seconds. A tick that is longer than a second has one point.
    pub step_seconds: u64,
    /// When the points begin that are kept here, in nanoseconds since the Unix epoch. Nothing is kept of what was asked before that.
    pub kept_from: u64,
    /// In nanoseconds since the Unix epoch: when a point of the tier `second` was read, and when the period of any other began.
    pub times: Vec<u64>,
    /// The least in each period; null where it is kept, but not known.
    pub min: Vec<Option<f64>>,
    pub mean: Vec<Option<f64>>,
    /// The most. Of the coarse tiers, minimum and maximum are rounded away from each other by a thousandth at most.
    pub max: Vec<Option<f64>>,
}

/// Why there are no points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotKept {
    /// There is no workload of this name.
    Workload,
    /// The period ended before anything that is kept.
    Period,
}

impl Points {
    /// A series from one moment to another (nanoseconds since the Unix epoch, both included), from the tiers in memory.
    ///
    /// # Errors
    /// If nothing of it is kept. What is kept, but was not known at the time, are points without values.
    pub fn of(view: &View, workload: Option<&str>, series: Series, from: u64, to: u64) -> Result<Points, NotKept> {
        let track = view.track(workload).ok_or(NotKept::Workload)?;
        let tiers = [Tier::Second, Tier::TenSeconds, Tier::Minute];
        let kept = tiers.map(|tier| Some((tier, view.history.kept_from(track, series, tier)?)));
        // The first period may have begun before the track did.
        let whole =
            |tier: Tier, begin: u64| if tier == Tier::Second { begin } else { begin.saturating_add(tier.step()) };
        let kept = || kept.into_iter().flatten();
        let earliest = kept().map(|(tier, begin)| whole(tier, begin)).min().ok_or(NotKept::Period)?;
        let reaches = |(tier, begin): &(Tier, u64)| whole(*tier, *begin) <= from.max(earliest);
        let (tier, kept_from) = kept().find(reaches).ok_or(NotKept::Period)?;
        if to < kept_from {
            return Err(NotKept::Period);
        }
        // A period belongs to what was asked if a part of it does.
        let step = if tier == Tier::Second { 1 } else { tier.step() };
        let within = |time: u64| time <= to && time.saturating_add(step) > from;
        let values = view.history.values(track, series, tier, within);
        Ok(Points::new(workload, series, tier, kept_from, values))
    }

    /// The points of a tier.
    pub fn new(
        workload: Option<&str>,
        series: Series,
        tier: Tier,
        kept_from: u64,
        values: impl IntoIterator<Item = (u64, [Option<f32>; 3])>,
    ) -> Points {
        let mut points = Points {
            workload: workload.map(str::to_owned),
            series: series.name().to_owned(),
            tier,
            step_seconds: tier.step() / 1_000_000_000,
            kept_from,
            times: Vec::new(),
            min: Vec::new(),
            mean: Vec::new(),
            max: Vec::new(),
        };
        for (time, [min, mean, max]) in values {
            points.times.push(time);
            points.min.push(min.map(|value| shown(series, value.into())));
            points.mean.push(mean.map(|value| shown(series, value.into())));
            points.max.push(max.map(|value| shown(series, value.into())));
        }
        points
    }

    /// What one point stands for, in nanoseconds.
    pub(super) fn step(&self) -> u64 {
        self.step_seconds.saturating_mul(1_000_000_000)
    }

    /// The same with neighbours joined, so that a window of so many seconds has at most so many points, plus one for a step that is not complete. Like the
    /// periods of a tier they begin at multiples of their length.
    pub fn joined(self, window_seconds: u64, most: u64) -> Points {
        let points = window_seconds.div_ceil(self.step_seconds.max(1));
        let factor = points.div_ceil(most.max(1));
        if factor <= 1 {
            return self;
        }
        let step = self.step().saturating_mul(factor).max(1);
        let mut joined = Points {
            step_seconds: self.step_seconds.saturating_mul(factor),
            workload: self.workload,
            series: self.series,
            times: Vec::new(),
            min: Vec::new(),
            mean: Vec::new(),
            max: Vec::new(),
            ..self
        };
        let all: Vec<usize> = (0..self.times.len()).collect();
        for part in all.chunk_by(|one, other| self.times[*one] / step == self.times[*other] / step) {
            let known = |values: &[Option<f64>]| part.iter().filter_map(|index| values[*index]).collect::<Vec<_>>();
            let means = known(&self.mean);
            joined.times.push(self.times[part[0]] / step * step);
            joined.min.push(known(&self.min).into_iter().reduce(f64::min));
            joined.mean.push((!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64));
            joined.max.push(known(&self.max).into_iter().reduce(f64::max));
        }
        joined
    }
}

/// Drops the digits that single precision does not have.
pub(super) fn shown(series: Series, value: f64) -> f64 {
    if series.name().contains("bytes") { value.round() } else { (value * 1e7).round() / 1e7 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::engine::test::{ID, engine, start};
    use crate::identity::Names;
    use crate::sample::{self, Reading, Sample, Statistics, Usage};
    use crate::signal::cgroup;
    use crate::statistic::workload::Statistic;

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3600;

    fn tick(engine: &mut Engine, second: u64, cgroup: Id, memory: u64) {
        let values = [(Statistic::MemoryCurrent, memory), (Statistic::MemorySwap, 7)].into_iter().collect();
        let time = second * SECOND;
        for reading in [Reading::Statistics(Statistics { cgroup, values, turn: false }), Reading::Tick] {
            engine.apply(&Sample { time, reading });
        }
    }

    fn of(engine: &Engine, series: Series, from: u64, to: u64) -> Result<Points, NotKept> {
        Points::of(engine.view(), Some("/a"), series, from * SECOND, to * SECOND)
    }

    /// Tier, number of points, and the largest value.
    fn seen(points: &Points) -> (Tier, usize, Option<f64>) {
        (points.tier, points.times.len(), points.max.iter().flatten().copied().reduce(f64::max))
    }

    #[test]
    fn the_finest_tier_that_reaches_back_answers_and_a_peak_is_in_each() {
        let mut engine = engine();
        let begun = 10 * HOUR;
        for second in begun..begun + 2 * HOUR {
            if second == begun + 7_000 {
                // Only between two ticks.
                let usage = Usage { cgroup: ID, least: 1, mean: 4096, most: 1 << 20 };
                engine.apply(&Sample { time: second * SECOND, reading: Reading::Usage(usage) });
            }
            tick(&mut engine, second, ID, 4096);
        }
        let now = begun + 2 * HOUR - 1;
        let memory = |back| of(&engine, Series::Memory, now - back, now).unwrap();
        assert_eq!(seen(&memory(250)), (Tier::Second, 251, Some((1u64 << 20) as f64)));
        assert_eq!(seen(&memory(1800)), (Tier::TenSeconds, 181, Some((1u64 << 20) as f64)));
        assert_eq!(seen(&memory(7000)), (Tier::Minute, 117, Some((1u64 << 20) as f64)));
        assert!(memory(7000).min.contains(&Some(1.0)));
        let ages = memory(now);
        assert_eq!((ages.tier, ages.kept_from), (Tier::Minute, begun * SECOND), "nothing reaches further");
        // Nothing but the five minutes has swap, and nothing at all has what was before.
        assert_eq!(of(&engine, Series::Swap, 0, now).unwrap().tier, Tier::Second);
        assert_eq!(of(&engine, Series::Swap, 0, begun + 60), Err(NotKept::Period));
        assert_eq!(of(&engine, Series::Memory, 0, begun - 60), Err(NotKept::Period));
        assert_eq!(Points::of(engine.view(), Some("/nobody"), Series::Memory, 0, u64::MAX), Err(NotKept::Workload));
        // It is kept, but was not known.
        let waiting = of(&engine, Series::IoWaiting, now - 9, now).unwrap();
        assert_eq!((waiting.times.len(), waiting.max.iter().flatten().count()), (10, 0));
        let host = Points::of(engine.view(), None, Series::Read, 0, u64::MAX).unwrap();
        assert_eq!((host.tier, host.mean.iter().flatten().count()), (Tier::Second, 0));
        let json = serde_json::to_string(&ages).unwrap();
        assert_eq!(serde_json::from_str::<Points>(&json).unwrap(), ages);
    }

    #[test]
    fn a_young_history_is_read_second_by_second_however_far_back_one_asks() {
        let mut engine = engine();
        (1000..1100).for_each(|second| tick(&mut engine, second, ID, 9));
        for from in [0, 999, 1050] {
            assert_eq!(of(&engine, Series::Memory, from, 1099).unwrap().tier, Tier::Second, "{from}");
        }
        // A period belongs to what was asked if a part of it does.
        assert_eq!(of(&engine, Series::Memory, 0, 1099).unwrap().times.len(), 100);
    }

    #[test]
    fn two_workloads_of_one_name_have_one_history_and_a_restart_has_none() {
        let mut engine = engine();
        let [old, young] = [80, 81].map(|id| Id { id, ..ID });
        for (second, id, letter, memory) in [(1000, old, "a", 1 << 20), (1200, young, "b", 3 << 20)] {
            let born = cgroup::Reading::Born { id, path: format!("/docker/{}", letter.repeat(64)) };
            engine.apply(&Sample { time: second * SECOND, reading: Reading::Cgroup(born) });
            (second..second + 200).for_each(|second| tick(&mut engine, second, id, memory));
        }
        for cgroup in [old, young] {
            let names = Names { name: Some("c".into()), ..Names::default() };
            let name = sample::Name { cgroup, names };
            engine.apply(&Sample { time: 1400 * SECOND, reading: Reading::Name(name) });
        }
        let name = engine.view().workloads.of(young).unwrap().name.clone();
        assert_eq!(engine.view().workloads.of(old).unwrap().name, name);
        let read = |tier| {
            let track = &engine.view().workloads.of(old).unwrap().track;
            engine.view().history.values(track, Series::Memory, tier, |_| true)
        };
        let most = |tier| read(tier).into_iter().filter_map(|(_, values)| values[2]).fold(0.0, f32::max);
        assert!(read(Tier::Second).len() > 350);
        assert_eq!(most(Tier::Second), (4 << 20) as f32);
        for tier in [Tier::TenSeconds, Tier::Minute] {
            assert!(read(tier).is_sorted_by(|one, other| one.0 < other.0), "{tier:?}");
            assert!(most(tier) >= (3 << 20) as f32, "{tier:?}: {}", most(tier));
        }
        engine.apply(&Sample { time: 1401 * SECOND, reading: Reading::Start(start()) });
        assert_eq!(Points::of(engine.view(), Some(&name), Series::Memory, 0, u64::MAX), Err(NotKept::Workload));
        assert_eq!(Points::of(engine.view(), None, Series::Memory, 0, u64::MAX), Err(NotKept::Period));
    }
}
