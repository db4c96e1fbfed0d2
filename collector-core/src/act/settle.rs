//! What a start finds in the journal: a change that was written down and perhaps not made, or an undo. What the kernel shows decides, and it is
//! said which. Knows nothing of who reads.

use super::record::{Record, State};
use super::value::same;
use crate::action::Kind;

/// What a change is, after all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub state: State,
    pub note: String,
    /// What the kernel shows for each step, if the change holds.
    pub read_back: Vec<String>,
}

/// A change that was about to be made when the actuator ended. `now` has what the kernel shows for each step; nothing where the cgroup is
/// gone. `alive` is whether the process runs that a signal was for.
pub fn settle(record: &Record, now: &[Option<String>], alive: Option<bool>, page: u64) -> Settled {
    const FOUND: &str = "the actuator ended before it wrote this down; found at its next start:";
    let plain = |state, note: String| Settled { state, note: format!("{FOUND} {note}"), read_back: Vec::new() };
    if record.steps.is_empty() {
        return match alive {
            Some(true) => {
                plain(State::Failed, "it still runs, and whether the signal was sent is not known".to_owned())
            }
            Some(false) => plain(State::Done, "it has ended".to_owned()),
            None => plain(State::Failed, "whether it still runs is not known".to_owned()),
        };
    }
    if record.kind == Kind::Reclaim {
        return plain(State::Failed, "whether memory was reclaimed is not known".to_owned());
    }
    let Some(now) = now.iter().cloned().collect::<Option<Vec<String>>>().filter(|it| it.len() == record.steps.len())
    else {
        return plain(State::Failed, format!("{} is gone", record.object));
    };
    let is = |value: fn(&super::record::Step) -> &str| {
        let steps = record.steps.iter().zip(&now);
        steps.map(move |(step, now)| same(&step.file, value(step), now, page)).collect::<Vec<bool>>()
    };
    let (made, not) = (is(|step| &step.after), is(|step| &step.before));
    let values = || {
        let each = record.steps.iter().zip(&now).map(|(step, now)| format!("{} is {now}", step.file));
        each.collect::<Vec<_>>().join(", ")
    };
    if not.iter().all(|not| *not) {
        return plain(State::Failed, format!("it was not made: {}", values()));
    }
    let kept = |note: String| Settled { state: State::Done, note: format!("{FOUND} {note}"), read_back: now.clone() };
    if made.iter().all(|made| *made) {
        return kept(format!("it was made: {}", values()));
    }
    if made.iter().zip(&not).all(|(made, not)| *made || *not) {
        return kept(format!("a part of it was made: {}", values()));
    }
    plain(State::SteppedAside, format!("{}, which is neither as before nor as asked: somebody else wrote it", values()))
}

/// A change that was about to be undone. `None`: it holds still, and has yet to be undone.
pub fn settle_ending(record: &Record, now: &[Option<String>], page: u64) -> Option<State> {
    let ending = record.ending.as_ref()?;
    let as_before = record.steps.len() == now.len()
        && record
            .steps
            .iter()
            .zip(now)
            .all(|(step, now)| now.as_deref().is_some_and(|now| same(&step.file, &step.before, now, page)));
    as_before.then(|| ending.state())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::undo::tests::record;
    use crate::act::{Ending, Who};
    use proptest::prelude::*;

    fn now(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| Some((*value).to_owned())).collect()
    }

    #[test]
    fn the_kernel_says_whether_a_change_was_made() {
        let intended = Record { state: State::Intended, ..record(1, &[("memory.max", "max", "8192")]) };
        let of = |values: &[Option<String>]| settle(&intended, values, None, 4096);
        let made = of(&now(&["8192"]));
        assert_eq!((made.state, made.read_back), (State::Done, vec!["8192".to_owned()]));
        assert!(made.note.contains("it was made"), "{}", made.note);
        let not = of(&now(&["max"]));
        assert!(not.state == State::Failed && not.note.contains("it was not made"), "{not:?}");
        let other = of(&now(&["4096"]));
        assert!(other.state == State::SteppedAside && other.note.contains("is 4096"), "{other:?}");
        let gone = of(&[None]);
        assert!(gone.state == State::Failed && gone.note.contains("/a is gone"), "{gone:?}");
        let two = Record {
            state: State::Intended,
            ..record(1, &[("memory.memsw.limit_in_bytes", "4096", "8192"), ("memory.limit_in_bytes", "4096", "8192")])
        };
        let half = settle(&two, &now(&["8192", "4096"]), None, 4096);
        assert!(half.state == State::Done && half.note.contains("a part of it"), "{half:?}");
    }

    #[test]
    fn a_signal_is_known_by_its_effect() {
        let kill = Record { kind: Kind::Kill, state: State::Intended, ..record(1, &[]) };
        let states = [Some(true), Some(false), None].map(|alive| settle(&kill, &[], alive, 4096).state);
        assert_eq!(states, [State::Failed, State::Done, State::Failed]);
    }

    #[test]
    fn an_undo_that_was_made_is_seen() {
        let who = Some(Who { uid: 0, pid: 1, comm: "sh".to_owned() });
        let ends =
            |who| Record { ending: Some(Ending { time: 1, who }), ..record(1, &[("memory.max", "max", "8192")]) };
        assert_eq!(settle_ending(&ends(who), &now(&["max"]), 4096), Some(State::Undone));
        assert_eq!(settle_ending(&ends(None), &now(&["max"]), 4096), Some(State::Expired));
        assert_eq!(settle_ending(&ends(None), &now(&["8192"]), 4096), None);
        assert_eq!(settle_ending(&record(1, &[]), &[], 4096), None);
    }

    proptest! {
        /// A change is called done only if what the kernel shows is what was asked for, or partly so, and never where somebody else wrote.
        #[test]
        fn done_is_what_the_kernel_shows(before in 0u64..5, after in 0u64..5, seen in proptest::collection::vec(0u64..5, 2)) {
            let text = |pages: u64| (pages * 4096).to_string();
            let (from, to) = (text(before), text(after));
            let one = record(1, &[("memory.max", &from, &to), ("memory.high", &from, &to)]);
            let one = Record { state: State::Intended, ..one };
            let values: Vec<Option<String>> = seen.iter().map(|it| Some(text(*it))).collect();
            let settled = settle(&one, &values, None, 4096);
            let ours = seen.iter().all(|it| *it == before || *it == after);
            let wanted = match (ours, seen.iter().all(|it| *it == before)) {
                (_, true) => State::Failed,
                (true, false) => State::Done,
                (false, false) => State::SteppedAside,
            };
            prop_assert_eq!(settled.state, wanted);
        }
    }
}
