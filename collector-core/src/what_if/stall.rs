//! Whether tasks would have waited for memory. Reads what a limit held over the whole recording; knows no single kill.

use super::change::Change;
use super::domain::Domain;
use super::point::Place;
use super::report::{Fate, Stall};
use crate::amount::bytes;

/// Less waiting than this is none, in nanoseconds.
const LEAST_NS: u64 = 10_000_000;
/// What is filled up to this share of a limit makes nobody wait.
const FITS: f64 = 0.98;
/// What others held is known if the limit was not reached at so many ticks.
const TICKS: u32 = 3;

/// Of everybody who waited at this limit. `inside` says whether a workload is the changed one or below it.
pub fn judge(change: &Change, domain: &Domain, inside: impl Fn(&str) -> bool) -> Vec<Stall> {
    let mut stalls: Vec<Stall> = Vec::new();
    for (name, ns) in domain.stalls.iter().filter(|(_, ns)| **ns >= LEAST_NS) {
        let seconds = *ns as f64 / 1e9;
        let (fate, why) = fate(change, domain, inside(name));
        stalls.push(Stall {
            workload: name.to_string(),
            fate,
            seconds,
            avoided_seconds: (fate == Fate::Avoided).then_some(seconds),
            displaced: None,
            why,
        });
    }
    if let (Change::Limit { .. }, Place::Own, Some(name)) = (change, domain.place, &domain.name)
        && domain.displaced > 0
    {
        let why = format!(
            "{} of page cache that it used again would have had no room, and would have been read again.",
            bytes(domain.displaced)
        );
        match stalls.iter_mut().find(|stall| *stall.workload == **name) {
            Some(stall) => (stall.fate, stall.displaced, stall.why) = (Fate::Later, Some(domain.displaced), why),
            None => stalls.push(Stall {
                workload: name.to_string(),
                fate: Fate::Later,
                seconds: 0.0,
                avoided_seconds: None,
                displaced: Some(domain.displaced),
                why,
            }),
        }
    }
    stalls
}

fn fate(change: &Change, domain: &Domain, own: bool) -> (Fate, String) {
    let limit = domain.points.back().and_then(|point| point.limit);
    let fits = |more: u64| limit.is_some_and(|limit| domain.others.saturating_add(more) as f64 <= FITS * limit as f64);
    let known = domain.free_ticks >= TICKS;
    let said = |fate, why: &str| (fate, why.to_owned());
    match (change, domain.place) {
        (Change::Without { .. }, Place::Own | Place::Above) => said(Fate::Avoided, "It would not have run."),
        (Change::Without { .. }, Place::Below) if own => said(Fate::Avoided, "It would not have run."),
        (Change::Without { .. }, Place::Below) if known && fits(0) => (
            Fate::Avoided,
            format!("All others held {} while there was room: without it, that fits.", bytes(domain.others)),
        ),
        (Change::Limit { bytes: Some(limit), .. }, Place::Below) if !own && domain.subject <= *limit => {
            said(Fate::Same, "The changed workload never held more than that limit.")
        }
        (Change::Limit { bytes: Some(capped), .. }, Place::Below) if !own && known && fits(*capped) => (
            Fate::Avoided,
            format!(
                "All others held {} while there was room: with {} of it, that fits.",
                bytes(domain.others),
                bytes(*capped)
            ),
        ),
        (Change::Limit { bytes: Some(capped), .. }, Place::Own) if limit.is_some_and(|limit| *capped < limit) => {
            said(Fate::Later, "There would have been less room.")
        }
        (Change::Low { .. }, _) if own => {
            said(Fate::NotKnown, "What others would have been left with is not in the recording.")
        }
        (Change::Start { .. }, Place::Own | Place::Below) => said(Fate::Later, "There would have been less room."),
        (Change::Limit { .. } | Change::Without { .. } | Change::Start { .. }, Place::Elsewhere | Place::Above) => {
            said(Fate::Same, "The change does not concern this limit.")
        }
        _ => said(Fate::NotKnown, "How much page cache it would use is not in the recording."),
    }
}

#[cfg(test)]
mod tests {
    use super::super::point::{Held, Point};
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Below a limit of 100 MiB a neighbour comes to 40 MiB that uses 50 MiB of page cache.
    fn squeezed(change: &Change, place: Place) -> Domain {
        let mut domain = Domain::new(Some("/p".into()), place);
        for (time, (all, subject)) in (1..).zip([(20, 0), (50, 0), (50, 0), (90, 40), (100, 60), (100, 60)]) {
            let of = |mib: u64| Held { total: mib * MIB, hard: mib * MIB / 2, anon: mib * MIB / 2 };
            let (held, subject) = (of(all), of(subject));
            domain.read(change, Point { time, held, limit: Some(100 * MIB), subject, fresh: true }, 0, false);
        }
        domain.stalls.insert("/p/cache".into(), 3_000_000_000);
        domain.stalls.insert("/p/x".into(), 1_000_000);
        domain
    }

    #[test]
    fn what_others_held_while_there_was_room_shows_whether_they_would_wait() {
        let without = Change::Without { workload: "/p/x".to_owned() };
        let limit = |mib: u64| Change::Limit { workload: "/p/x".to_owned(), bytes: Some(mib * MIB) };
        let fates = |change: &Change| {
            let stalls = judge(change, &squeezed(change, Place::Below), |name| name == "/p/x");
            stalls.into_iter().map(|it| (it.workload, it.fate, it.avoided_seconds)).collect::<Vec<_>>()
        };
        let cache = |fate, avoided| vec![("/p/cache".to_owned(), fate, avoided)];
        assert_eq!(fates(&without), cache(Fate::Avoided, Some(3.0)));
        assert_eq!(fates(&limit(30)), cache(Fate::Avoided, Some(3.0)));
        assert_eq!(fates(&limit(55)), cache(Fate::NotKnown, None));
        assert_eq!(fates(&limit(80)), cache(Fate::Same, None));
    }

    #[test]
    fn less_room_for_page_cache_that_is_used_again_makes_wait() {
        let change = Change::Limit { workload: "/p".to_owned(), bytes: Some(60 * MIB) };
        let mut domain = Domain::new(Some("/p".into()), Place::Own);
        let held = Held { total: 90 * MIB, hard: 20 * MIB, anon: 20 * MIB };
        domain.read(
            &change,
            Point { time: 1, held, limit: Some(100 * MIB), subject: held, fresh: true },
            60 * MIB,
            false,
        );
        let stalls = judge(&change, &domain, |_| true);
        assert_eq!((stalls[0].fate, stalls[0].displaced), (Fate::Later, Some(20 * MIB)), "{stalls:?}");
    }
}
