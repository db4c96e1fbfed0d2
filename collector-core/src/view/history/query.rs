//! Reads one series of one track from a tier. Knows neither names nor how answers are shown.

use super::sums::between;
use super::{COARSE, History, NOTHING, Points, Track, place};
use crate::series::Series;
use crate::tier::{self, Tier};

/// Minimum, mean and maximum, as far as they are known.
pub(crate) type Values = [Option<f32>; 3];

impl History {
    /// When the points begin that a tier in memory keeps of a series; `None` if it keeps none of it.
    pub(crate) fn kept_from(&self, track: &Track, series: Series, tier: Tier) -> Option<u64> {
        let points = track.0.as_ref()?;
        let Some(index) = coarse(tier) else {
            return (tier == Tier::Second).then(|| self.points_of(points).next().map(|(_, time)| time))?;
        };
        tier::kept(series)?;
        let detail = points.detail.as_ref()?;
        let first = detail.first[index].max(detail.columns[index].first());
        let steps = &self.steps[index];
        let over = steps.rows().find(|(row, _)| *row >= first).map(|(_, time)| time);
        over.or(steps.open)
    }

    /// The points of a tier from one moment to another, oldest first. The last may be that of a period that is not over.
    pub(crate) fn values(
        &self,
        track: &Track,
        series: Series,
        tier: Tier,
        between: impl Fn(u64) -> bool,
    ) -> Vec<(u64, Values)> {
        let Some(points) = &track.0 else { return Vec::new() };
        let Some(index) = coarse(tier) else {
            let rows = self.points_of(points).filter(|(_, time)| between(*time));
            return rows.map(|(row, time)| (time, points.values(row, series))).collect();
        };
        let (Some(kept), Some(detail)) = (tier::kept(series), &points.detail) else { return Vec::new() };
        let first = detail.first[index].max(detail.columns[index].first());
        let steps = &self.steps[index];
        let rows = steps.rows().filter(|(row, time)| *row >= first && between(*time));
        let over = rows.map(|(row, time)| (time, detail.get(index, row, kept)));
        let open = steps.open.filter(|time| between(*time)).map(|time| {
            let mut sums = points.open(self.clock);
            if index == 1 {
                sums.extend(&points.sums[1]);
            }
            (time, sums.values(kept))
        });
        over.chain(open).collect()
    }

    /// Mean and maximum of a series since a moment, second by second, as far as it is known. Allocates nothing.
    pub(crate) fn extent(&self, track: &Track, series: Series, from: u64) -> Option<(f64, f32)> {
        let points = track.0.as_ref()?;
        let within = self.points_of(points).filter(|(_, time)| *time >= from);
        let known = within.filter_map(|(row, _)| {
            let [_, mean, most] = points.values(row, series);
            Some((mean?, most?))
        });
        let (count, sum, most) = known.fold((0u32, 0.0, f32::MIN), |(count, sum, most), (mean, value)| {
            (count + 1, sum + f64::from(mean), most.max(value))
        });
        (count > 0).then(|| (sum / f64::from(count), most))
    }

    /// The points that a track has second by second, with their times.
    fn points_of(&self, points: &Points) -> impl Iterator<Item = (u64, u64)> {
        let (all, first) = (self.points(), points.first.max(points.columns.first()));
        (all.start.max(first)..all.end).map(|point| (point, self.times[place(point)]))
    }
}

/// The place of a tier among those that are kept of some workloads alone.
fn coarse(tier: Tier) -> Option<usize> {
    COARSE.iter().position(|(coarse, _)| *coarse == tier)
}

impl Points {
    fn values(&self, row: u64, series: Series) -> Values {
        let Some(value) = self.value(row, series) else { return [None; 3] };
        if series != Series::Memory {
            return [Some(value); 3];
        }
        let mut point = NOTHING;
        for part in [Series::MemoryLeast, Series::MemoryMean, Series::MemoryMost] {
            point[part as usize] = self.value(row, part).unwrap_or(f32::NAN);
        }
        let (least, mean, most) = between(series, value, &point);
        [Some(least), Some(mean), Some(most)]
    }
}
