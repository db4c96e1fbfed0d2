//! Statistics of a mounted filesystem: size and use.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

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
    pub mountpoint: Arc<str>,
    /// A device, a server's path, or just a name.
    pub device: Arc<str>,
    pub fstype: Arc<str>,
    pub state: State,
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
