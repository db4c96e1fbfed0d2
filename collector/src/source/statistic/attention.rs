//! Which workloads matter now: those near a memory limit, large ones whose memory changes, and those that grow. They have their
//! turn at every tick, so that limits and the parts of their memory are known from the second before a kill. Knows no file.

/// At most this many have their turn early in one tick.
pub const MOST: usize = 64;
/// Share of the limit from which a workload is near it.
const NEAR: f64 = 0.8;
/// Share of the host's memory from which a workload is large.
const LARGE: f64 = 0.05;
/// A workload grows if it has this share more than at the tick before.
const GREW: f64 = 0.01;
/// A change by less than this many bytes is none: the kernel charges 64 pages at once for each CPU.
const MOVED_BYTES: u64 = 256 << 10;

/// Scores of one kind are above all of the next.
const NEAR_SCORE: f64 = 2.0;
const LARGE_SCORE: f64 = 1.0;

#[derive(Debug)]
pub struct Attention {
    /// The host's memory in bytes, if known.
    total: Option<u64>,
    /// The scores of this tick.
    scores: Vec<f64>,
    /// The lowest score that had room in the last tick. In steady state the same workloads are chosen again.
    bar: f64,
    /// Number of workloads chosen in this tick.
    chosen: usize,
}

impl Attention {
    pub fn new(total: Option<u64>) -> Attention {
        Attention { total, scores: Vec::new(), bar: 0.0, chosen: 0 }
    }

    /// Whether a workload matters now, and there is room. `limit` is the least that applies to it; `before` and `now` are the
    /// memory charged to it at the tick before and now. All are in bytes.
    pub fn wants(&mut self, limit: Option<u64>, before: Option<u64>, now: Option<u64>) -> bool {
        let Some(score) = now.and_then(|now| self.score(limit, before, now)) else { return false };
        self.scores.push(score);
        let wants = score >= self.bar && self.chosen < MOST;
        self.chosen += usize::from(wants);
        wants
    }

    /// The same, whether there is room or not.
    pub fn matters(&self, limit: Option<u64>, before: Option<u64>, now: Option<u64>) -> bool {
        now.is_some_and(|now| self.score(limit, before, now).is_some())
    }

    /// After a tick: if more than there is room for, those that matter most are chosen in the next.
    pub fn end(&mut self) {
        self.bar = match self.scores.len().checked_sub(MOST) {
            Some(over) if over > 0 => *self.scores.select_nth_unstable_by(over, f64::total_cmp).1,
            _ => 0.0,
        };
        self.scores.clear();
        self.chosen = 0;
    }

    fn score(&self, limit: Option<u64>, before: Option<u64>, now: u64) -> Option<f64> {
        let near = nearness(limit, now).map(|share| NEAR_SCORE + share.min(1.0));
        let moved = || before.is_none_or(|before| before.abs_diff(now) >= MOVED_BYTES);
        let large = || share(now, self.total).filter(|share| *share >= LARGE && moved());
        let large = || large().map(|share| LARGE_SCORE + share.min(0.99));
        near.or_else(large).or_else(|| growth(before, now).filter(|share| *share > GREW))
    }
}

/// The share by which a workload grew since the tick before, if it did.
pub fn growth(before: Option<u64>, now: u64) -> Option<f64> {
    let grew = now.checked_sub(before?)?;
    (grew >= MOVED_BYTES).then_some(grew as f64 / now as f64)
}

/// The share of its limit that a workload holds, if it is near it.
pub fn nearness(limit: Option<u64>, now: u64) -> Option<f64> {
    share(now, limit).filter(|share| *share >= NEAR)
}

fn share(part: u64, whole: Option<u64>) -> Option<f64> {
    whole.filter(|whole| *whole > 0).map(|whole| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn those_near_a_limit_large_or_growing_matter() {
        let mut attention = Attention::new(Some(1000 * MIB));
        let mut wants = |limit: Option<u64>, before: u64, now: u64| {
            attention.wants(limit.map(|limit| limit * MIB), Some(before), Some(now))
        };
        assert!(!wants(None, 40 * MIB, 40 * MIB));
        assert!(!wants(Some(51), 40 * MIB, 40 * MIB), "78 % of its limit");
        assert!(wants(Some(50), 40 * MIB, 40 * MIB), "80 %");
        assert!(wants(None, 50 * MIB, 50 * MIB + MIB / 4), "5 % of the host");
        assert!(wants(None, 51 * MIB, 50 * MIB), "also if it gives back");
        assert!(!wants(None, 50 * MIB, 50 * MIB + MIB / 8), "not while it stays the same");
        assert!(wants(Some(60), 50 * MIB, 50 * MIB), "unless it is near its limit");
        assert!(wants(None, 40 * MIB, 41 * MIB), "it grew by 2.5 %");
        assert!(!wants(None, 40 * MIB, 40 * MIB + MIB / 4), "by 0.6 %");
        assert!(!wants(None, MIB, MIB + MIB / 8), "by what one CPU is charged ahead");
        assert!(!wants(None, 41 * MIB, 40 * MIB));
        assert!(!attention.wants(Some(1), None, None));
        assert!(!Attention::new(None).wants(None, Some(MIB << 20), Some(MIB << 20)), "the host's memory is not known");
    }

    #[test]
    fn those_that_matter_most_are_chosen_and_never_more_than_there_is_room_for() {
        let mut attention = Attention::new(Some(10_000 * MIB));
        // 200 grow, from the tenth on by less and less; 40 of the others are near their limit.
        let mut tick = || {
            let growing = (0..200u64).map(|number| (None, 100 * MIB - (2 + number / 4) * MIB, 100 * MIB));
            let near = (0..40u64).map(|number| (Some(100 * MIB), (81 + number / 4) * MIB, (81 + number / 4) * MIB));
            let all: Vec<_> = growing.chain(near).collect();
            let chosen: Vec<bool> =
                all.iter().map(|(limit, before, now)| attention.wants(*limit, Some(*before), Some(*now))).collect();
            attention.end();
            chosen
        };
        assert_eq!(tick().iter().filter(|chosen| **chosen).count(), MOST, "the first, as long as there is room");
        let chosen = tick();
        assert_eq!(chosen.iter().filter(|chosen| **chosen).count(), MOST);
        assert!(chosen[200..].iter().all(|chosen| *chosen), "all that are near their limit");
        assert!(chosen[176..200].iter().all(|chosen| *chosen), "and those that grow most");
        assert_eq!(tick(), chosen, "the same again");
    }
}
