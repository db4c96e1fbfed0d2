//! `[level]`: how much of the host may be used.

use collector_core::level;
use collector_core::pattern::Patterns;

use super::entry::Entry;
use super::target::Wanted;

/// `[level]`: the shares, 0 to 1, that the host may use.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Levels {
    pub memory_limit: f64,
    /// Of all CPU time.
    pub cpu_limit: f64,
    /// Of each of `filesystems`.
    pub filesystem_limit: f64,
    /// Of each GPU's memory.
    pub gpu_limit: f64,
    /// Mount points that count.
    pub filesystems: Vec<String>,
    /// Workloads that hold GPU memory on purpose.
    pub model_servers: Vec<String>,
    /// `[[level.target]]`
    pub target: Vec<Entry<Wanted>>,
}

impl Levels {
    pub fn limits(&self) -> level::Limits {
        level::Limits {
            memory: self.memory_limit,
            cpu: self.cpu_limit,
            filesystem: self.filesystem_limit,
            gpu: self.gpu_limit,
            filesystems: self.filesystems.iter().map(|name| name.as_str().into()).collect(),
            model_servers: Patterns::new(&self.model_servers),
            targets: self.target.iter().map(|entry| entry.value.target()).collect(),
        }
    }
}
