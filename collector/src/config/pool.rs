//! [`Pool`]: one pool of memory, as the file has it.

/// A part of the memory that this host's own service keeps apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    pub name: String,
    /// Bytes.
    pub memory: Option<u64>,
}
