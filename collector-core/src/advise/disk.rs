//! Disks that fill, and weights of IO that do nothing.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
