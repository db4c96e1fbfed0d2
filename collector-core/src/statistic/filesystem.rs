//! Statistics of a mounted filesystem: size and use.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cgroup::Id;
use crate::text;

super::statistics! {
    {
        /// Size, in bytes.
        Size: Limit = "size",
        /// Free space, in bytes.
        Free: Gauge = "free",
        /// Space available to users other than root, in bytes.
        Available: Gauge = "available",
        /// Number of files that it can hold; absent without such a limit.
        Inodes: Limit = "inodes",
        /// Free inodes.
        InodesFree: Gauge = "inodes_free",
        /// 1 if it is read-only, else 0.
        ReadOnly: Gauge = "read_only",
    }
}

/// The result of reading one mounted filesystem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    #[serde(deserialize_with = "text::read")]
    pub mountpoint: Arc<str>,
    /// A device, a server's path, or just a name.
    #[serde(deserialize_with = "text::read")]
    pub device: Arc<str>,
    #[serde(deserialize_with = "text::read")]
    pub fstype: Arc<str>,
    /// Of a volume in memory that a workload writes to. Where only its size can be known, that alone is among the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Owner>,
    pub state: State,
}

/// The workload that a volume belongs to: a container or pod, as the mount point shows it, or the cgroup whose processes see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// What the workload is called if no cgroup of it is known.
    #[serde(deserialize_with = "text::read")]
    pub name: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<Arc<str>>,
    /// The workload's own cgroup, if the volume is in a mount namespace of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// `/dev/shm`, or the name of a pod's volume.
    #[serde(deserialize_with = "text::read")]
    pub volume: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Read(Values),
    /// It returned an error.
    Refused,
    /// It did not answer in time.
    Hung,
    /// It is no longer mounted.
    Gone,
}
