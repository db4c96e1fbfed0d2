//! [`Id`]: a cgroup as everything here names it. Where it is and whose it is others know.

use serde::{Deserialize, Serialize};

/// A cgroup: its hierarchy, and its id in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Id {
    /// 0 is v2.
    pub hierarchy: u64,
    /// The inode number of its directory.
    pub id: u64,
}

impl Id {
    /// The id in a record; `None` where the record says that there is none.
    pub fn from_record(id: collector_common::cgroup::Id) -> Option<Id> {
        (id.id != 0).then_some(Id { hierarchy: id.hierarchy, id: id.id })
    }
}
