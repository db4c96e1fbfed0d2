//! A request for the names of a cgroup, and the result of one lookup.

use collector_core::cgroup::Id;
use collector_core::identity::{Identity, Names};

/// A request for the names of one cgroup.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub cgroup: Id,
    pub identity: Identity,
}

impl Request {
    /// The user whose container it is, by uid; `None` for one of the host's. Whatever users call their cgroups, they are all
    /// below the slice that systemd gives them.
    pub fn user(&self) -> Option<u32> {
        let slice = self.identity.top.strip_prefix("/user.slice/user-")?.split('/').next()?;
        slice.strip_suffix(".slice")?.parse().ok().filter(|uid| *uid != 0)
    }
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
    /// Names may exist where nothing answers now.
    Hung,
}

/// What is said about containers whose names were not found.
#[derive(Debug)]
pub(super) struct Missing {
    /// Whose containers they are: an engine's, or Kubernetes'.
    pub whose: String,
    pub advice: String,
}
