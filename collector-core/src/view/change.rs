//! The most recent rare changes: workloads, limits, GPUs.

use std::collections::VecDeque;

use crate::incident::Change;

/// At most this many changes are kept.
const KEPT: usize = 64;

/// Recent changes, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Changes(VecDeque<Change>);

impl Changes {
    pub(crate) fn add(&mut self, change: Change) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::What;

    #[test]
    fn the_newest_changes_are_kept() {
        let mut changes = Changes::default();
        for time in 0..100 {
            changes.add(Change { time, what: What::Xid, of: "0".to_owned(), before: None, after: Some(79) });
        }
        let times: Vec<_> = changes.iter().map(|change| change.time).collect();
        assert_eq!(times, (36..100).collect::<Vec<_>>());
    }
}
