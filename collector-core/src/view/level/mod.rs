//! The level of the host and of each GPU, and what it rests on. `engine/level` writes it once a tick; nothing here decides.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::level::{Level, Limits};

mod reason;
mod target;

#[derive(Clone, Debug, Default)]
pub struct Levels {
    pub limits: Arc<Limits>,
    pub host: Standing,
    /// Share of the host's memory in use, as in `headroom_host_memory_used_ratio`.
    pub memory: Option<f64>,
    /// Mean share of all CPU time in use, over [`CPU_NS`].
    pub cpu: Option<f64>,
    /// Share of the last ten seconds in which all tasks waited for memory, while the host itself reclaimed it.
    pub stalled: Option<f64>,
    /// The used share of each filesystem in [`Limits::filesystems`], in the same order.
    pub filesystems: Vec<Option<f64>>,
    /// By uuid.
    pub gpus: BTreeMap<Arc<str>, GpuLevel>,
}

/// The span of the mean of the CPUs, in nanoseconds.
pub const CPU_NS: u64 = 30_000_000_000;
/// The span of the share in which all tasks waited for memory, as PSI's avg10, in nanoseconds.
pub const STALLED_NS: u64 = 10_000_000_000;
/// Above these shares of it the level is one higher, and 4.
pub const STALLED_RAISES: f64 = 0.1;
pub const STALLED_CRITICAL: f64 = 0.6;

/// The use of one resource that counts, against its limit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Use<'a> {
    pub resource: Resource<'a>,
    /// Share of the whole, 0 to 1; absent if it is not known.
    pub used: Option<f64>,
    /// The share that may be used.
    pub limit: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Memory,
    Cpu,
    /// With its mount point.
    Filesystem(&'a Arc<str>),
}

impl Use<'_> {
    /// The use as a share of the limit.
    pub fn share(&self) -> Option<f64> {
        self.used.map(|used| used / self.limit)
    }

    /// The level of this resource alone. Busy CPUs delay work and end none: all of them in use is not above a limit of all of them.
    pub fn level(&self) -> Option<Level> {
        let most = if self.resource == Resource::Cpu && self.limit >= 1.0 { Level::Heavy } else { Level::Critical };
        self.share().map(|share| Level::of(share).min(most))
    }

    /// Whether the level is not known without it.
    pub fn is_essential(&self) -> bool {
        self.resource != Resource::Cpu
    }
}

/// A level and its time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Absent while something is missing without which it is not known.
    pub level: Option<Level>,
    /// The level by the known numbers: it is this or higher.
    pub at_least: Level,
    /// Since when that holds, in nanoseconds since the Unix epoch; 0 before the first tick.
    pub since: u64,
    /// What the numbers of this moment amount to. A level that is higher is held.
    pub now: Level,
    /// How long a higher level is held, in nanoseconds.
    pub hold_ns: u64,
}

#[derive(Clone, Debug, Default)]
pub struct GpuLevel {
    /// Its number.
    pub gpu: Arc<str>,
    pub standing: Standing,
    /// Share of its usable memory in use, without what model servers hold.
    pub used: Option<f64>,
    /// Share that model servers hold.
    pub intended: Option<f64>,
    /// A model server holds an amount that the driver does not say.
    pub is_partial: bool,
    /// A container holds memory whose name has not come yet.
    pub is_unnamed: bool,
}

impl Levels {
    /// Goes on with other limits. What was used of a filesystem is read again at the next tick.
    pub(crate) fn limit(&mut self, limits: &Limits) {
        self.limits = Arc::new(limits.clone());
        self.filesystems.clear();
    }

    /// The level of the GPU; `None` if it is not known.
    pub fn gpu(&self, uuid: &str) -> Option<Level> {
        self.gpus.get(uuid)?.standing.level
    }

    /// What counts for the host's level: memory, CPUs, named filesystems.
    pub fn uses(&self) -> impl Iterator<Item = Use<'_>> {
        let limits = &self.limits;
        let memory = Use { resource: Resource::Memory, used: self.memory, limit: limits.memory };
        let cpu = Use { resource: Resource::Cpu, used: self.cpu, limit: limits.cpu };
        let filesystem = |(index, mountpoint)| {
            let used = self.filesystems.get(index).copied().flatten();
            Use { resource: Resource::Filesystem(mountpoint), used, limit: limits.filesystem }
        };
        [memory, cpu].into_iter().chain(limits.filesystems.iter().enumerate().map(filesystem))
    }
}
