//! Memory limits and protection: raise, lower, set; memory.low and memory.high; what the host keeps for itself.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
