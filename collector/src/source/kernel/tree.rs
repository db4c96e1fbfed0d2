//! The tree of cgroups: walked at the start, after a loss that may have hidden a cgroup's birth or death, and again and again
//! where no probe reports them.

use std::collections::HashSet;

use anyhow::Result;
use collector_core::cgroup::Id;
use collector_core::signal::cgroup;

use crate::clock;
use crate::source::cgroup::{Hierarchies, walk};

/// Without probes, this many times the duration of a walk lies between two walks: walking takes 1 % of a CPU at most.
const PAUSE: u64 = 100;

pub(super) struct Tree {
    /// Whether probes report births and deaths.
    reported: bool,
    /// The cgroups of the last walk, if probes do not report them.
    known: HashSet<Id>,
    /// Everything must be told again, because something may have been missed.
    asked: bool,
    /// When the next walk is due without probes (CLOCK_MONOTONIC, in nanoseconds).
    due: u64,
}

impl Tree {
    pub fn new(reported: bool) -> Tree {
        Tree { reported, known: HashSet::new(), asked: true, due: 0 }
    }

    /// It must be walked at the next reading.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// Walks the tree if it is due. Returns the cgroups that exist.
    ///
    /// # Errors
    /// A directory could not be read. The tree is walked again after the same pause.
    pub fn read(
        &mut self,
        hierarchies: &Hierarchies,
        emit: &mut dyn FnMut(cgroup::Reading),
    ) -> Result<Option<HashSet<Id>>> {
        let begun = clock::monotonic_ns();
        if begun < self.due || (self.reported && !self.asked) {
            return Ok(None);
        }
        let whole = self.asked;
        if whole {
            emit(cgroup::Reading::Walk);
        }
        let mut alive = HashSet::new();
        let walked = hierarchies.distinct().try_for_each(|hierarchy| {
            walk(hierarchy, &mut |id, path| {
                alive.insert(id);
                if whole || !self.known.contains(&id) {
                    emit(cgroup::Reading::Born { id, path: path.to_owned() });
                }
            })
        });
        let ended = clock::monotonic_ns();
        if !self.reported || walked.is_err() {
            self.due = ended.saturating_add(PAUSE * ended.saturating_sub(begun));
        }
        // What was found exists, but what was not found may exist, too.
        walked?;
        self.asked = false;
        if whole {
            emit(cgroup::Reading::Walked);
        } else {
            self.known.difference(&alive).for_each(|id| emit(cgroup::Reading::Died { id: *id }));
        }
        if !self.reported {
            self.known.clone_from(&alive);
        }
        Ok(Some(alive))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::source::root::Root;

    const CGROUPS: &str = "0::/\n";
    const MOUNTS: &str = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn without_probes_each_walk_tells_what_came_and_went() {
        let folder = std::env::temp_dir().join(format!("headroom-tree-{}", std::process::id()));
        let cgroups = folder.join("sys/fs/cgroup");
        fs::create_dir_all(cgroups.join("a")).unwrap();
        let hierarchies = Hierarchies::parse(CGROUPS, MOUNTS, &Root::new(&folder)).unwrap();
        let read = |tree: &mut Tree| {
            let mut told = Vec::new();
            tree.due = 0;
            tree.read(&hierarchies, &mut |reading| told.push(reading)).unwrap();
            let word = |reading: &cgroup::Reading| match reading {
                cgroup::Reading::Born { path, .. } => format!("born {path}"),
                cgroup::Reading::Died { .. } => "died".to_owned(),
                other => format!("{other:?}"),
            };
            told.iter().map(word).collect::<Vec<_>>()
        };
        let (mut blind, mut seeing) = (Tree::new(false), Tree::new(true));
        let whole = ["Walk", "born /", "born /a", "Walked"];
        assert_eq!(read(&mut blind), whole);
        assert_eq!(read(&mut seeing), whole);
        fs::create_dir(cgroups.join("b")).unwrap();
        fs::remove_dir(cgroups.join("a")).unwrap();
        assert_eq!(read(&mut blind), ["born /b", "died"]);
        assert_eq!(read(&mut blind), [""; 0]);
        assert_eq!(read(&mut seeing), [""; 0]);
        seeing.ask();
        assert_eq!(read(&mut seeing), ["Walk", "born /", "born /b", "Walked"]);
        fs::remove_dir_all(&folder).unwrap();
    }
}
