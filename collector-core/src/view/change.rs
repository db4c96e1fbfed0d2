//! What changed of late: the last changes of sorts that are rare.

use std::collections::VecDeque;

use crate::incident::Change;

/// Changes that are kept.
const KEPT: usize = 64;

/// The last changes, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Changes(VecDeque<Change>);

impl Changes {
    pub(crate) fn add(&mut self, change: Change) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    /// All of them.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::What;

    #[test]
    fn the_last_ones_stay() {
        let mut changes = Changes::default();
        for time in 0..100 {
            changes.add(Change { time, what: What::Xid, of: "0".to_owned(), before: None, after: Some(79) });
        }
        let times: Vec<_> = changes.iter().map(|change| change.time).collect();
        assert_eq!(times, (36..100).collect::<Vec<_>>());
    }
}
