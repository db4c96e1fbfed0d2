//! How GPUs that starve are found: the settings of `[starved]`, as data. `engine/starved` decides by them.

use serde::{Deserialize, Serialize};

/// Times are in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub enabled: bool,
    /// How far utilization must fall below what is usual, as a share of that.
    pub fall: f64,
    /// For how long.
    pub window: u64,
    /// How long a job is watched before anything is usual.
    pub baseline: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { enabled: true, fall: 0.25, window: 30_000_000_000, baseline: 600_000_000_000 }
    }
}
