//! The advice of a period, from what the journal has of it: what held at its end, and what was followed or gone within it.

use std::collections::BTreeMap;

use super::block::Entry;
use crate::standing::{Standing, State};
use crate::zone::Zone;

/// What the journal has of advice: when it was written, and how the advice was then.
pub type Written = (u64, Standing);

/// Of a period, from all that was written before its end, the oldest first. What held before the agent started again is not known to hold:
/// the agent says it once more if it does. `starts` are the quarters of an hour in which it started.
pub fn of_period((from, to): (u64, u64), written: &[Written], starts: &[u64]) -> Vec<Standing> {
    // What was followed stays, also where the same rule asked for more later.
    let mut last: BTreeMap<(&str, Option<u64>), &Written> = BTreeMap::new();
    for one in written.iter().filter(|(time, _)| *time < to) {
        let id = one.1.advice.id.as_str();
        let followed = if let State::Followed { at, .. } = one.1.state { Some(at) } else { None };
        if followed.is_some() {
            last.remove(&(id, None));
        }
        last.insert((id, followed), one);
    }
    let counts = |(time, standing): &Written| match standing.state {
        State::Holds => !starts.iter().any(|start| (*time + 1..to).contains(start)),
        State::Followed { .. } | State::Gone { .. } => *time >= from,
    };
    let mut found: Vec<Standing> =
        last.into_values().filter(|one| counts(one)).map(|(_, standing)| standing.clone()).collect();
    let order = |standing: &Standing| (rank(&standing.state), std::cmp::Reverse(standing.advice.confidence));
    found.sort_by_key(order);
    found
}

fn rank(state: &State) -> u8 {
    match state {
        State::Holds => 0,
        State::Followed { .. } => 1,
        State::Gone { .. } => 2,
    }
}

/// One advice for the page.
pub(super) fn entry(standing: &Standing, zone: &Zone) -> Entry {
    let advice = &standing.advice;
    let saved = advice.saves.as_ref().and_then(|saves| saves.sentence());
    let saved = saved.map_or_else(String::new, |saved| format!(" Would have saved {saved}."));
    Entry {
        time: match &standing.state {
            State::Holds => format!("{} confidence, {} risk", advice.confidence.label(), advice.risk.label()),
            State::Followed { at, .. } => format!("followed {}", zone.minute(*at)),
            State::Gone { at } => format!("held until {}", zone.minute(*at)),
        },
        id: advice.id.clone(),
        title: advice.title.clone(),
        detail: format!("{}{saved}", advice.why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::{Listed, Setting};
    use super::super::{Digest, Material, page, text};
    use super::*;
    use crate::advice::Confidence;
    use crate::api::suggestions::tests::advice;
    use crate::standing::Effect;

    fn written(time: u64, name: &str, state: State) -> Written {
        (time, Standing { advice: advice(name, Confidence::Medium), since: time, state })
    }

    fn followed(at: u64) -> State {
        State::Followed { at, value: "1".to_owned(), before: Effect::default(), after: None }
    }

    #[test]
    fn what_held_at_the_end_counts_and_what_ended_within_the_period() {
        let all = [
            written(1, "old", State::Holds),
            written(2, "ended before", State::Holds),
            written(3, "ended before", State::Gone { at: 3 }),
            written(4, "done", State::Holds),
            written(12, "done", followed(12)),
            written(13, "new", State::Holds),
            written(25, "later", State::Holds),
            written(26, "new", State::Gone { at: 26 }),
        ];
        let names = |starts: &[u64]| {
            let found = of_period((10, 20), &all, starts);
            found.iter().map(|it| it.advice.object.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["new", "old", "done"]);
        assert_eq!(names(&[1, 21]), ["new", "old", "done"], "it began after the one start, and the other is later");
        assert_eq!(names(&[15]), ["done"], "what held before a start is not known to hold after it");
    }

    #[test]
    fn the_page_says_what_to_change_and_nothing_where_nothing_was_advised() {
        let setting = Setting { host: "h".to_owned(), zone: Zone::utc(), listed: Listed::Important };
        let of = |advice| {
            let digest = Digest { known_seconds: 1, advice, ..Digest::new((0, 20), &Material::default()) };
            text(&page(&digest, &setting), 300, false)
        };
        let standing = |name, state| written(1, name, state).1;
        let page = of(vec![standing("docker/web", State::Holds), standing("done", followed(60_000_000_000))]);
        for part in [
            "What to change",
            "medium confidence, low risk",
            "Raise the memory limit of docker/web",
            "Would have saved in 8 d: 3 OOM kills.",
            "followed 1970-01-01 00:01",
        ] {
            assert!(page.contains(part), "{part}\n{page}");
        }
        assert!(!of(Vec::new()).contains("What to change"));
    }
}
