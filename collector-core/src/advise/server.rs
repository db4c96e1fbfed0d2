//! Model servers: prompt caches, KV offload, context and slots against GPU memory, requests at once, batches.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
