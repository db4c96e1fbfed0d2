//! Who waits because of whom.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
