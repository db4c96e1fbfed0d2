//! What a sample would have said with the change: for a second engine, which answers requests by it. Knows what the changed workload holds,
//! and no engine.

use super::change::Change;
use super::point::Held;
use crate::cgroup::{Id, contains};
use crate::lease::{Asked, Ceiling, Kept};
use crate::sample::{Reading, Sample};
use crate::statistic::host::Statistic::{MemoryAvailable, MemoryFree, SwapFree, SwapTotal};
use crate::statistic::workload::Statistic::MemoryLimit;

/// The changed workload.
pub struct Subject<'a> {
    /// Its cgroup in the memory controller's hierarchy, and that cgroup's path; absent while it is not there.
    pub id: Option<Id>,
    pub path: Option<&'a str>,
    pub held: Held,
}

/// `None`: it would not have been read.
pub fn alter(change: &Change, subject: &Subject<'_>, sample: &Sample) -> Option<Sample> {
    let mut sample = sample.clone();
    match &mut sample.reading {
        Reading::Statistics(statistics) if subject.id == Some(statistics.cgroup) => match change {
            Change::Limit { bytes, .. } => statistics.values.put(MemoryLimit, *bytes),
            Change::Without { .. } => return None,
            _ => {}
        },
        Reading::Host(values) => {
            let [more, less] = match change {
                Change::Without { .. } => [subject.held.hard, 0],
                Change::Limit { bytes: Some(limit), .. } => [subject.held.hard.saturating_sub(*limit), 0],
                Change::Start { bytes, .. } => [0, *bytes],
                _ => [0, 0],
            };
            for statistic in [MemoryAvailable, MemoryFree] {
                if let Some(value) = values.get(statistic) {
                    values.set(statistic, value.saturating_add(more).saturating_sub(less));
                }
            }
            if let Change::Swap { bytes } = change {
                [SwapTotal, SwapFree].into_iter().for_each(|statistic| values.add(statistic, *bytes));
            }
        }
        Reading::Request(request) => {
            // What did not run asked for nothing.
            let own = |path: &str| subject.path.is_some_and(|subject| contains(subject, path));
            if matches!(change, Change::Without { .. }) && request.caller.cgroup.as_deref().is_some_and(own) {
                return None;
            }
            request.caller.ceilings.iter_mut().for_each(|ceiling| bound(change, subject, ceiling));
        }
        Reading::Lease(Kept::Ceilings { ceilings, .. }) => {
            ceilings.iter_mut().for_each(|ceiling| bound(change, subject, ceiling));
        }
        _ => {}
    }
    Some(sample)
}

fn bound(change: &Change, subject: &Subject<'_>, ceiling: &mut Ceiling) {
    let Some(path) = subject.path else { return };
    let (own, below) = (path == ceiling.path, contains(&ceiling.path, path));
    let cache = subject.held.total.saturating_sub(subject.held.hard);
    match change {
        Change::Limit { bytes, .. } if own => (ceiling.limit, ceiling.high) = (*bytes, false),
        Change::Limit { bytes: Some(limit), .. } if below => {
            ceiling.used = ceiling.used.saturating_sub(subject.held.hard.saturating_sub(*limit));
        }
        Change::Without { .. } if below && !own => {
            ceiling.used = ceiling.used.saturating_sub(subject.held.total);
            ceiling.reclaimable = ceiling.reclaimable.saturating_sub(cache);
        }
        Change::Start { bytes, .. } if below => ceiling.used = ceiling.used.saturating_add(*bytes),
        _ => {}
    }
}

/// A request by its number, if somebody asked whether something may start.
pub fn asked(sample: &Sample) -> Option<u64> {
    match &sample.reading {
        Reading::Request(request) if matches!(request.asked, Asked::Admit(_) | Asked::Claim { .. }) => {
            Some(request.number)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease::{Ask, Caller, Request};
    use crate::statistic::host;

    const MIB: u64 = 1 << 20;
    const ID: Id = Id { hierarchy: 4, id: 7 };

    fn subject() -> Subject<'static> {
        Subject { id: Some(ID), path: Some("/p/a"), held: Held { total: 60 * MIB, hard: 50 * MIB, anon: 50 * MIB } }
    }

    fn request(cgroup: &str) -> Sample {
        let ceiling = |path: &str, limit: u64, used: u64| Ceiling {
            path: path.to_owned(),
            limit: Some(limit * MIB),
            high: false,
            used: used * MIB,
            reclaimable: 10 * MIB,
        };
        let ceilings = vec![ceiling("/p/a", 64, 60), ceiling("/p", 128, 100)];
        let caller = Caller { cgroup: Some(cgroup.to_owned()), ceilings, ..Caller::default() };
        let request = Request { number: 3, caller, asked: Asked::Admit(Ask::default()) };
        Sample { time: 1, reading: Reading::Request(Box::new(request)) }
    }

    fn ceilings(change: &Change) -> Vec<(Option<u64>, u64)> {
        let altered = alter(change, &subject(), &request("/p/b")).unwrap();
        let Reading::Request(request) = altered.reading else { panic!("no request") };
        request.caller.ceilings.iter().map(|it| (it.limit.map(|it| it / MIB), it.left().unwrap_or(0) / MIB)).collect()
    }

    #[test]
    fn limits_and_what_is_left_below_them_follow_the_change() {
        let of = |bytes| Change::Limit { workload: "/p/a".to_owned(), bytes };
        assert_eq!(ceilings(&of(Some(256 * MIB))), [(Some(256), 206), (Some(128), 38)]);
        assert_eq!(ceilings(&of(Some(30 * MIB))), [(Some(30), 0), (Some(128), 58)]);
        let without = Change::Without { workload: "/p/a".to_owned() };
        assert_eq!(ceilings(&without), [(Some(64), 14), (Some(128), 88)]);
        assert_eq!(alter(&without, &subject(), &request("/p/a/x")), None, "it did not run");
        let start = Change::Start { bytes: 30 * MIB, within: Some("/p/a".to_owned()) };
        assert_eq!(ceilings(&start), [(Some(64), 0), (Some(128), 8)]);
    }

    #[test]
    fn the_host_has_what_it_would_have() {
        let values = host::Values::from_iter([(MemoryAvailable, 100 * MIB), (MemoryFree, 20 * MIB)]);
        let sample = Sample { time: 1, reading: Reading::Host(values) };
        let available = |change: &Change| match alter(change, &subject(), &sample).unwrap().reading {
            Reading::Host(values) => (values.get(MemoryAvailable).unwrap() / MIB, values.get(SwapTotal)),
            _ => panic!("no host"),
        };
        assert_eq!(available(&Change::Without { workload: "/p/a".to_owned() }), (150, None));
        assert_eq!(available(&Change::Start { bytes: 30 * MIB, within: None }), (70, None));
        assert_eq!(available(&Change::Swap { bytes: MIB }), (100, Some(MIB)));
    }
}
