//! (to be written)

/// (to be written)
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum Reading {}

/// A cgroup: its hierarchy, and its id in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Id {
    /// 0 is v2.
    pub hierarchy: u64,
    /// The inode number of its directory.
    pub id: u64,
}
