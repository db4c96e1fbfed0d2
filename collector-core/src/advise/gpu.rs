//! GPUs: used too little, links, slots, memory that others hold, memory that nobody holds any more.

use super::Rule;

pub(super) const RULES: &[Rule] = &[];
