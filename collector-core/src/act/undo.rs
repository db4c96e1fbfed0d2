//! Whether a change can be undone now: what is there must be what was written, or it belongs to somebody else. Knows the journal's rows, and
//! what is read, and reads nothing.

use super::record::{Record, State};
use super::value::same;
use crate::action::Kind;

/// What an undo does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Undo {
    /// These steps are written back, in this order.
    Restore(Vec<usize>),
    /// All is as before; what that means.
    Already(String),
    /// Nothing is written; why.
    Aside(String),
}

/// Why a change has no undo; `None` if it has one.
pub fn is_undoable(record: &Record) -> Result<(), String> {
    match (record.kind, record.state) {
        (Kind::Reclaim, _) => Err("a reclaim cannot be undone: what is needed is read again".to_owned()),
        (Kind::Thaw, _) => Err("a thaw is not undone: freeze it again, if that is wanted".to_owned()),
        (Kind::Terminate | Kind::Kill, _) => Err("what has ended does not come back: start it again".to_owned()),
        (_, State::Done) => Ok(()),
        (_, state) => Err(format!("change {} is {}: there is nothing to undo", record.id, state.label())),
    }
}

/// `now` has what the kernel shows for each step; nothing where the cgroup is gone. `page` is the size of a page in bytes.
pub fn undo(record: &Record, now: &[Option<String>], page: u64) -> Undo {
    let mut restore = Vec::new();
    for (at, step) in record.steps.iter().enumerate() {
        let Some(Some(now)) = now.get(at) else {
            return Undo::Aside(format!("{} is gone, and with it what was changed", record.object));
        };
        let wrote = step.read_back.as_deref().unwrap_or(&step.after);
        let is = |value: &str| same(&step.file, value, now, page);
        match (is(wrote), is(&step.before)) {
            // The same twice: nothing of that step is left to undo.
            (_, true) => {}
            (true, false) => restore.push(at),
            (false, false) => {
                return Undo::Aside(format!(
                    "{} of {} is {now}, and not {wrote} as change {} wrote it: somebody else changed it since, and it is left as it is",
                    step.file, record.object, record.id
                ));
            }
        }
    }
    if restore.is_empty() {
        return Undo::Already("everything is as before already".to_owned());
    }
    restore.reverse();
    Undo::Restore(restore)
}

/// Later changes of the same files that still hold, and which of their steps began from what `ended` wrote: these must lead back to what
/// `ended` found, or they would restore what is over.
pub fn beneath(ended: &Record, later: &[Record], page: u64) -> Vec<(usize, usize, String)> {
    let mut found = Vec::new();
    for step in &ended.steps {
        let Some(wrote) = &step.read_back else { continue };
        for (at, other) in later.iter().enumerate() {
            let holds = other.id > ended.id && other.state == State::Done && other.boot == ended.boot;
            let begins = |it: &&super::record::Step| {
                (it.file == step.file && it.cgroup == step.cgroup && it.controller == step.controller)
                    && same(&it.file, wrote, &it.before, page)
            };
            let place = holds.then(|| other.steps.iter().position(|it| begins(&it))).flatten();
            if let Some(place) = place {
                found.push((at, place, step.before.clone()));
                break;
            }
        }
    }
    found
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::act::{Object, Step, Who};
    use crate::action::Risk;
    use proptest::prelude::*;

    pub fn record(id: u64, steps: &[(&str, &str, &str)]) -> Record {
        let step = |(file, before, after): &(&str, &str, &str)| Step {
            controller: "memory".to_owned(),
            file: (*file).to_owned(),
            cgroup: 7,
            before: (*before).to_owned(),
            after: (*after).to_owned(),
            read_back: Some((*after).to_owned()),
        };
        Record {
            id,
            time: 1,
            boot: "b".to_owned(),
            who: Who { uid: 0, pid: 1, comm: "sh".to_owned() },
            why: None,
            advice: None,
            key: None,
            rule: "a".to_owned(),
            kind: Kind::MemoryMax,
            object: Object::Cgroup { path: "/a".to_owned(), id: 7 },
            risk: Risk::High,
            forced: false,
            steps: steps.iter().map(step).collect(),
            until: None,
            until_boot: None,
            state: State::Done,
            note: None,
            ending: None,
        }
    }

    fn now(values: &[&str]) -> Vec<Option<String>> {
        values.iter().map(|value| Some((*value).to_owned())).collect()
    }

    #[test]
    fn what_we_wrote_is_restored_and_what_others_wrote_is_left() {
        let one = record(3, &[("memory.max", "max", "8192")]);
        assert_eq!(undo(&one, &now(&["8192"]), 4096), Undo::Restore(vec![0]));
        assert!(matches!(undo(&one, &now(&["max"]), 4096), Undo::Already(_)));
        let Undo::Aside(why) = undo(&one, &now(&["16384"]), 4096) else { panic!("theirs") };
        assert!(why.contains("is 16384, and not 8192 as change 3 wrote it"), "{why}");
        assert!(matches!(undo(&one, &[None], 4096), Undo::Aside(_)));
        let two =
            record(3, &[("memory.memsw.limit_in_bytes", "8192", "16384"), ("memory.limit_in_bytes", "4096", "8192")]);
        assert_eq!(undo(&two, &now(&["16384", "8192"]), 4096), Undo::Restore(vec![1, 0]), "in reverse");
        assert!(matches!(undo(&two, &now(&["16384", "4097024"]), 4096), Undo::Aside(_)), "all or nothing");
    }

    #[test]
    fn what_has_no_undo_says_so() {
        let of = |kind, state| is_undoable(&Record { kind, state, ..record(1, &[]) });
        assert_eq!(of(Kind::MemoryMax, State::Done), Ok(()));
        for (kind, state) in [
            (Kind::Kill, State::Done),
            (Kind::Reclaim, State::Done),
            (Kind::MemoryMax, State::Undone),
            (Kind::MemoryMax, State::Failed),
            (Kind::MemoryMax, State::SteppedAside),
        ] {
            assert!(of(kind, state).is_err(), "{kind:?} {state:?}");
        }
    }

    #[test]
    fn a_change_above_one_that_ended_leads_back_to_what_that_one_found() {
        let first = record(1, &[("memory.max", "max", "8192")]);
        let second = record(2, &[("memory.max", "8192", "4096")]);
        let undone = Record { state: State::Undone, ..record(3, &[("memory.max", "8192", "4096")]) };
        let other = record(4, &[("memory.max", "16384", "4096")]);
        let found = beneath(&first, &[undone, other, second], 4096);
        assert_eq!(found, [(2, 0, "max".to_owned())]);
    }

    proptest! {
        /// Whatever is there: an undo writes back all that is ours and not as before, or nothing at all.
        #[test]
        fn an_undo_never_touches_a_value_that_is_not_ours(
            before in 0u64..6, after in 0u64..6, seen in proptest::collection::vec(proptest::option::of(0u64..6), 2)
        ) {
            let text = |pages: u64| (pages * 4096).to_string();
            let (from, to) = (text(before), text(after));
            let one = record(1, &[("memory.max", &from, &to), ("memory.high", &from, &to)]);
            let values: Vec<Option<String>> = seen.iter().map(|it| it.map(text)).collect();
            match undo(&one, &values, 4096) {
                Undo::Restore(steps) => {
                    prop_assert!(seen.iter().all(|it| *it == Some(before) || *it == Some(after)));
                    let wanted: Vec<usize> = (0..2).rev().filter(|at| seen[*at] != Some(before)).collect();
                    prop_assert_eq!(steps, wanted);
                }
                Undo::Already(_) => prop_assert!(seen.iter().all(|it| *it == Some(before))),
                Undo::Aside(_) => {
                    prop_assert!(seen.iter().any(|it| *it != Some(before) && *it != Some(after)));
                }
            }
        }
    }
}
