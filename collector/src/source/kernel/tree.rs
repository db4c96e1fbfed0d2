//! The tree of cgroups: walked at the start, after a loss that may have hidden a cgroup's birth or death, and again and again
//! where no probe reports them.

use std::collections::HashSet;

use anyhow::{Result, anyhow};
use collector_core::cgroup::Id;
use collector_core::signal::cgroup;

use crate::clock;
use crate::source::cgroup::{Hierarchies, Owners, Unread, walk};

/// Without probes, this many times the duration of a walk lies between two walks: walking takes 1 % of a CPU at most.
const PAUSE: u64 = 100;
/// The same where probes report births and deaths: a user can make it walk again and again.
const PAUSE_REPORTED: u64 = 10;

pub(super) struct Tree {
    /// Whether probes report births and deaths.
    reported: bool,
    /// The cgroups of the last walk, if probes do not report them.
    known: HashSet<Id>,
    /// Everything must be told again, because something may have been missed.
    asked: bool,
    /// When the next walk may begin (CLOCK_MONOTONIC, in nanoseconds).
    due: u64,
    /// Why the last walk ended early.
    failed: Option<String>,
    /// It was logged that directories cannot be read.
    logged: bool,
}

/// What a walk found.
pub(super) struct Walked {
    /// The cgroups that exist.
    pub alive: HashSet<Id>,
    /// Directories that could not be read.
    pub unread: u64,
}

impl Tree {
    pub fn new(reported: bool) -> Tree {
        Tree { reported, known: HashSet::new(), asked: true, due: 0, failed: None, logged: false }
    }

    /// It must be walked at the next reading.
    pub fn ask(&mut self) {
        self.asked = true;
    }

    /// Walks the tree if it is due.
    ///
    /// # Errors
    /// The last walk ended early. The tree is walked again after a pause.
    pub fn read(
        &mut self,
        hierarchies: &Hierarchies,
        owners: &mut Owners,
        emit: &mut dyn FnMut(cgroup::Reading),
    ) -> Result<Option<Walked>> {
        let begun = clock::monotonic_ns();
        if begun < self.due || (self.reported && !self.asked) {
            return self.failed.as_ref().map_or(Ok(None), |why| Err(anyhow!("{why}")));
        }
        let whole = self.asked;
        if whole {
            emit(cgroup::Reading::Walk);
        }
        let mut alive = HashSet::new();
        let mut unread = Unread::default();
        // One that cannot be walked hides no other.
        let mut walked = Ok(());
        for hierarchy in hierarchies.distinct() {
            let mut first = true;
            let more = walk(hierarchy, &mut |id, path| {
                alive.insert(id);
                if whole || !self.known.contains(&id) {
                    if id.hierarchy == hierarchies.memory.id {
                        owners.above(path, std::mem::take(&mut first), emit);
                    }
                    emit(cgroup::Reading::Born { id, path: path.to_owned() });
                }
            });
            walked = walked.and(more.map(|more| unread.extend(more)));
        }
        let ended = clock::monotonic_ns();
        let pause = if self.reported && walked.is_ok() { PAUSE_REPORTED } else { PAUSE };
        self.due = ended.saturating_add(pause * ended.saturating_sub(begun));
        // What was found exists, but what was not found may exist, too.
        self.failed = walked.as_ref().err().map(|error| format!("{error:#}"));
        walked?;
        if unread.count > 0 && !std::mem::replace(&mut self.logged, true) {
            tracing::warn!("{unread}");
        }
        self.logged &= unread.count > 0;
        self.asked = false;
        if whole {
            emit(cgroup::Reading::Walked);
        } else {
            for id in self.known.difference(&alive) {
                owners.died(*id, emit);
                emit(cgroup::Reading::Died { id: *id });
            }
        }
        if !self.reported {
            self.known.clone_from(&alive);
        }
        Ok(Some(Walked { alive, unread: unread.count }))
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
    fn a_hierarchy_that_cannot_be_walked_is_an_error_and_hides_no_other() {
        let folder = std::env::temp_dir().join(format!("headroom-tree-half-{}", std::process::id()));
        fs::create_dir_all(folder.join("sys/fs/cgroup/blkio/a")).unwrap();
        let mounts = "25 24 0:20 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      26 24 0:21 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio\n";
        let hierarchies = Hierarchies::parse("4:memory:/\n3:blkio:/\n", mounts, &Root::new(&folder)).unwrap();
        let mut paths = Vec::new();
        let mut emit = |reading| {
            if let cgroup::Reading::Born { path, .. } = reading {
                paths.push(path);
            }
        };
        assert!(Tree::new(true).read(&hierarchies, &mut Owners::new(&hierarchies.memory), &mut emit).is_err());
        assert_eq!(paths, ["/", "/a"]);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn without_probes_each_walk_tells_what_came_and_went() {
        let folder = std::env::temp_dir().join(format!("headroom-tree-{}", std::process::id()));
        let cgroups = folder.join("sys/fs/cgroup");
        fs::create_dir_all(cgroups.join("a")).unwrap();
        let hierarchies = Hierarchies::parse(CGROUPS, MOUNTS, &Root::new(&folder)).unwrap();
        let owners = || Owners::new(&hierarchies.memory);
        let read = |tree: &mut Tree| {
            let mut told = Vec::new();
            tree.due = 0;
            tree.read(&hierarchies, &mut owners(), &mut |reading| told.push(reading)).unwrap();
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
        // A walk that ended early is said until one succeeds.
        seeing.ask();
        seeing.due = 0;
        assert!(seeing.read(&hierarchies, &mut owners(), &mut |_| {}).is_err());
        assert!(seeing.due > 0 && seeing.read(&hierarchies, &mut owners(), &mut |_| {}).is_err());
        fs::create_dir_all(&cgroups).unwrap();
        assert_eq!(read(&mut seeing), ["Walk", "born /", "Walked"]);
        assert!(seeing.read(&hierarchies, &mut owners(), &mut |_| {}).unwrap().is_none());
        fs::remove_dir_all(&folder).unwrap();
    }
}
