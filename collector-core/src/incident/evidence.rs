//! What is known of an incident at its moment. Bytes, seconds and counts, as they were when last read at that moment or
//! before, and what is not known is absent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pressure::Resource;
use crate::signal::oom::Scope;
pub use crate::statistic::gpu::Held;

/// What is known of an incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// When the figures were read that the newest point of the history has, in nanoseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<u64>,
    /// Whose memory was out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The limit that was hit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Who was killed, first to last; the first of many.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kills: Vec<Victim>,
    /// How many were.
    #[serde(skip_serializing_if = "is_zero")]
    pub killed: u64,
    /// The workload that it befell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<Figures>,
    /// Who held most of the host's memory, most first; for pressure, who waited most.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub consumers: Vec<Consumer>,
    /// The same of all that are below the limit that was hit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<Consumer>,
    /// The host.
    pub host: Host,
    /// What the pressure was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storm: Option<Storm>,
    /// The GPU that was lost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<LostGpu>,
    /// What changed lately, first to last.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
    /// The last minute.
    pub history: History,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Task {
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
}

/// A process that was killed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Victim {
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Its id.
    pub pid: u32,
    /// Its name.
    pub comm: String,
    /// Its user.
    pub uid: u32,
    /// Its `oom_score_adj`.
    pub score_adj: i32,
    /// Its workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Anonymous memory resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// File memory resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Shared memory resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Memory swapped out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// The most that ever was resident.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// What it and its workload held of GPUs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<Held>,
    /// The process in whose context it was killed: most often the one that asked for memory.
    pub trigger: Task,
}

/// A limit that was hit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limit {
    /// Whose: the workload's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// Whether that is the victim's own workload, and not one above it.
    pub own: bool,
    /// How that is known.
    pub source: Source,
    /// The limit; absent if it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How much of it was used when that was last read: a tick before the kill, or less.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
}

/// How it is known whose limit was hit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// It is not known.
    #[default]
    Unknown,
    /// The kernel named it.
    Kernel,
    /// Of all that could have been hit it is the only one.
    Only,
    /// Of several it is the one that refused memory, by the kernel's count, at that time.
    Refused,
}

/// What a workload held. The parts are read less often than the whole: see `parts_read`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Figures {
    /// Its name.
    pub workload: String,
    /// What sort of workload it is.
    pub kind: String,
    /// The path of its own cgroup.
    pub cgroup: String,
    /// Memory charged to it and what is below it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The most that ever was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
    /// Its own hard limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// What it is throttled above.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_bytes: Option<u64>,
    /// Swap that it uses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Of its memory, what is of no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Page cache, shared memory included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Shared memory and tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// What the kernel keeps for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_bytes: Option<u64>,
    /// When limits, peak and parts were read, in nanoseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts_read: Option<u64>,
    /// Host memory that it has pinned for GPUs, as far as the CUDA driver is watched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_bytes: Option<u64>,
}

/// What one workload had, and did within the history; without what other workloads below it have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Consumer {
    /// Its name.
    pub workload: String,
    /// Its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// By how much that grew over the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_bytes: Option<i64>,
    /// Its own hard limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    /// Swap that it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Memory of GPUs that it held.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vram_bytes: Option<u64>,
    /// Host memory that it had pinned for GPUs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned_bytes: Option<u64>,
    /// Time in which some task of it waited for what the incident is about (PSI).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_seconds: Option<f64>,
    /// Time for which its tasks had to free memory before they got any, summed over them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_seconds: Option<f64>,
    /// Bytes that it read and wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_bytes: Option<u64>,
    /// Its memory, point by point of the history.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub memory: Vec<Option<u64>>,
}

/// The host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// What new processes can have without swapping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    /// What lies idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Memory of no file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Page cache, shared memory included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_bytes: Option<u64>,
    /// Shared memory and tmpfs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// The kernel's own objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slab_bytes: Option<u64>,
    /// What reclaim has to leave alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unevictable_bytes: Option<u64>,
    /// Page cache that waits to be written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dirty_bytes: Option<u64>,
    /// Swap space.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_total_bytes: Option<u64>,
    /// Of that, what is free.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swap_free_bytes: Option<u64>,
}

/// Pressure that lasts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Storm {
    /// What was waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Resource>,
    /// How often the kernel told, in how long.
    pub stalls: u64,
    /// From the first to the last of these.
    pub seconds: f64,
    /// Time in which some task waited meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waited_seconds: Option<f64>,
    /// Time in which all did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled_seconds: Option<f64>,
}

/// A GPU that is lost, as it was last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LostGpu {
    /// Its number.
    pub gpu: String,
    /// Its uuid.
    pub uuid: String,
    /// The model.
    pub model: String,
    /// The driver's version.
    pub driver: String,
    /// Errors that it reported of late, first to last.
    pub xids: Vec<u64>,
    /// How many were lost in the same second, this one included.
    pub lost: u64,
    /// How many are left.
    pub left: u64,
    /// Why the source of these figures fails now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Degrees Celsius.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<u64>,
    /// Watts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power: Option<f64>,
    /// Uncorrected memory errors in its life.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ecc_uncorrected: Option<u64>,
    /// Who held its memory, most first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

/// What a workload held of a GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// Its name.
    pub workload: String,
    /// How much; absent if the driver does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// What.
    pub what: What,
    /// Of whom: a workload's name, or a GPU's number.
    pub of: String,
    /// What was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// What is now: the limit in bytes, or the error's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
}

/// What can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The agent began to look.
    Agent,
    /// A workload came.
    Came,
    /// A workload went.
    Went,
    /// Its memory limit; without one it is absent.
    Limit,
    /// A GPU reported an error.
    Xid,
    /// A GPU came.
    GpuCame,
    /// A GPU went.
    GpuWent,
}

/// Series by name, each with a value for each point; absent where nothing was known.
pub type Lines = BTreeMap<String, Vec<Option<f64>>>;

/// The last minute, second by second (or tick by tick, where these are longer).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// How many seconds before the incident each point is, oldest first.
    pub ago: Vec<f64>,
    /// Of the workload that it befell.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub workload: Lines,
    /// Of the workload whose limit was hit, if that is another.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limited: Lines,
    /// Of the host.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub host: Lines,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
