//! How much anybody may lease, and how long a start may take. Knows no settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// How long a start keeps others from its GPU at most, in nanoseconds.
    pub start_ns: u64,
    /// Leases of one user, and claims of one user that wait.
    pub leases: usize,
    pub waiting: usize,
    /// The percentage of the host's memory that the leases of one user may keep free together. Root's may keep all.
    pub share: u64,
    /// Starts of one unit a minute; 0 is any number.
    #[serde(default)]
    pub starts: u32,
    /// How long work must have been measured before what it needed is remembered, in nanoseconds; 0 remembers nothing.
    #[serde(default)]
    pub learn_ns: u64,
    /// How long an owner that was asked to give up a lease may take, before it and others are asked, in nanoseconds.
    #[serde(default = "evict_ns")]
    pub evict_ns: u64,
    /// So many owners at least are asked together, and one of so many of those that could be (0: no more than needed).
    #[serde(default = "evict_least")]
    pub evict_least: usize,
    #[serde(default)]
    pub evict_part: usize,
    /// Whether a verdict also keeps to the limits of the level.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub within: bool,
    /// Places of each slot that all users share. A slot of another name belongs to its user, and has one place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub slots: BTreeMap<String, u64>,
}

fn evict_ns() -> u64 {
    30_000_000_000
}

fn evict_least() -> usize {
    1
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            start_ns: 300_000_000_000,
            leases: 64,
            waiting: 64,
            share: 50,
            starts: 60,
            learn_ns: 60_000_000_000,
            evict_ns: evict_ns(),
            evict_least: evict_least(),
            evict_part: 0,
            within: false,
            slots: BTreeMap::new(),
        }
    }
}
