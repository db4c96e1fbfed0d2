//! What is read of a mounted filesystem: how much it holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

super::statistics! {
    /// One statistic of a filesystem.
    {
        /// What it can hold, in bytes.
        Size: Limit = "size",
        /// What is free, in bytes.
        Free: Gauge = "free",
        /// What is free for others than root, in bytes.
        Available: Gauge = "available",
        /// How many files it can hold; absent where there is no such limit.
        Inodes: Limit = "inodes",
        /// How many more it can hold.
        InodesFree: Gauge = "inodes_free",
        /// 1 if nothing can be written, else 0.
        ReadOnly: Gauge = "read_only",
    }
}

/// What became of the question to one mounted filesystem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Where it is mounted.
    pub mountpoint: Arc<str>,
    /// What is mounted: a device, a server's path, or just a name.
    pub device: Arc<str>,
    /// The filesystem's type.
    pub fstype: Arc<str>,
    /// Its answer.
    pub state: State,
}

/// The answer of a filesystem.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The numbers.
    Read(Values),
    /// It refused.
    Refused,
    /// It has not answered in time.
    Hung,
    /// It is not mounted any more.
    Gone,
}
