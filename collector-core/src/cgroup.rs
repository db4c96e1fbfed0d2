//! [`Id`] identifies a cgroup, and paths are nested. Knows no workload.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Id {
    /// 0 for cgroup v2.
    pub hierarchy: u64,
    /// The inode number of its directory.
    pub id: u64,
}

impl Id {
    /// The id in a record; `None` if the record has no cgroup.
    pub fn from_record(id: collector_common::cgroup::Id) -> Option<Id> {
        (id.id != 0).then_some(Id { hierarchy: id.hierarchy, id: id.id })
    }
}

/// Whether a path is that of the cgroup at `above`, or of one nested in it.
pub(crate) fn contains(above: &str, path: &str) -> bool {
    above == "/" || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::contains;

    #[test]
    fn a_cgroup_contains_itself_and_what_is_nested_in_it() {
        for (above, path) in [("/a", "/a"), ("/a", "/a/b"), ("/a/b", "/a/b/c/d"), ("/", "/"), ("/", "/a/b")] {
            assert!(contains(above, path), "{above} {path}");
        }
        for (above, path) in [("/a", "/ab"), ("/a/b", "/a"), ("/a", "/b/a"), ("/a", "/")] {
            assert!(!contains(above, path), "{above} {path}");
        }
    }
}
