//! [`Id`] identifies a cgroup. Knows neither its path nor its workload.

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
