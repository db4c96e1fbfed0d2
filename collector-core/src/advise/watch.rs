//! Rules for alerts that never or always fire.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
