//! [`Id`] identifies a cgroup, and paths are nested. Knows no workload.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::text::escape;

/// Longest path that is told whole, in bytes. Users nest cgroups as deep as they like, and the kernel reports no longer ones
/// (`TRACE_CGROUP_PATH_LEN`).
pub const LONGEST_PATH: usize = 1000;

/// Stands for the end of a longer path.
const REST: &str = "/…";

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

/// The text of a path of cgroups, whose names can be any bytes. The end of one that is too long is `…`, so that all below the last
/// name that fits are told as one.
pub fn path(bytes: &[u8]) -> Cow<'_, str> {
    let whole = whole(bytes);
    match whole.len() == bytes.len() {
        true => escape(bytes),
        false => Cow::Owned(escape(whole).into_owned() + REST),
    }
}

/// The part of a path that is told whole: all of it, or that of the last cgroup on it whose path is short enough.
pub fn whole(bytes: &[u8]) -> &[u8] {
    match bytes.get(..=LONGEST_PATH) {
        Some(most) => &bytes[..most.iter().rposition(|byte| *byte == b'/').unwrap_or(0)],
        None => bytes,
    }
}

/// Whether a path is that of the cgroup at `above`, or of one nested in it.
pub fn contains(above: &str, path: &str) -> bool {
    above == "/" || path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Sorts a slash before everything else: otherwise siblings would come between a cgroup and those nested in it. Allocates
/// nothing: every incident sorts all workloads, and many may begin at once.
pub(crate) fn tree_order(one: &str, two: &str) -> Ordering {
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let key = |byte: u8| if byte == b'/' { 0 } else { byte };
    match one.iter().zip(two).position(|(one, two)| one != two) {
        Some(first) => key(one[first]).cmp(&key(two[first])),
        None => one.len().cmp(&two.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST_PATH, contains, path};

    #[test]
    fn a_path_has_any_bytes_and_the_end_of_a_long_one_is_cut_between_names() {
        assert_eq!(path(b"/a/caf\xe9"), r"/a/caf\xe9");
        let name = "/0123456789";
        let deep = name.repeat(LONGEST_PATH / name.len());
        assert_eq!(path(deep.as_bytes()), deep);
        for below in [format!("{deep}{name}"), format!("{deep}{name}{name}"), format!("{deep}/{}", "\u{1b}".repeat(90))]
        {
            assert_eq!(path(below.as_bytes()), format!("{deep}/…"));
        }
        assert_eq!(path(&[b'x'; LONGEST_PATH + 1]), "/…");
    }

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
