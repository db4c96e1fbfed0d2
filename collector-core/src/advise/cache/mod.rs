//! Page cache that a model needs, and model files: room, locking, another disk, and what nobody uses.

mod room;
mod store;
mod tier;

use super::Rule;

pub(super) const RULES: &[Rule] = &[room::AGAIN, tier::TIER, store::UNUSED];
