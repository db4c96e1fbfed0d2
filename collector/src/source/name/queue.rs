//! Schedules lookups: one at once, then retries at growing intervals. Knows neither where names are stored nor the
//! clock.

use collector_core::identity::Names;

use super::request::{Found, Request};

const MS: u64 = 1_000_000;

/// Delays before the next lookup; after the last there is none. The kubelet links a container's log only once the
/// container has started, which may take seconds.
const RETRY_DELAYS: [u64; 9] =
    [20 * MS, 50 * MS, 100 * MS, 200 * MS, 500 * MS, 1_000 * MS, 2_000 * MS, 5_000 * MS, 15_000 * MS];

/// After this many lookups (370 ms) a pod's names alone are reported.
const PARTIAL_AFTER: usize = 4;

/// Limit on the length of the queue.
const MAX_LENGTH: usize = 4096;

/// Limit on the requests for one user's containers: nobody takes the places of others.
const MAX_OF_USER: usize = 256;

/// Delay before the next lookup where nothing answers. The request waits however long that lasts.
const HUNG_DELAY: u64 = 15_000 * MS;

/// Lookups use at most 1/20 of a CPU, however long the directories are.
const CPU_SHARE: u64 = 20;

/// The requests that are waiting.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Vec<Waiting>,
    throttled_until: u64,
}

#[derive(Debug)]
struct Waiting {
    request: Request,
    lookups: usize,
    due: u64,
    reported: bool,
}

impl Queue {
    pub fn has_room(&self) -> bool {
        self.waiting.len() < MAX_LENGTH
    }

    /// Adds a request that is due at once. If the queue is full, or the user's share of it, drops the oldest request, or the
    /// user's oldest, and returns `true`.
    pub fn push(&mut self, request: Request, now: u64) -> bool {
        let user = request.user();
        let mut of_user = self.waiting.iter().enumerate().filter(|(_, it)| user.is_some() && it.request.user() == user);
        let oldest = of_user.next().map_or(0, |(index, _)| index);
        let full = !self.has_room() || of_user.count() + 1 >= MAX_OF_USER;
        if full {
            self.waiting.remove(oldest);
        }
        self.waiting.push(Waiting { request, lookups: 0, due: now, reported: false });
        full
    }

    /// When the next lookup is due, if any.
    pub fn due(&self) -> Option<u64> {
        self.waiting.iter().map(|waiting| waiting.due.max(self.throttled_until)).min()
    }

    /// Looks up all requests that are due, and reports the names found, or `None` for a request that is given up. Returns
    /// the number of requests given up as unreadable.
    pub fn run_due(
        &mut self,
        now: u64,
        lookup: impl FnOnce(&[&Request]) -> Vec<Found>,
        report: &mut dyn FnMut(&Request, Option<Names>),
    ) -> u64 {
        let is_due = |waiting: &Waiting| waiting.due <= now;
        if now < self.throttled_until || !self.waiting.iter().any(is_due) {
            return 0;
        }
        let due: Vec<&Request> =
            self.waiting.iter().filter(|waiting| is_due(waiting)).map(|waiting| &waiting.request).collect();
        let mut found = lookup(&due).into_iter();
        let mut failed = 0;
        self.waiting.retain_mut(|waiting| {
            if waiting.due > now {
                return true;
            }
            let found = found.next().unwrap_or(Found::Absent);
            if found == Found::Hung {
                waiting.due = now + HUNG_DELAY;
                return true;
            }
            waiting.lookups += 1;
            let pause = RETRY_DELAYS.get(waiting.lookups - 1);
            failed += u64::from(pause.is_none() && found == Found::Unreadable);
            match found {
                Found::Complete(names) => {
                    report(&waiting.request, Some(names));
                    return false;
                }
                Found::Partial(names) if waiting.lookups >= PARTIAL_AFTER && !waiting.reported => {
                    report(&waiting.request, Some(names));
                    waiting.reported = true;
                }
                Found::Absent if pause.is_none() => report(&waiting.request, None),
                _ => {}
            }
            waiting.due = now + pause.copied().unwrap_or_default();
            pause.is_some()
        });
        failed
    }

    /// Pauses in proportion to the CPU time in nanoseconds that the last lookup took.
    pub fn throttle(&mut self, took: u64, now: u64) {
        let until = now.saturating_add(took.saturating_mul(CPU_SHARE));
        self.throttled_until = self.throttled_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::cgroup::Id;
    use collector_core::identity::Identity;

    fn request(id: u64) -> Request {
        Request { cgroup: Id { hierarchy: 0, id }, identity: Identity::of("/") }
    }

    fn names(name: &str) -> Names {
        Names { name: Some(name.into()), ..Names::default() }
    }

    /// Runs each lookup when it is due; the result depends on the time. Returns the reported names with their times,
    /// the number of lookups, and the number given up.
    fn run(queue: &mut Queue, found: impl Fn(u64) -> Found) -> (Vec<(u64, Option<Names>)>, usize, u64) {
        let (mut reported, mut lookups, mut failed) = (Vec::new(), 0, 0);
        while let Some(now) = queue.due() {
            let lookup = |requests: &[&Request]| vec![found(now); requests.len()];
            failed += queue.run_due(now, lookup, &mut |_, names| reported.push((now, names)));
            lookups += 1;
        }
        (reported, lookups, failed)
    }

    #[test]
    fn a_late_name_is_found_and_lookups_stop() {
        let mut queue = Queue::default();
        queue.push(request(1), 0);
        let (reported, lookups, failed) =
            run(&mut queue, |now| if now < 300 * MS { Found::Absent } else { Found::Complete(names("a")) });
        assert_eq!((reported, lookups, failed), (vec![(370 * MS, Some(names("a")))], 5, 0));
    }

    #[test]
    fn a_missing_name_is_counted_only_if_unreadable() {
        let given_up: u64 = RETRY_DELAYS.iter().sum();
        for (found, reported, expected) in [(Found::Absent, vec![(given_up, None)], 0), (Found::Unreadable, vec![], 1)]
        {
            let mut queue = Queue::default();
            queue.push(request(1), 0);
            assert_eq!(run(&mut queue, |_| found.clone()), (reported, RETRY_DELAYS.len() + 1, expected));
        }
    }

    #[test]
    fn partial_names_are_reported_after_a_delay() {
        let mut queue = Queue::default();
        queue.push(request(1), 0);
        let (reported, ..) =
            run(
                &mut queue,
                |now| if now < 1000 * MS { Found::Partial(names("p")) } else { Found::Complete(names("w")) },
            );
        assert_eq!(reported, [(170 * MS, Some(names("p"))), (1870 * MS, Some(names("w")))]);
    }

    #[test]
    fn lookups_are_throttled_by_cpu_time() {
        let mut queue = Queue::default();
        queue.push(request(1), 0);
        assert_eq!(queue.run_due(0, |_| vec![Found::Absent], &mut |_, _| {}), 0);
        queue.throttle(1000 * MS, 1000 * MS);
        queue.push(request(2), 1001 * MS);
        assert_eq!(queue.due(), Some(21_000 * MS));
        let lookup = |_: &[&Request]| panic!("too early");
        assert_eq!(queue.run_due(20_999 * MS, lookup, &mut |_, _| {}), 0);
        queue.throttle(0, 20_000 * MS);
        assert_eq!(queue.due(), Some(21_000 * MS), "a short lookup does not end the pause");
        let mut reported = 0;
        queue.run_due(21_000 * MS, |requests| vec![Found::Complete(names("a")); requests.len()], &mut |_, _| {
            reported += 1
        });
        assert_eq!(reported, 2, "both at once");
    }

    #[test]
    fn a_request_waits_for_a_home_that_does_not_answer() {
        let mut queue = Queue::default();
        queue.push(request(1), 0);
        let hour = 3_600_000 * MS;
        let (reported, _, failed) =
            run(&mut queue, |now| if now < hour { Found::Hung } else { Found::Complete(names("a")) });
        assert_eq!((reported, failed), (vec![(hour, Some(names("a")))], 0));
    }

    #[test]
    fn a_user_takes_no_more_than_a_share() {
        let of = |uid: u32, id: u64| {
            let path = format!("/user.slice/user-{uid}.slice/user@{uid}.service/user.slice/libpod-{:064x}.scope", id);
            Request { cgroup: Id { hierarchy: 0, id }, identity: Identity::of(&path) }
        };
        let mut queue = Queue::default();
        queue.push(of(1000, 1), 0);
        let dropped = (0..=MAX_OF_USER as u64).filter(|id| queue.push(of(1001, 10 + id), 0)).count();
        assert_eq!(dropped, 1);
        assert!(!queue.push(request(9), 0), "of the host");
        let ids: Vec<_> = queue.waiting.iter().map(|waiting| waiting.request.cgroup.id).collect();
        assert_eq!((ids.len(), &ids[..2], ids[ids.len() - 1]), (MAX_OF_USER + 2, &[1, 11][..], 9));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut queue = Queue::default();
        let pushed = (0..=MAX_LENGTH as u64).filter(|&id| queue.push(request(id), 0));
        assert_eq!(pushed.collect::<Vec<_>>(), [MAX_LENGTH as u64]);
        assert_eq!((queue.waiting.len(), queue.waiting[0].request.cgroup.id), (MAX_LENGTH, 1));
    }
}
