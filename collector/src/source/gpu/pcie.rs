//! Traffic of a PCIe link from counters that wrap, restart or report nonsense. Pure: the caller supplies values and
//! times.

/// 32-bit counters wrap here.
const WRAP: u64 = 1 << 32;
/// Bytes per second, lane and direction, by generation from the first: 2.5 GT/s and 5 GT/s with 8b/10b encoding, 8, 16
/// and 32 GT/s with 128b/130b, then 64 GT/s with 242 of 256 bytes (PCI Express Base Specification 6.0).
const LANE: [u64; 6] = [250_000_000, 500_000_000, 984_615_384, 1_969_230_769, 3_938_461_538, 7_562_500_000];
/// Widest link in lanes.
const MAX_WIDTH: u64 = 32;
/// Counters may lag: a reading may include bytes that were transferred before the last reading. So unused capacity of
/// up to 1/10 s is carried over to the next reading. It is used once, so that over any period the count stays below the
/// link's capacity for that period plus this allowance.
const SLACK: u64 = 10;

/// Bytes per second in each direction; `None` for unknown generations or widths.
pub fn link(generation: u64, width: u64) -> Option<u64> {
    let lane = LANE.get(usize::try_from(generation).ok()?.checked_sub(1)?)?;
    (1..=MAX_WIDTH).contains(&width).then(|| lane * width)
}

/// Capacity of the fastest link: the limit where this link's is unknown.
pub fn fastest() -> u64 {
    LANE[LANE.len() - 1] * 16
}

/// A counter's value, with the width that the driver claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// 64 bits.
    Wide(u64),
    /// 32 bits.
    Narrow(u32),
}

/// One direction of a link.
#[derive(Clone, Debug, Default)]
pub struct Direction {
    /// Bytes so far.
    pub total: u64,
    /// Bytes per second between the last two calls of [`Direction::rate`].
    pub rate: Option<u64>,
    /// Number of readings that were impossible or ambiguous.
    pub implausible: u64,
    /// The counter wraps at 32 bits, whatever width the driver claims.
    pub narrow: bool,
    last: Option<(u64, u64)>,
    /// Unused capacity up to the last reading, see [`SLACK`].
    spare: u64,
    rated: Option<(u64, u64)>,
}

impl Direction {
    /// Adds a counter value, read at `now` (ns), of a link that carries at most `max_rate` bytes per second.
    pub fn count(&mut self, count: Count, now: u64, max_rate: u64) {
        let value = match count {
            Count::Wide(value) => value,
            Count::Narrow(value) => {
                self.narrow = true;
                value.into()
            }
        };
        let Some((before, then)) = self.last.replace((value, now)) else {
            return self.spare = max_rate / SLACK;
        };
        let elapsed = now.saturating_sub(then);
        let possible = bytes_in(max_rate, elapsed).saturating_add(self.spare);
        // Provisional: reduced below by the growth that is counted.
        self.spare = possible.min(max_rate / SLACK);
        let wrapped = WRAP.saturating_sub(before).saturating_add(value);
        let growth = match value >= before {
            true => value - before,
            false if before < WRAP && wrapped <= possible => {
                self.narrow = true;
                wrapped
            }
            // The counter restarted; the bytes before that are unknown.
            false => return self.implausible += 1,
        };
        if growth > possible {
            return self.implausible += 1;
        }
        if self.narrow && bytes_in(max_rate, elapsed) >= WRAP {
            // It may have wrapped more than once: count the minimum.
            self.implausible += 1;
        }
        self.spare = (possible - growth).min(max_rate / SLACK);
        self.total = self.total.saturating_add(growth);
    }

    /// Starts the period of the next measured rate at `now`.
    pub fn begin(&mut self, now: u64) {
        self.last = Some((0, now));
    }

    /// The next counter value is a new starting point.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// Adds a rate (bytes per second) measured at `now`, taken as the average since the last one.
    pub fn measure(&mut self, rate: u64, now: u64, max_rate: u64) {
        let Some((_, then)) = self.last.replace((0, now)) else { return };
        if rate > max_rate.saturating_add(max_rate / 20) {
            return self.implausible += 1;
        }
        self.total = self.total.saturating_add(bytes_in(rate.min(max_rate), now.saturating_sub(then)));
    }

    /// Updates the rate since the last call.
    pub fn rate(&mut self, now: u64, max_rate: u64) {
        let before = self.rated.replace((self.total, now));
        self.rate = before.filter(|(_, then)| now > *then).map(|(total, then)| {
            let bytes = u128::from(self.total - total) * 1_000_000_000;
            u64::try_from(bytes / u128::from(now - then)).unwrap_or(u64::MAX).min(max_rate)
        });
    }
}

/// Longest interval between readings of a 32-bit counter (ns), so that no wrap is missed.
pub fn cadence(max_rate: u64) -> u64 {
    let wrap = u128::from(WRAP) * 1_000_000_000 / u128::from(max_rate.max(1));
    u64::try_from(wrap / 2).unwrap_or(u64::MAX)
}

/// Bytes at `rate` in `ns` nanoseconds.
fn bytes_in(rate: u64, ns: u64) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(ns) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn link_capacity_follows_the_standard() {
        let gb = |generation, width| link(generation, width).map(|bytes| bytes / 10_000_000);
        assert_eq!([gb(1, 1), gb(3, 16), gb(4, 16), gb(5, 8)], [Some(25), Some(1575), Some(3150), Some(3150)]);
        assert_eq!([link(0, 16), link(7, 16), link(4, 0), link(4, 64)], [None; 4]);
    }

    fn after(counts: &[(Count, u64)], max_rate: u64) -> Direction {
        let mut direction = Direction::default();
        counts.iter().for_each(|(count, time)| direction.count(*count, *time, max_rate));
        direction
    }

    #[test]
    fn the_first_counter_value_is_the_starting_point() {
        let direction =
            after(&[(Count::Wide(7_000), 0), (Count::Wide(7_500), SECOND), (Count::Wide(9_000), 2 * SECOND)], 10_000);
        assert_eq!((direction.total, direction.implausible), (2_000, 0));
    }

    #[test]
    fn a_32_bit_counter_may_wrap() {
        let top = u32::MAX - 99;
        let direction = after(
            &[(Count::Narrow(top), 0), (Count::Narrow(50), SECOND / 10), (Count::Narrow(60), SECOND / 5)],
            1 << 20,
        );
        assert_eq!((direction.total, direction.implausible, direction.narrow), (160, 0, true));
        let direction = after(&[(Count::Wide(top.into()), 0), (Count::Wide(50), SECOND / 10)], 1 << 20);
        assert_eq!(
            (direction.total, direction.implausible, direction.narrow),
            (150, 0, true),
            "whatever width the driver claims"
        );
    }

    #[test]
    fn a_possibly_missed_wrap_is_implausible() {
        let fast = 32 << 30;
        let narrow = [(Count::Narrow(0), 0), (Count::Narrow(10), SECOND)];
        assert_eq!((after(&narrow, fast).total, after(&narrow, fast).implausible), (10, 1));
        let often = [(Count::Narrow(0), 0), (Count::Narrow(10), cadence(fast))];
        assert_eq!(after(&often, fast).implausible, 0);
    }

    #[test]
    fn a_restart_or_an_impossible_jump_adds_nothing() {
        let max_rate = 1_000_000;
        let restart =
            after(&[(Count::Wide(WRAP * 2), 0), (Count::Wide(5), SECOND), (Count::Wide(9), 2 * SECOND)], max_rate);
        assert_eq!((restart.total, restart.implausible), (4, 1));
        let jump = after(
            &[
                (Count::Wide(0), 0),
                (Count::Wide(max_rate * 1000), SECOND),
                (Count::Wide(max_rate * 1000 + 7), 2 * SECOND),
            ],
            max_rate,
        );
        assert_eq!((jump.total, jump.implausible), (7, 1));
    }

    #[test]
    fn a_rate_covers_the_time_since_the_last() {
        let mut direction = Direction::default();
        direction.measure(500, 0, 1_000);
        direction.measure(500, 2 * SECOND, 1_000);
        direction.measure(1_010, 3 * SECOND, 1_000);
        assert_eq!(
            (direction.total, direction.implausible),
            (2_000, 0),
            "slightly more than the link carries counts as full speed"
        );
        direction.measure(500_000, 4 * SECOND, 1_000);
        assert_eq!((direction.total, direction.implausible), (2_000, 1), "far more than the link carries");
    }

    #[test]
    fn begin_and_forget_restart_the_period() {
        let mut direction = Direction::default();
        direction.begin(0);
        direction.measure(500, 2 * SECOND, 1_000);
        assert_eq!(direction.total, 1_000);
        direction.begin(100 * SECOND);
        direction.measure(500, 101 * SECOND, 1_000);
        assert_eq!(direction.total, 1_500, "the time in between is unknown");
        direction.forget();
        direction.count(Count::Narrow(7_000), 102 * SECOND, 1_000);
        direction.count(Count::Narrow(7_100), 103 * SECOND, 1_000);
        assert_eq!(
            (direction.total, direction.implausible),
            (1_600, 0),
            "the next counter value is a new starting point"
        );
    }

    #[test]
    fn the_rate_covers_the_time_between_calls() {
        let mut direction = Direction::default();
        direction.rate(0, 100);
        assert_eq!(direction.rate, None);
        direction.total = 50;
        direction.rate(SECOND / 2, 1_000);
        assert_eq!(direction.rate, Some(100));
        direction.total = 5_000;
        direction.rate(SECOND, 1_000);
        assert_eq!(direction.rate, Some(1_000), "at most the link's capacity");
    }

    #[test]
    fn the_slack_is_used_once() {
        let max_rate = 1_000_000;
        let mut direction = Direction::default();
        // A counter that grows 5% faster than possible: the slack covers two such readings, more are implausible.
        (0..=20).for_each(|second| {
            direction.count(Count::Wide(second * (max_rate + max_rate / 20)), second * SECOND, max_rate)
        });
        assert!(direction.implausible > 0);
        assert!(direction.total <= 20 * max_rate + max_rate / SLACK, "{}", direction.total);
    }

    #[test]
    fn after_a_gap_the_count_is_bounded_by_the_links_capacity() {
        let max_rate = 1_000_000;
        let gap = |growth| after(&[(Count::Wide(0), 0), (Count::Wide(growth), 30 * SECOND)], max_rate);
        assert_eq!((gap(30 * max_rate).total, gap(30 * max_rate).implausible), (30 * max_rate, 0));
        assert_eq!((gap(31 * max_rate).total, gap(31 * max_rate).implausible), (0, 1));
        // Unused capacity of the gap does not allow excess afterwards.
        let next = [(Count::Wide(0), 0), (Count::Wide(0), 30 * SECOND), (Count::Wide(5 * max_rate), 31 * SECOND)];
        assert_eq!((after(&next, max_rate).total, after(&next, max_rate).implausible), (0, 1));
    }

    /// The next driver value: growth in percent of the link's capacity (up to impossible ones), or any number.
    fn step() -> impl Strategy<Value = (Option<u64>, u64, bool, u64)> {
        let growth = prop_oneof![4 => (0u64..250).prop_map(Some), 1 => Just(None)];
        (growth, any::<u64>(), any::<bool>(), prop_oneof![9 => 1..2 * SECOND, 1 => 1..600 * SECOND])
    }

    proptest! {
        #[test]
        fn no_period_counts_more_than_the_links_capacity(
            steps in prop::collection::vec(step(), 1..60),
            max_rate in 1u64..200_000_000_000,
            windows in any::<bool>(),
        ) {
            let mut direction = Direction::default();
            let (mut now, mut value) = (0, 0u64);
            let mut seen = vec![(0, 0)];
            for (percent, any, wide, step) in steps {
                now += step;
                value = percent.map_or(any, |percent| value.wrapping_add(bytes_in(max_rate, step) / 100 * percent));
                match (windows, wide) {
                    (true, _) => direction.measure(percent.map_or(any, |percent| max_rate / 100 * percent), now, max_rate),
                    (false, true) => direction.count(Count::Wide(value), now, max_rate),
                    (false, false) => direction.count(Count::Narrow(value as u32), now, max_rate),
                }
                direction.rate(now, max_rate);
                prop_assert!(direction.rate.is_none_or(|rate| rate <= max_rate));
                for (index, (total, then)) in seen.iter().enumerate() {
                    let rounding = (seen.len() - index) as u64;
                    prop_assert!(direction.total - total <= bytes_in(max_rate, now - then) + max_rate / SLACK + rounding);
                }
                seen.push((direction.total, now));
            }
        }
    }
}
