//! The most recent rare changes: workloads, limits, GPUs.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// At most this many changes are kept.
const KEPT: usize = 64;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// When it was noticed, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// When the old limit was last read: it changed between this and `time`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    pub what: What,
    /// Name of the workload, or number of the GPU.
    pub of: String,
    /// The limit before, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// The limit now, in bytes, or the error number (XID).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ChangeKind)]
pub enum What {
    /// The agent started.
    Agent,
    Came,
    Went,
    /// The memory limit of a workload changed. `None` is no limit.
    Limit,
    Xid,
    GpuCame,
    GpuWent,
}

/// Recent changes, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Changes(VecDeque<Change>);

impl Changes {
    pub(crate) fn add(&mut self, change: Change) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(change);
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_changes_are_kept() {
        let mut changes = Changes::default();
        for time in 0..100 {
            changes.add(Change {
                time,
                since: None,
                what: What::Xid,
                of: "0".to_owned(),
                before: None,
                after: Some(79),
            });
        }
        let times: Vec<_> = changes.iter().map(|change| change.time).collect();
        assert_eq!(times, (36..100).collect::<Vec<_>>());
    }
}
