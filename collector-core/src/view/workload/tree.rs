//! Where the cgroups of workloads are in the tree: their paths, what is above them, and what is nested in them.

use super::member::Member;
use super::{Workload, Workloads};
use crate::cgroup::{Id, tree_order};

impl Workloads {
    /// The path of a cgroup, if that is known.
    pub(crate) fn path(&self, id: Id) -> Option<&str> {
        self.cgroups.get(&id).map(|member| member.path()).filter(|path| !path.is_empty())
    }

    /// The cgroups at a path and above it, nearest first, each with the workload whose own cgroup it is; `None` if it is nested
    /// in a workload's own cgroup.
    pub(crate) fn above<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, Option<&'a Workload>)> {
        let ends = path.rmatch_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        let paths = std::iter::once(path).chain(ends.map(|at| &path[..at]));
        paths.map(|path| (path, self.tops.get(path).map(|top| &self.slots[top.slot])))
    }

    /// When a process of the workload was last killed by the OOM killer, if a cgroup of it that was there before still is.
    pub(crate) fn outlived_kill(&self, workload: &Workload) -> Option<u64> {
        let killed = workload.recent.killed?;
        let own = |member: &&Member| *self.slots[member.slot].name == *workload.name && member.dead_since.is_none();
        self.cgroups.values().filter(own).any(|member| member.born <= killed).then_some(killed)
    }

    /// Every workload's own cgroups, sorted so that a cgroup comes before those nested in it.
    pub(crate) fn nested(&self) -> Vec<(&str, &Workload)> {
        let mut tops: Vec<(&str, &Workload)> =
            self.tops.iter().map(|(path, top)| (&**path, &self.slots[top.slot])).collect();
        tops.sort_unstable_by(|(one, _), (two, _)| tree_order(one, two));
        tops
    }
}

#[cfg(test)]
mod tests {
    use crate::cgroup::Id;
    use crate::engine::test::{ID, engine};
    use crate::sample::{Reading, Sample};
    use crate::signal::cgroup;

    #[test]
    fn paths_are_listed_upwards_and_nested_cgroups_follow_their_parents() {
        let mut engine = engine();
        for (id, path) in [(80, "/a/b"), (81, "/a-b"), (82, "/docker-4f1c2a9b4f1c.scope/nested")] {
            let born = cgroup::Reading::Born { id: Id { id, ..ID }, path: path.into() };
            engine.apply(&Sample { time: 20, reading: Reading::Cgroup(born) });
        }
        let workloads = &engine.view().workloads;
        let above = |path| {
            let above = workloads.above(path);
            above.map(|(path, workload)| (path.to_owned(), workload.map(|it| it.name.to_string()))).collect::<Vec<_>>()
        };
        let named = |path: &str| (path.to_owned(), Some(path.to_owned()));
        assert_eq!(above("/a/b/c"), [("/a/b/c".to_owned(), None), named("/a/b"), named("/a")]);
        assert_eq!(above("/"), [("/".to_owned(), None)]);
        let nested: Vec<_> = workloads.nested().into_iter().map(|(path, _)| path.to_owned()).collect();
        assert_eq!(nested[..3], ["/a", "/a/b", "/a-b"]);
        assert_eq!(workloads.path(Id { id: 80, ..ID }), Some("/a/b"));
    }
}
