//! cgroup: which cgroups exist, and their paths, from walks of the tree and from the kernel's report of every change.

use collector_common::cgroup::{CHANGE_HEAD, Change, Event};
use serde::{Deserialize, Serialize};
use zerocopy::{FromZeros, IntoBytes};

use super::{Context, Need};
use crate::cgroup::{self, Id};
use crate::text;

/// For creations, removals, renames, and moves of processes.
pub const EVENTS: [Need; 4] =
    [&[&["cgroup_mkdir"]], &[&["cgroup_rmdir"]], &[&["cgroup_rename"]], &[&["cgroup_attach_task"]]];

/// Paths are absolute, from the root of the hierarchy, and escaped ([`cgroup::path`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// A walk of the tree begins: a cgroup that the walk does not find no longer exists.
    Walk,
    /// A cgroup was created, or found on a walk.
    Born {
        id: Id,
        #[serde(deserialize_with = "text::read")]
        path: String,
    },
    Walked,
    /// Root gave the cgroup at this path to a user, who makes what is below it; with uid 0, took it back. Comes before what is
    /// below it, and only if the path does not show it.
    Given {
        #[serde(deserialize_with = "text::read")]
        path: String,
        uid: u32,
    },
    Died {
        id: Id,
    },
    /// A cgroup was renamed, and with it all cgroups below it.
    Renamed {
        id: Id,
        #[serde(deserialize_with = "text::read")]
        path: String,
    },
    /// A cgroup of another hierarchy than the memory controller's belongs to the same workload as a cgroup of that one,
    /// because the same processes are in both. Repeated on every walk.
    Joined {
        id: Id,
        /// The cgroup of the memory hierarchy.
        with: Id,
    },
    /// A process moved into a cgroup.
    Attached {
        id: Id,
        pid: u32,
    },
}

/// Decodes a [`Change`], which is cut off after the used part of the path.
pub(crate) fn record(bytes: &[u8], _context: &Context) -> Result<Reading, &'static str> {
    let mut change = Change::new_zeroed();
    if bytes.len() < CHANGE_HEAD || bytes.len() > size_of::<Change>() {
        return Err("wrong size");
    }
    change.as_mut_bytes()[..bytes.len()].copy_from_slice(bytes);
    let tail = &change.path[..bytes.len() - CHANGE_HEAD];
    let path = usize::try_from(change.path_len).ok().and_then(|length| tail.get(..length));
    let path = path.ok_or("a path beyond the record's end")?;
    let path = path.split(|&byte| byte == 0).next().unwrap_or_default();

    let id = Id::from_record(change.cgroup).ok_or("no cgroup")?;
    let absolute = || match path.first() {
        Some(b'/') => Ok(cgroup::path(path).into_owned()),
        _ => Err("a path that is not absolute"),
    };
    match change.event {
        event if event == Event::Mkdir as u32 => Ok(Reading::Born { id, path: absolute()? }),
        event if event == Event::Rmdir as u32 => Ok(Reading::Died { id }),
        event if event == Event::Rename as u32 => Ok(Reading::Renamed { id, path: absolute()? }),
        event if event == Event::Attach as u32 => Ok(Reading::Attached { id, pid: change.pid }),
        _ => Err("no such event"),
    }
}

#[cfg(test)]
mod tests {
    use collector_common::ring::{Header, Kind};

    use super::*;
    use crate::engine::test::CONTEXT;

    fn change(event: u32, path: &[u8]) -> Vec<u8> {
        let mut change = Change::new_zeroed();
        change.header = Header::new(Kind::CgroupChange, 0);
        change.cgroup = collector_common::cgroup::Id { id: 9, hierarchy: 1 };
        change.event = event;
        change.pid = 42;
        change.path_len = path.len() as u32;
        change.path[..path.len()].copy_from_slice(path);
        change.as_bytes()[..CHANGE_HEAD + path.len()].to_vec()
    }

    fn decoded(bytes: &[u8]) -> Result<Reading, &'static str> {
        record(bytes, &CONTEXT)
    }

    const ID: Id = Id { hierarchy: 1, id: 9 };

    #[test]
    fn every_event_is_decoded() {
        assert_eq!(decoded(&change(1, b"/a/b\0")), Ok(Reading::Born { id: ID, path: "/a/b".into() }));
        assert_eq!(decoded(&change(2, b"")), Ok(Reading::Died { id: ID }));
        assert_eq!(decoded(&change(3, b"/a/c")), Ok(Reading::Renamed { id: ID, path: "/a/c".into() }));
        assert_eq!(decoded(&change(4, b"/a")), Ok(Reading::Attached { id: ID, pid: 42 }));
    }

    #[test]
    fn names_are_bytes() {
        assert_eq!(decoded(&change(1, b"/caf\xe9\x1b")), Ok(Reading::Born { id: ID, path: r"/caf\xe9\x1b".into() }));
        let line = r#"{"born":{"id":{"hierarchy":1,"id":9},"path":"/a\nb"}}"#;
        let older = serde_json::from_str::<Reading>(line).unwrap();
        assert_eq!(older, Reading::Born { id: ID, path: r"/a\x0ab".into() });
    }

    #[test]
    fn the_padding_after_the_path_is_ignored() {
        let mut bytes = change(1, b"/a");
        bytes.extend([0; 6]);
        assert_eq!(decoded(&bytes), Ok(Reading::Born { id: ID, path: "/a".into() }));
    }

    #[test]
    fn errors_name_the_cause() {
        assert_eq!(decoded(&change(5, b"/a")), Err("no such event"));
        assert_eq!(decoded(&change(1, b"")), Err("a path that is not absolute"));
        assert_eq!(decoded(&change(1, b"other")), Err("a path that is not absolute"));
        let mut bytes = change(1, b"/abc");
        bytes.pop();
        assert_eq!(decoded(&bytes), Err("a path beyond the record's end"));
        bytes.extend([b'x'; 2000]);
        assert_eq!(decoded(&bytes), Err("wrong size"));
        let mut bytes = change(2, b"");
        bytes[16..24].fill(0);
        assert_eq!(decoded(&bytes), Err("no cgroup"));
    }

    #[test]
    fn unknown_fields_are_refused() {
        let line = r#"{"died":{"id":{"hierarchy":0,"id":1},"path":"/a"}}"#;
        assert!(serde_json::from_str::<Reading>(line).unwrap_err().to_string().contains("unknown field"));
        assert_eq!(serde_json::to_string(&Reading::Walk).unwrap(), r#""walk""#);
    }
}
