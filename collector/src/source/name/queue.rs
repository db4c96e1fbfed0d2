//! When to look for each name: at once, then at growing intervals. Knows neither where names are stored nor the clock.

use super::ask::{Ask, Found};
use crate::identity::Names;

const MS: u64 = 1_000_000;

/// How long after each look the next one is; after the last there is none. The kubelet links a container's log when the
/// container has started, which may take it seconds.
const PAUSES: [u64; 9] =
    [20 * MS, 50 * MS, 100 * MS, 200 * MS, 500 * MS, 1_000 * MS, 2_000 * MS, 5_000 * MS, 15_000 * MS];

/// After this many looks (370 ms) the pod's names alone are handed on.
const PATIENCE: usize = 4;

/// Names that may wait in the queue.
const LENGTH: usize = 4096;

/// Looking takes at most one in so many parts of a CPU's time, however long the directories are.
const SHARE: u64 = 20;

/// What is looked for.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
    resting_until: u64,
}

#[derive(Debug)]
struct Waiting {
    ask: Ask,
    looks: usize,
    due: u64,
    told: bool,
}

impl Queue {
    /// Whether one more fits.
    pub fn room(&self) -> bool {
        self.waiting.len() < LENGTH
    }

    /// Adds one that is due at once. A full queue drops the one that has waited the longest, and returns `true`.
    pub fn push(&mut self, ask: Ask, now: u64) -> bool {
        let full = !self.room();
        if full {
            self.waiting.remove(0);
        }
        self.waiting.push(Waiting { ask, looks: 0, due: now, told: false });
        full
    }

    /// When the next look is due, if any is.
    pub fn due(&self) -> Option<u64> {
        self.waiting.iter().map(|waiting| waiting.due.max(self.resting_until)).min()
    }

    /// Looks for all that are due, and hands on what is found. Returns how many were given up because they could not be
    /// read.
    pub fn look(
        &mut self,
        now: u64,
        look: impl FnOnce(&[&Ask]) -> Vec<Found>,
        tell: &mut dyn FnMut(&Ask, Names),
    ) -> u64 {
        let is_due = |waiting: &Waiting| waiting.due <= now;
        if now < self.resting_until || !self.waiting.iter().any(is_due) {
            return 0;
        }
        let due: Vec<&Ask> =
            self.waiting.iter().filter(|waiting| is_due(waiting)).map(|waiting| &waiting.ask).collect();
        let mut found = look(&due).into_iter();
        let mut failed = 0;
        self.waiting.retain_mut(|waiting| {
            if waiting.due > now {
                return true;
            }
            let found = found.next().unwrap_or(Found::Nothing);
            waiting.looks += 1;
            let pause = PAUSES.get(waiting.looks - 1);
            failed += u64::from(pause.is_none() && found == Found::Unreadable);
            match found {
                Found::Whole(names) => {
                    tell(&waiting.ask, names);
                    return false;
                }
                Found::Part(names) if waiting.looks >= PATIENCE && !waiting.told => {
                    tell(&waiting.ask, names);
                    waiting.told = true;
                }
                _ => {}
            }
            waiting.due = now + pause.copied().unwrap_or_default();
            pause.is_some()
        });
        failed
    }

    /// Pauses in proportion to the CPU time, in nanoseconds, that the last look took.
    pub fn rest(&mut self, took: u64, now: u64) {
        let until = now.saturating_add(took.saturating_mul(SHARE));
        self.resting_until = self.resting_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Identity;
    use crate::signal::cgroup::Id;

    fn ask(id: u64) -> Ask {
        Ask { cgroup: Id { hierarchy: 0, id }, identity: Identity::of("/") }
    }

    fn names(name: &str) -> Names {
        Names { name: Some(name.into()), ..Names::default() }
    }

    /// Looks whenever it is due; what is found depends on the time. Gives what was told when, how often was looked, and
    /// how many were given up.
    fn run(queue: &mut Queue, found: impl Fn(u64) -> Found) -> (Vec<(u64, Names)>, usize, u64) {
        let (mut told, mut looks, mut failed) = (Vec::new(), 0, 0);
        while let Some(now) = queue.due() {
            let look = |asks: &[&Ask]| vec![found(now); asks.len()];
            failed += queue.look(now, look, &mut |_, names| told.push((now, names)));
            looks += 1;
        }
        (told, looks, failed)
    }

    #[test]
    fn a_name_that_appears_late_is_found_and_then_no_longer_looked_for() {
        let mut queue = Queue::default();
        queue.push(ask(1), 0);
        let (told, looks, failed) =
            run(&mut queue, |now| if now < 300 * MS { Found::Nothing } else { Found::Whole(names("a")) });
        assert_eq!((told, looks, failed), (vec![(370 * MS, names("a"))], 5, 0));
    }

    #[test]
    fn a_name_that_never_appears_is_given_up_and_counted_only_if_it_could_not_be_read() {
        for (found, expected) in [(Found::Nothing, 0), (Found::Unreadable, 1)] {
            let mut queue = Queue::default();
            queue.push(ask(1), 0);
            assert_eq!(run(&mut queue, |_| found.clone()), (vec![], PAUSES.len() + 1, expected));
        }
    }

    #[test]
    fn a_part_is_told_after_a_while_and_the_rest_when_it_comes() {
        let mut queue = Queue::default();
        queue.push(ask(1), 0);
        let (told, ..) =
            run(&mut queue, |now| if now < 1000 * MS { Found::Part(names("p")) } else { Found::Whole(names("w")) });
        assert_eq!(told, [(170 * MS, names("p")), (1870 * MS, names("w"))]);
    }

    #[test]
    fn a_long_look_is_followed_by_a_long_rest() {
        let mut queue = Queue::default();
        queue.push(ask(1), 0);
        assert_eq!(queue.look(0, |_| vec![Found::Nothing], &mut |_, _| {}), 0);
        queue.rest(1000 * MS, 1000 * MS);
        queue.push(ask(2), 1001 * MS);
        assert_eq!(queue.due(), Some(21_000 * MS));
        let look = |_: &[&Ask]| panic!("too early");
        assert_eq!(queue.look(20_999 * MS, look, &mut |_, _| {}), 0);
        queue.rest(0, 20_000 * MS);
        assert_eq!(queue.due(), Some(21_000 * MS), "a short look does not end the rest");
        let mut told = 0;
        queue.look(21_000 * MS, |asks| vec![Found::Whole(names("a")); asks.len()], &mut |_, _| told += 1);
        assert_eq!(told, 2, "both at once");
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut queue = Queue::default();
        let pushed = (0..=LENGTH as u64).filter(|&id| queue.push(ask(id), 0));
        assert_eq!(pushed.collect::<Vec<_>>(), [LENGTH as u64]);
        assert_eq!((queue.waiting.len(), queue.waiting[0].ask.cgroup.id), (LENGTH, 1));
    }
}
