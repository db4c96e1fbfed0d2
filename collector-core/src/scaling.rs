//! How many instances of a model there should be: the settings of `[scaling]`, as data. `engine/scaling.rs` decides by them; nobody here
//! starts or stops any.

use serde::{Deserialize, Serialize};

/// Loads are shares of what an instance can do at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Above that one more.
    pub above: f64,
    /// Below that one less.
    pub below: f64,
    pub least: u64,
    pub most: u64,
    /// After a change nothing changes for so long, in nanoseconds.
    pub cool_down_ns: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { above: 0.7, below: 0.3, least: 1, most: 8, cool_down_ns: 300_000_000_000 }
    }
}
