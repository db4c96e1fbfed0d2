//! How many workloads are read, and how often.

use std::time::Duration;

use super::handle;
use crate::config::Config;

/// Limits on what is read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of workloads that are read every tick. Of others only the memory in use is read.
    pub workloads: usize,
    /// Number of descriptors kept open.
    pub descriptors: usize,
    /// Ticks between two turns of a workload.
    pub period: u64,
}

impl Limits {
    /// The configured limits. Raises the limit on open files as far as possible.
    pub fn of(config: &Config) -> Limits {
        let ticks = |time: Duration| time.as_nanos().div_ceil(config.tick.as_nanos().max(1));
        Limits {
            workloads: config.workload.max,
            descriptors: handle::budget(),
            period: u64::try_from(ticks(config.workload.stat_interval)).unwrap_or(u64::MAX).max(1),
        }
    }
}
