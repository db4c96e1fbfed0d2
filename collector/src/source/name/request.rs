//! A request for the names of a cgroup, and the result of one lookup.

use collector_core::cgroup::Id;
use collector_core::identity::{Identity, Names};

/// A request for the names of one cgroup.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub cgroup: Id,
    pub identity: Identity,
}

/// The result of one lookup.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// All names.
    Complete(Names),
    /// Only the pod's names; the container's may follow.
    Partial(Names),
    /// No names yet.
    Absent,
    /// Names may exist, but cannot be read.
    Unreadable,
}
