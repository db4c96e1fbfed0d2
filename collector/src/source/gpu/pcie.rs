//! What goes over a PCIe link, from counters that wrap, begin anew or lie. Pure: whoever reads them says when.

/// Counters of 32 bits wrap here.
const WRAP: u64 = 1 << 32;
/// A lane's bytes per second and direction, by generation from the first: 2.5 GT/s and twice that with 8 bits in 10, 8, 16 and
/// 32 GT/s with 128 in 130, then 64 GT/s with 242 bytes in 256 (PCI Express Base Specification 6.0).
const LANE: [u64; 6] = [250_000_000, 500_000_000, 984_615_384, 1_969_230_769, 3_938_461_538, 7_562_500_000];
/// No link is wider.
const WIDTH: u64 = 32;
/// Counters may be up to date as of some time before they are read: what the link could have carried before that, and was
/// not counted yet, is no lie afterwards. This much of it, as a part of a second, is remembered. It is used up once, so
/// that over any time no more is counted than the link carries in that and this.
const SLACK: u64 = 10;

/// Bytes per second in each direction; `None` for a link that nobody has heard of.
pub fn link(generation: u64, width: u64) -> Option<u64> {
    let lane = LANE.get(usize::try_from(generation).ok()?.checked_sub(1)?)?;
    (1..=WIDTH).contains(&width).then(|| lane * width)
}

/// The most that any link carries: the limit where nothing is known of this one.
pub fn fastest() -> u64 {
    LANE[LANE.len() - 1] * 16
}

/// A counter's value, in as many bits as the driver says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// 64.
    Wide(u64),
    /// 32.
    Narrow(u32),
}

/// One direction.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// Bytes so far.
    pub total: u64,
    /// The rate between the last two calls of [`Way::rate`].
    pub rate: Option<u64>,
    /// What could not be, or not be told from something else.
    pub doubtful: u64,
    /// It wraps at 32 bits, whatever the driver says.
    pub narrow: bool,
    last: Option<(u64, u64)>,
    /// What the link could have carried until the last reading and was not counted.
    spare: u64,
    rated: Option<(u64, u64)>,
}

impl Way {
    /// Takes in a counter, read at `now` (ns), of a link that carries at most `most` bytes per second.
    pub fn count(&mut self, count: Count, now: u64, most: u64) {
        let value = match count {
            Count::Wide(value) => value,
            Count::Narrow(value) => {
                self.narrow = true;
                value.into()
            }
        };
        let Some((before, then)) = self.last.replace((value, now)) else {
            return self.spare = most / SLACK;
        };
        let elapsed = now.saturating_sub(then);
        let possible = over(most, elapsed).saturating_add(self.spare);
        // Until it is known what of it was used.
        self.spare = possible.min(most / SLACK);
        let wrapped = WRAP.saturating_sub(before).saturating_add(value);
        let growth = match value >= before {
            true => value - before,
            false if before < WRAP && wrapped <= possible => {
                self.narrow = true;
                wrapped
            }
            // It began anew, and what was before that is not known.
            false => return self.doubtful += 1,
        };
        if growth > possible {
            return self.doubtful += 1;
        }
        if self.narrow && over(most, elapsed) >= WRAP {
            // It may have wrapped once more than it shows: this is the least that it was.
            self.doubtful += 1;
        }
        self.spare = (possible - growth).min(most / SLACK);
        self.total = self.total.saturating_add(growth);
    }

    /// Rates count from `now` on: what went before is not known.
    pub fn begin(&mut self, now: u64) {
        self.last = Some((0, now));
    }

    /// The next counter is met anew.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// Takes in a rate (bytes per second), measured at `now`, and takes it for all the time since the one before.
    pub fn measure(&mut self, rate: u64, now: u64, most: u64) {
        let Some((_, then)) = self.last.replace((0, now)) else { return };
        if rate > most.saturating_add(most / 20) {
            return self.doubtful += 1;
        }
        self.total = self.total.saturating_add(over(rate.min(most), now.saturating_sub(then)));
    }

    /// Says how fast it was since this was last asked.
    pub fn rate(&mut self, now: u64, most: u64) {
        let before = self.rated.replace((self.total, now));
        self.rate = before.filter(|(_, then)| now > *then).map(|(total, then)| {
            let bytes = u128::from(self.total - total) * 1_000_000_000;
            u64::try_from(bytes / u128::from(now - then)).unwrap_or(u64::MAX).min(most)
        });
    }
}

/// How often a counter of 32 bits must be read (ns), so that it cannot wrap unseen.
pub fn cadence(most: u64) -> u64 {
    let wrap = u128::from(WRAP) * 1_000_000_000 / u128::from(most.max(1));
    u64::try_from(wrap / 2).unwrap_or(u64::MAX)
}

/// Bytes at this rate in that time (ns).
fn over(rate: u64, ns: u64) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(ns) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_link_carries_what_the_standard_says() {
        let gb = |generation, width| link(generation, width).map(|bytes| bytes / 10_000_000);
        assert_eq!([gb(1, 1), gb(3, 16), gb(4, 16), gb(5, 8)], [Some(25), Some(1575), Some(3150), Some(3150)]);
        assert_eq!([link(0, 16), link(7, 16), link(4, 0), link(4, 64)], [None; 4]);
    }

    fn after(counts: &[(Count, u64)], most: u64) -> Way {
        let mut way = Way::default();
        counts.iter().for_each(|(count, time)| way.count(*count, *time, most));
        way
    }

    #[test]
    fn a_counter_counts_from_where_it_is_met() {
        let way =
            after(&[(Count::Wide(7_000), 0), (Count::Wide(7_500), SECOND), (Count::Wide(9_000), 2 * SECOND)], 10_000);
        assert_eq!((way.total, way.doubtful), (2_000, 0));
    }

    #[test]
    fn a_counter_of_32_bits_wraps() {
        let top = u32::MAX - 99;
        let way = after(
            &[(Count::Narrow(top), 0), (Count::Narrow(50), SECOND / 10), (Count::Narrow(60), SECOND / 5)],
            1 << 20,
        );
        assert_eq!((way.total, way.doubtful, way.narrow), (160, 0, true));
        let way = after(&[(Count::Wide(top.into()), 0), (Count::Wide(50), SECOND / 10)], 1 << 20);
        assert_eq!((way.total, way.doubtful, way.narrow), (150, 0, true), "whatever the driver says");
    }

    #[test]
    fn one_that_may_have_wrapped_unseen_is_doubtful() {
        let fast = 32 << 30;
        let narrow = [(Count::Narrow(0), 0), (Count::Narrow(10), SECOND)];
        assert_eq!((after(&narrow, fast).total, after(&narrow, fast).doubtful), (10, 1));
        let often = [(Count::Narrow(0), 0), (Count::Narrow(10), cadence(fast))];
        assert_eq!(after(&often, fast).doubtful, 0);
    }

    #[test]
    fn one_that_begins_anew_or_leaps_adds_nothing() {
        let most = 1_000_000;
        let anew = after(&[(Count::Wide(WRAP * 2), 0), (Count::Wide(5), SECOND), (Count::Wide(9), 2 * SECOND)], most);
        assert_eq!((anew.total, anew.doubtful), (4, 1));
        let leap = after(
            &[(Count::Wide(0), 0), (Count::Wide(most * 1000), SECOND), (Count::Wide(most * 1000 + 7), 2 * SECOND)],
            most,
        );
        assert_eq!((leap.total, leap.doubtful), (7, 1));
    }

    #[test]
    fn a_rate_is_taken_for_the_time_since_the_last() {
        let mut way = Way::default();
        way.measure(500, 0, 1_000);
        way.measure(500, 2 * SECOND, 1_000);
        way.measure(1_010, 3 * SECOND, 1_000);
        assert_eq!((way.total, way.doubtful), (2_000, 0), "a little more than the link is the link");
        way.measure(500_000, 4 * SECOND, 1_000);
        assert_eq!((way.total, way.doubtful), (2_000, 1), "a thousand times too big");
    }

    #[test]
    fn what_begins_anew_counts_from_there_on() {
        let mut way = Way::default();
        way.begin(0);
        way.measure(500, 2 * SECOND, 1_000);
        assert_eq!(way.total, 1_000);
        way.begin(100 * SECOND);
        way.measure(500, 101 * SECOND, 1_000);
        assert_eq!(way.total, 1_500, "of the time in between nothing is known");
        way.forget();
        way.count(Count::Narrow(7_000), 102 * SECOND, 1_000);
        way.count(Count::Narrow(7_100), 103 * SECOND, 1_000);
        assert_eq!((way.total, way.doubtful), (1_600, 0), "and a counter is met anew");
    }

    #[test]
    fn the_share_in_use_is_of_the_time_between() {
        let mut way = Way::default();
        way.rate(0, 100);
        assert_eq!(way.rate, None);
        way.total = 50;
        way.rate(SECOND / 2, 1_000);
        assert_eq!(way.rate, Some(100));
        way.total = 5_000;
        way.rate(SECOND, 1_000);
        assert_eq!(way.rate, Some(1_000), "never more than the link");
    }

    #[test]
    fn a_little_too_much_is_counted_once_and_not_for_ever() {
        let most = 1_000_000;
        let mut way = Way::default();
        // A counter that says a twentieth more than there can be, every second: two of them are late news, more are a lie.
        (0..=20).for_each(|second| way.count(Count::Wide(second * (most + most / 20)), second * SECOND, most));
        assert!(way.doubtful > 0);
        assert!(way.total <= 20 * most + most / SLACK, "{}", way.total);
    }

    #[test]
    fn after_a_gap_all_that_the_link_could_carry_meanwhile_counts_and_no_more() {
        let most = 1_000_000;
        let gap = |growth| after(&[(Count::Wide(0), 0), (Count::Wide(growth), 30 * SECOND)], most);
        assert_eq!((gap(30 * most).total, gap(30 * most).doubtful), (30 * most, 0));
        assert_eq!((gap(31 * most).total, gap(31 * most).doubtful), (0, 1));
        // What it could have carried in the gap is no allowance for what comes next.
        let next = [(Count::Wide(0), 0), (Count::Wide(0), 30 * SECOND), (Count::Wide(5 * most), 31 * SECOND)];
        assert_eq!((after(&next, most).total, after(&next, most).doubtful), (0, 1));
    }

    /// What a driver may say next: as much of what the link carries, in percent, as no link does, or anything at all.
    fn step() -> impl Strategy<Value = (Option<u64>, u64, bool, u64)> {
        let growth = prop_oneof![4 => (0u64..250).prop_map(Some), 1 => Just(None)];
        (growth, any::<u64>(), any::<bool>(), prop_oneof![9 => 1..2 * SECOND, 1 => 1..600 * SECOND])
    }

    proptest! {
        #[test]
        fn whatever_a_counter_says_no_more_than_the_link_is_counted_over_any_time(
            steps in prop::collection::vec(step(), 1..60),
            most in 1u64..200_000_000_000,
            windows in any::<bool>(),
        ) {
            let mut way = Way::default();
            let (mut now, mut value) = (0, 0u64);
            let mut seen = vec![(0, 0)];
            for (percent, any, wide, step) in steps {
                now += step;
                value = percent.map_or(any, |percent| value.wrapping_add(over(most, step) / 100 * percent));
                match (windows, wide) {
                    (true, _) => way.measure(percent.map_or(any, |percent| most / 100 * percent), now, most),
                    (false, true) => way.count(Count::Wide(value), now, most),
                    (false, false) => way.count(Count::Narrow(value as u32), now, most),
                }
                way.rate(now, most);
                prop_assert!(way.rate.is_none_or(|rate| rate <= most));
                for (index, (total, then)) in seen.iter().enumerate() {
                    let rounding = (seen.len() - index) as u64;
                    prop_assert!(way.total - total <= over(most, now - then) + most / SLACK + rounding);
                }
                seen.push((way.total, now));
            }
        }
    }
}
