//! CPU quotas and weights; NUMA nodes.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
