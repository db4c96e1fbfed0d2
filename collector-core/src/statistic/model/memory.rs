//! [`Memory`]: host memory of a server's processes as the kernel counts it. Knows not how it is read.

use serde::{Deserialize, Serialize};

/// In bytes, added up over the server's processes. What is shared between them counts for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Anonymous memory: heap, prompt cache, weights that are not mapped.
    #[serde(default)]
    pub anon: u64,
    /// Shared memory: regions for KV cache that was moved to host memory, and what the CUDA driver pins.
    #[serde(default)]
    pub shmem: u64,
    /// Mapped files: weights.
    #[serde(default)]
    pub file: u64,
    /// Pinned by drivers.
    #[serde(default)]
    pub pinned: u64,
}
