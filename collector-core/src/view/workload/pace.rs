//! The pace of a time that workloads use, from tick to tick.

/// The pace of a time over the last second, or the last tick if that is longer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// When it was last measured, in nanoseconds since the Unix epoch, and the time until then.
    from: Option<(u64, Option<u64>)>,
    /// Growth per second.
    now: Option<f64>,
}

/// Nanoseconds between two measurements of a pace, and before the first one.
const PACE_NS: u64 = 900_000_000;
const FIRST_PACE_NS: u64 = 100_000_000;

impl Pace {
    /// At a tick: the time until now, if it is known.
    pub fn tick(&mut self, time: u64, ns: Option<u64>) {
        if let Some((since, before)) = self.from {
            let least = if self.now.is_some() { PACE_NS } else { FIRST_PACE_NS };
            match time.checked_sub(since) {
                Some(elapsed) if elapsed < least => return,
                Some(elapsed) => {
                    let growth = before.zip(ns).and_then(|(before, now)| now.checked_sub(before));
                    self.now = growth.map(|growth| growth as f64 / elapsed as f64);
                }
                // The clock was set back.
                None => self.now = None,
            }
        }
        self.from = Some((time, ns));
    }

    /// The time stayed the same until this moment, unseen.
    pub fn rest(&mut self, time: u64) {
        if let Some((since, _)) = &mut self.from {
            *since = time;
        }
    }

    /// Whether nothing changes as long as the time stays the same.
    pub fn is_still(self) -> bool {
        self.from.is_some_and(|(_, ns)| self.now == ns.map(|_| 0.0))
    }

    /// Nanoseconds per nanosecond; `None` if that is not known.
    pub fn get(self) -> Option<f64> {
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_pace_is_that_of_the_last_second_however_often_ticks_come() {
        let mut pace = Pace::default();
        let mut tick = |tenths: u64, ns| {
            pace.tick(tenths * SECOND / 10, ns);
            pace.get()
        };
        assert_eq!(tick(0, Some(5)), None);
        assert_eq!(tick(2, Some(5 + SECOND / 10)), Some(0.5), "the first may come sooner");
        assert_eq!(tick(5, Some(SECOND)), Some(0.5));
        assert_eq!(tick(12, Some(5 + SECOND / 10 + 4 * SECOND)), Some(4.0));
        assert_eq!(tick(22, None), None, "it is not known any more");
        assert_eq!(tick(32, Some(9 * SECOND)), None);
        assert_eq!(tick(42, Some(9 * SECOND)), Some(0.0));
        assert_eq!(
            [tick(1, Some(9 * SECOND)), tick(11, Some(10 * SECOND))],
            [None, Some(1.0)],
            "the clock was set back"
        );
    }
}
