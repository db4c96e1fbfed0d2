//! [`Wanted`]: one `[[level.target]]`, as the file has it.

use collector_core::level::Target;

/// How much of its memory a host of some size should use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Bytes of memory that the host has at least.
    pub from: Option<u64>,
    /// Whether it has a GPU; absent: either.
    pub gpu: Option<bool>,
    /// The share of its memory.
    pub memory: f64,
}

impl Wanted {
    pub fn target(&self) -> Target {
        Target { from: self.from.unwrap_or(0), gpu: self.gpu, memory: self.memory }
    }
}
