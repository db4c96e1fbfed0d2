//! The evidence of an incident: bytes, seconds and counts from the last reading at or before it. Unknown values are absent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::gpu::LostGpu;
use super::history::History;
use super::latency::Slowdown;
use super::leak::Leak;
use super::slow::Slow;
use super::starved::Starved;
use crate::count::sum;
use crate::pressure::Resource;
use crate::signal::kill::Shortage;
use crate::signal::oom::{Constraint, Scope};
pub use crate::statistic::gpu::Held;
pub use crate::view::change::{Change, What};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Evidence {
    /// When the newest point of the history was read, in nanoseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Whether a memory limit or the host was out of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Which part of the host's memory the allocation could use, if the kernel reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<Constraint>,
    /// Somebody asked for the kill (SysRq f): nothing had run out of memory.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub requested: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// The limits of which one was hit, while it is not known which.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Limit>,
    /// Where memory was short when a process killed another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shortage: Option<Shortage>,
    /// Killed processes in order; of many, only the first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kills: Vec<Victim>,
    /// Number of killed processes.
    #[serde(skip_serializing_if = "is_zero")]
    pub killed: u64,
    /// The affected workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Figures>,
    /// Figures of the same workload that were read after the kill, within seconds: what is still charged then was not freed
    /// by it, such as files in tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Figures>,
    /// Workloads of the host, sorted by memory or, for pressure, by time waited while it lasted. Largest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consumers: Vec<Consumer>,
    /// The same for the workloads below the limit that was hit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<Consumer>,
    pub host: Host,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<LostGpu>,
    /// What of a model server is slower than usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Slowdown>,
    /// Why something is slow: facts of the last minute beside what was usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow: Option<Slow>,
    /// Of a job whose GPUs wait for the host: how much of them it used, and what is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starved: Option<Starved>,
    /// Of memory that leaks: how fast, until when it fits, and which process grew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leak: Option<Leak>,
    /// Recent changes: first those of the workload, of what is above it and of its siblings, then others; each oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    pub history: History,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Task {
    pub pid: u32,
    pub comm: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
}

/// A process that was killed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Victim {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    pub pid: u32,
    pub comm: String,
    pub uid: u32,
    pub score_adj: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Resident anonymous memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Resident file memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Resident shared memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Memory in swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Peak of its resident memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// GPU memory that it and its workload held.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Held>,
    /// The signal that another process sent it; absent if the OOM killer killed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// It handles, blocks or ignores that signal.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub survives: bool,
    /// The process in whose context it was killed: the one that sent the signal, or usually the one that requested memory.
    pub trigger: Task,
}

impl Victim {
    /// Memory of it that was surely charged to its cgroup.
    pub(crate) fn charged(&self) -> u64 {
        sum([self.anon_bytes, self.shmem_bytes].into_iter().flatten())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = HitLimit)]
pub struct Limit {
    /// Name of the workload that has the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Label `kind` of that workload.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// It is the limit of the victim's own workload, not of one above it.
    pub own: bool,
    /// The workload below the limit that held nearly all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// The pod that reached its limit, if that is no more than the sum of its containers' limits: what counts then is the
    /// limit of the container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The process that lowered the limit and caused the kill by that: the kernel kills in the call of the one who writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writer: Option<Task>,
    /// How the limit was found.
    pub source: Source,
    /// Absent if it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Memory used at the last reading, at most a tick before the kill.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
}

impl Limit {
    /// A workload holds nearly all of a limit from this share of it.
    pub(crate) const NEARLY_ALL: f64 = 0.9;
}

/// How the limit that was hit was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LimitSource)]
pub enum Source {
    #[default]
    Unknown,
    /// The kernel named it.
    Kernel,
    /// It is the only limit that applies.
    Only,
    /// Of several limits, only this one refused memory at that time, by the kernel's count.
    Refused,
    /// Of several limits, the memory in use can have reached only this one.
    Used,
}

/// Memory of a workload. Its parts are read less often than the whole: see `parts_read`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Figures {
    pub workload: String,
    /// Label `kind` of the workload.
    pub kind: String,
    /// The path of its own cgroup.
    pub cgroup: String,
    /// Memory charged to it and to the cgroups below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Peak of that memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Its own hard limit, `memory.max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Its throttling limit, `memory.high`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_bytes: Option<u64>,
    /// When it was last throttled above that, in nanoseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub throttled: Option<u64>,
    /// Its tasks wait for memory at the limit, because the OOM killer is disabled for it (v1).
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub frozen: bool,
    /// Swap used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Its limit on swap, `memory.swap.max`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_limit_bytes: Option<u64>,
    /// Its limit on reading from block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_limit_bytes_per_second: Option<u64>,
    /// Its limit on writing to block devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub write_limit_bytes_per_second: Option<u64>,
    /// Anonymous memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Page cache, shared memory included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Shared memory and tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Kernel memory charged to it, sockets included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_bytes: Option<u64>,
    /// Buffers of sockets (cgroup v2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket_bytes: Option<u64>,
    /// Memory that reclaim cannot free: locked, or in ramfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unevictable_bytes: Option<u64>,
    /// Page cache that must still be written, or is being written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty_bytes: Option<u64>,
    /// When limits, peak and parts were read, in nanoseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts_read: Option<u64>,
    /// Host memory pinned for GPUs; needs probes on the CUDA driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_bytes: Option<u64>,
    /// When its cgroup was created, in nanoseconds since the Unix epoch; absent if it is older than the agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub born: Option<u64>,
    /// When a process in it was last killed by the OOM killer before this incident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub killed_before: Option<u64>,
}

impl Figures {
    /// Page cache without shared memory.
    pub(crate) fn cache(&self) -> Option<u64> {
        Some(self.file_bytes?.saturating_sub(self.shmem_bytes?))
    }
}

/// Use of one workload within the history, without the workloads below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Consumer {
    pub workload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Growth of its memory within the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_bytes: Option<i64>,
    /// Page cache without shared memory, when last read: the kernel drops most of it before it kills.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// The part of its memory that `memory.min` protects: the kernel kills others rather than take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protected_bytes: Option<u64>,
    /// This memory belongs to no cgroup that exists: it contains others and has no process of its own, as on cgroup v2 and in
    /// pods.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    /// Its own hard limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Swap used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// GPU memory held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vram_bytes: Option<u64>,
    /// Host memory pinned for GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_bytes: Option<u64>,
    /// Time in which at least one of its tasks waited for the resource of the incident (PSI).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_seconds: Option<f64>,
    /// Time that its tasks spent in reclaim and compaction, summed over tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_seconds: Option<f64>,
    /// Bytes read and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_bytes: Option<u64>,
    /// Its memory at each point of the history.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<Option<u64>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = HostFigures)]
pub struct Host {
    /// Without free huge pages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// Memory that new processes can have without swapping: `MemAvailable`, and what ZFS gives back of its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// Unused memory (`MemFree`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Anonymous memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Page cache, shared memory included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_bytes: Option<u64>,
    /// Shared memory and tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Kernel objects (`Slab`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_bytes: Option<u64>,
    /// Memory that reclaim cannot free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unevictable_bytes: Option<u64>,
    /// Pages of processes that drivers pinned, of all kinds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_bytes: Option<u64>,
    /// Page cache that must still be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// Free swap.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_free_bytes: Option<u64>,
}

/// Pressure that lasts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Storm {
    /// The resource that tasks waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// Windows in which tasks waited for longer than the trigger allows.
    pub stalls: u64,
    /// From the first to the last of these windows.
    pub seconds: f64,
    /// Time in which at least one task waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_seconds: Option<f64>,
    /// Time in which all tasks waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled_seconds: Option<f64>,
    /// The first and the last point of the history within it, in nanoseconds since the Unix epoch: totals and growth are those
    /// between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    /// Its height, at which levels are taken: the second in which tasks waited longest, in nanoseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// Share (0 to 1) of that second in which at least one task waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height_ratio: Option<f64>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
