//! Memory limits and protection: raise, lower, set; memory.low and memory.high; what the host keeps for itself.

mod bound;
mod high;
mod low;
mod reserve;
mod size;

pub(super) use size::{Sizes, Verdict};

use super::Rule;

pub(super) const RULES: &[Rule] =
    &[bound::RAISE, bound::LOWER, bound::MISSING, reserve::RESERVE, low::LOW, high::TRAP, high::HIGH];
