//! The numbers of the host or of a workload in a period.

use serde::Serialize;

use super::Known;
use super::block::Line;
use crate::series::Series;
use crate::tier::{Extent, Tier, joined, kept};

/// What was never known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Absent: the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The last memory limit that was in force; of the host, its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// The first one, if it was another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_before_bytes: Option<u64>,
    /// The largest share of the limit in force at the time. If the limit changed within a quarter of an hour, of the largest of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_used_ratio: Option<f64>,
    pub memory_bytes: Spread,
    pub anon_bytes: Spread,
    /// CPUs in use.
    pub cpus: Spread,
    pub vram_bytes: Spread,
    /// Seconds in which some task waited (PSI), and seconds in reclaim and compaction, summed over tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_waiting_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_waiting_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_to_device_bytes: Option<f64>,
    /// Incidents of this workload.
    pub incidents: u64,
    /// For pictures: the most and the mean of memory, the limit, and the share of a second in which some task waited.
    #[serde(skip)]
    pub memory: Line,
    #[serde(skip)]
    pub memory_mean: Line,
    #[serde(skip)]
    pub limit: Line,
    #[serde(skip)]
    pub waiting: Line,
}

/// Mean and maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Figures {
    pub(super) fn of(quarters: &[Known]) -> Figures {
        let all = |series| {
            let kept = kept(series);
            let value = move |quarter: &Known| kept.map_or([None; 3], |kept| quarter.values[kept]);
            quarters.iter().map(move |quarter| (quarter.time, quarter.seconds, value(quarter)))
        };
        let spread = |series| spread(all(series));
        let total = |series| total(all(series));
        let line = |series, part| line(all(series), part);
        let limits = || all(Series::MemoryLimit).filter_map(|(.., [_, _, most])| most.map(f64::from));
        let shares = all(Series::Memory).zip(all(Series::MemoryLimit)).filter_map(|(memory, limit)| {
            let (used, limit) = (memory.2[2]?, limit.2[2]?);
            (limit > 0.0).then(|| f64::from(used) / f64::from(limit))
        });
        let (first, last) = (limits().next(), limits().next_back());
        // Two numbers of which both are rounded up by a thousandth at most.
        let differs = first.zip(last).is_some_and(|(first, last)| (first / last - 1.0).abs() > 0.002);
        Figures {
            memory_limit_bytes: last.map(|limit| limit as u64),
            memory_limit_before_bytes: first.filter(|_| differs).map(|limit| limit as u64),
            limit_used_ratio: shares.reduce(f64::max).map(|share| share.min(1.0)),
            memory_bytes: spread(Series::Memory),
            anon_bytes: spread(Series::Anon),
            cpus: spread(Series::Cpu),
            vram_bytes: spread(Series::Vram),
            memory_waiting_seconds: total(Series::MemoryWaiting),
            io_waiting_seconds: total(Series::IoWaiting),
            stall_seconds: total(Series::Stalls),
            host_to_device_bytes: total(Series::HostToDevice),
            memory: line(Series::Memory, 2),
            memory_mean: line(Series::Memory, 1),
            limit: line(Series::MemoryLimit, 2),
            waiting: line(Series::MemoryWaiting, 2),
            workload: None,
            incidents: 0,
        }
    }

    /// When memory was highest.
    pub fn peak_time(&self) -> Option<u64> {
        let known = self.memory.iter().filter_map(|(time, value)| Some((*time, (*value)?)));
        known.reduce(|one, other| if other.1 > one.1 { other } else { one }).map(|(time, _)| time)
    }
}

/// When a quarter began, for how many seconds of it anything is known, and minimum, mean and maximum.
pub(super) type Quarter = (u64, u16, Extent);

pub(super) fn spread(quarters: impl Iterator<Item = Quarter>) -> Spread {
    let [_, mean, max] = joined(quarters.map(|(_, seconds, extent)| (extent, f32::from(seconds))));
    Spread { mean: mean.map(f64::from), max: max.map(f64::from) }
}

/// A rate times the seconds for which it is known.
pub(super) fn total(quarters: impl Iterator<Item = Quarter>) -> Option<f64> {
    let known = quarters.filter_map(|(_, seconds, [_, mean, _])| Some(f64::from(seconds) * f64::from(mean?)));
    known.reduce(|sum, more| sum + more)
}

/// One part of each quarter; a gap where a quarter is missing.
pub(super) fn line(quarters: impl Iterator<Item = Quarter>, part: usize) -> Line {
    let mut line = Line::new();
    for (time, _, values) in quarters {
        if let Some((last, _)) = line.last().filter(|(last, _)| time.saturating_sub(*last) > Tier::QuarterHour.step()) {
            line.push((last + Tier::QuarterHour.step(), None));
        }
        line.push((time, values[part].map(f64::from)));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::tests::quarter;
    use super::*;

    #[test]
    fn means_are_weighted_by_what_is_known_and_a_peak_stays() {
        let quarters = [quarter(0, 900, [1e9, 2e9, 3e9], 0.5), quarter(1, 300, [5e9, 6e9, 8e9], 0.1)];
        let figures = Figures::of(&quarters);
        assert_eq!(figures.memory_bytes, Spread { mean: Some(3e9), max: Some(8e9) });
        assert!((figures.memory_waiting_seconds.unwrap() - 480.0).abs() < 1e-3);
        assert_eq!((figures.vram_bytes, figures.stall_seconds), (Spread::default(), None), "not known is not zero");
    }

    #[test]
    fn a_peak_is_compared_with_the_limit_in_force_at_the_time() {
        let with = |index, memory: f32, limit: Option<f32>| {
            let mut quarter = quarter(index, 900, [memory; 3], 0.0);
            quarter.values[kept(Series::MemoryLimit).unwrap()] = [limit; 3];
            quarter
        };
        let figures = Figures::of(&[with(0, 90.0, Some(100.0)), with(1, 120.0, Some(400.0)), with(9, 130.0, None)]);
        assert_eq!(figures.limit_used_ratio.map(|share| (share * 100.0).round()), Some(90.0));
        assert_eq!((figures.memory_limit_before_bytes, figures.memory_limit_bytes), (Some(100), Some(400)));
        assert_eq!(
            figures.limit.iter().map(|(_, limit)| *limit).collect::<Vec<_>>(),
            [Some(100.0), Some(400.0), None, None]
        );
        assert_eq!(figures.peak_time(), Some(9 * Tier::QuarterHour.step()));
        let never = Figures::of(&[with(0, 90.0, None)]);
        assert_eq!((never.limit_used_ratio, never.memory_limit_bytes), (None, None));
    }
}
