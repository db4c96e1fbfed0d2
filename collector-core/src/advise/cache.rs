//! Page cache that a model needs, and files of models that nobody uses.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
