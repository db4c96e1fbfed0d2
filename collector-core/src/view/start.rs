//! What the history on disk does not have yet of starts: how many were granted after which wait, refused for what, how long the host had
//! each level, and how much was reserved at most. Bounded: a few kinds of counts.

use std::collections::{BTreeMap, VecDeque};

use crate::lease::Lease;
use crate::level::Level;
use crate::tier::Rare;
use crate::tier::rare::wait;

/// A clock that was set forward, or an agent that slept, makes no level last: at most this much passes between two ticks, in
/// nanoseconds. Twice the longest tick that can be set.
const STRIDE_NS: u64 = 120_000_000_000;
const SECOND: u64 = 1_000_000_000;
/// Refused claims that may come back.
const REMEMBERED: usize = 64;

#[derive(Clone, Debug, Default)]
pub struct Starts {
    counts: BTreeMap<Rare, u64>,
    peaks: BTreeMap<Rare, u64>,
    /// What of a second each level has already, in nanoseconds.
    parts: BTreeMap<Option<u8>, u64>,
    /// The last tick.
    last: Option<u64>,
    /// Claims that were refused last, with what for: a client that waits asks first what is short.
    last_refused: VecDeque<(u32, String, &'static str)>,
}

impl Starts {
    pub(crate) fn granted(&mut self, waited_ns: u64) {
        self.count(Rare::Granted(wait::bucket(waited_ns)), 1);
    }

    /// `claim`: the user and the key of the claim, if it has one.
    pub(crate) fn refused(&mut self, what: &'static str, claim: Option<(u32, &str)>) {
        self.count(Rare::Refused(what), 1);
        if let Some((uid, key)) = claim {
            self.last_refused.push_back((uid, key.to_owned(), what));
            if self.last_refused.len() > REMEMBERED {
                self.last_refused.pop_front();
            }
        }
    }

    /// A claim that was refused at once came back to wait, or was granted: it was no refusal.
    pub(crate) fn came_back(&mut self, uid: u32, key: &str) {
        let Some(at) = self.last_refused.iter().position(|(of, known, _)| *of == uid && known == key) else { return };
        if let Some((.., what)) = self.last_refused.remove(at)
            && let Some(count) = self.counts.get_mut(&Rare::Refused(what))
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.counts.remove(&Rare::Refused(what));
            }
        }
    }

    /// At a tick: the level since the one before, and what is reserved now.
    pub(crate) fn tick<'a>(&mut self, time: u64, level: Option<Level>, held: impl Iterator<Item = &'a Lease>) {
        let passed = self.last.replace(time).map_or(0, |last| time.saturating_sub(last).min(STRIDE_NS));
        let level = level.map(Level::number);
        let part = self.parts.entry(level).or_default();
        *part += passed;
        let seconds = *part / SECOND;
        *part %= SECOND;
        if seconds > 0 {
            self.count(Rare::Level(level), seconds);
        }
        let mut sums = [0_u64; 3];
        for lease in held.filter(|lease| lease.is_held()) {
            let vram = lease.want.vram.values().fold(0_u64, |sum, amount| sum.saturating_add(amount.peak));
            for (sum, more) in sums.iter_mut().zip([lease.want.hard.peak, vram, 1]) {
                *sum = sum.saturating_add(more);
            }
        }
        for (what, sum) in crate::tier::rare::PEAKS.into_iter().zip(sums).filter(|(_, sum)| *sum > 0) {
            let peak = self.peaks.entry(Rare::Peak(what)).or_default();
            *peak = sum.max(*peak);
        }
    }

    /// What the history on disk does not have yet.
    pub(crate) fn uncounted(&self) -> impl Iterator<Item = (Rare, u64)> {
        self.counts.iter().chain(&self.peaks).map(|(rare, count)| (rare.clone(), *count))
    }

    /// It has them from now on.
    pub(crate) fn forget(&mut self) {
        self.counts.clear();
        self.peaks.clear();
    }

    fn count(&mut self, rare: Rare, more: u64) {
        let count = self.counts.entry(rare).or_default();
        *count = count.saturating_add(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_lasts_from_tick_to_tick_and_not_through_a_sleep() {
        let mut starts = Starts::default();
        let none = || std::iter::empty();
        for (ms, level) in [
            (0, Some(Level::Normal)),
            (600, Some(Level::Normal)),
            (1200, Some(Level::Normal)),
            (3200, None),
            (7_200_000, Some(Level::Critical)),
        ] {
            starts.tick(ms * 1_000_000, level, none());
        }
        let counts: Vec<_> = starts.uncounted().collect();
        assert_eq!(counts, [(Rare::Level(None), 2), (Rare::Level(Some(0)), 1), (Rare::Level(Some(4)), 120)]);
        starts.forget();
        // A fifth of a second is left of before.
        starts.tick(7_200_800 * 1_000_000, Some(Level::Normal), none());
        assert_eq!(starts.uncounted().collect::<Vec<_>>(), [(Rare::Level(Some(0)), 1)]);
    }

    #[test]
    fn what_was_granted_and_refused_is_counted_once() {
        let mut starts = Starts::default();
        starts.granted(0);
        starts.granted(0);
        starts.granted(3 * SECOND);
        starts.refused("VRAM", Some((7, "a")));
        starts.refused("disk", Some((7, "b")));
        starts.came_back(8, "b");
        starts.came_back(7, "b");
        starts.came_back(7, "b");
        let counts: Vec<_> = starts.uncounted().map(|(_, count)| count).collect();
        assert_eq!(counts, [2, 1, 1]);
        starts.forget();
        assert_eq!(starts.uncounted().count(), 0);
    }
}
