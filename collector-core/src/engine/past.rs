//! What is new of the last days: counts once all its parts are there.

use std::sync::Arc;

use crate::past::Change;
use crate::view::View;

/// More parts than there ever are: of a recording that somebody made up.
const MOST: usize = 256;

/// Parts that were read, and whose last was not.
#[derive(Clone, Debug, Default)]
pub struct Parts(Vec<Change>);

impl Parts {
    pub fn add(&mut self, view: &mut View, part: &Change) {
        let more = part.more && self.0.len() < MOST;
        self.0.push(part.clone());
        if !more {
            // Copied only while a snapshot holds the one before.
            let past = Arc::make_mut(&mut view.past);
            self.0.drain(..).for_each(|part| past.apply(&part));
            self.0 = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::test::engine;
    use super::*;
    use crate::past::{Day, New};
    use crate::sample::{Reading, Sample};

    #[test]
    fn what_is_new_counts_when_its_last_part_is_there() {
        let mut engine = engine();
        let mut add = |part: Change| {
            engine.apply(&Sample { time: 20, reading: Reading::Past(Box::new(part)) });
            engine.view().past.clone()
        };
        let new = |seconds| New { days: vec![Day { seconds, ..Day::default() }], ..New::default() };
        let first = Change { time: 5, afresh: true, more: true, host: new(7), ..Change::default() };
        assert_eq!(add(first).time, 0);
        let last = Change { time: 5, workloads: [("a".into(), new(9))].into(), ..Change::default() };
        let held = add(last);
        assert_eq!((held.time, held.host.seconds(), held.workloads["a"].seconds()), (5, 7, 9));
        let later = add(Change { time: 6, host: new(8), ..Change::default() });
        assert_eq!((held.host.seconds(), later.host.seconds(), later.time), (7, 8, 6), "a snapshot does not change");
    }
}
