//! A question for a cgroup's names, and the result of looking for them.

use crate::identity::{Identity, Names};
use crate::signal::cgroup;

/// Whose names are wanted.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub cgroup: cgroup::Id,
    pub identity: Identity,
}

/// The result of one look.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found {
    /// All names.
    Whole(Names),
    /// The pod's; the container's may follow.
    Part(Names),
    /// No name yet.
    Nothing,
    /// A name may be there, but cannot be read.
    Unreadable,
}
