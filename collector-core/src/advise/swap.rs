//! Swap, zram and what the kernel does before it swaps: missing, too large, thrashing; watermarks; huge pages.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
