//! The host at one moment, in one object: the answer of `/api/v1/status`, and what `headroom status` prints. Figures are the same
//! as in the metrics; rates and shares are over the last ten seconds. What is not known is absent.

mod disk;
mod health;
mod network;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::alert::Alert;
use crate::api::alerts;
use crate::api::gpus::{self, GpuLine};
use crate::api::level::LevelLine;
use crate::api::suggestions::AdviceCounts;
use crate::statistic::host::{Statistic, Values, average, average_busy};
use crate::view::View;
use Statistic::*;
pub use disk::{DiskLine, FilesystemLine};
pub use health::Health;
pub use network::NetworkLine;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// When the agent started, in nanoseconds since the Unix epoch.
    pub started: u64,
    /// Version of the agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Release of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Absent if no rule is evaluated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Why, the most severe first, at most 20.
    #[serde(default)]
    pub reasons: Vec<String>,
    /// How degraded the host is, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LevelLine>,
    pub memory: Memory,
    pub swap: Swap,
    pub cpu: Cpu,
    pub pressure: Pressure,
    /// Mounted filesystems, by mount point.
    #[serde(default)]
    pub filesystems: Vec<FilesystemLine>,
    /// Block devices, by name.
    #[serde(default)]
    pub disks: Vec<DiskLine>,
    /// Interfaces and RDMA ports, by name.
    #[serde(default)]
    pub network: Vec<NetworkLine>,
    /// By number.
    #[serde(default)]
    pub gpus: Vec<GpuLine>,
    /// The alerts that fire: the most severe first, of those the newest. `value` is what it was when the alert fired.
    #[serde(default)]
    pub alerts: Vec<Alert>,
    /// The newest incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// How much advice holds: `/api/v1/suggestions` has it; absent if nothing was judged yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advice: Option<AdviceCounts>,
    /// What cannot be read now.
    #[serde(default)]
    pub unavailable: Vec<Unavailable>,
}

/// Memory of the host, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Memory {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    /// What new processes can use without swapping, as the kernel estimates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Page cache, including shared memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anon_bytes: Option<u64>,
    /// Shared memory and tmpfs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shmem_bytes: Option<u64>,
    /// Pages of processes that drivers of all kinds hold pinned. A page that is pinned twice counts twice, and a huge page that is pinned
    /// as a whole as one small page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_bytes: Option<u64>,
    /// Share (0 to 1) that cannot be had without swapping: `used_bytes` of `usable_bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_ratio: Option<f64>,
    /// What cannot be had without swapping. What ZFS gives back of its cache can be had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_bytes: Option<u64>,
    /// The total without free huge pages, which are kept for those who ask for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usable_bytes: Option<u64>,
}

/// Swap space of the host, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Swap {
    /// 0 on a host without swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_bytes: Option<u64>,
    /// Share (0 to 1) of it that is used; absent on a host without swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_ratio: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cpu {
    /// CPUs that are online.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u64>,
    /// Share (0 to 1) of all CPU time in which a CPU was neither idle nor waiting for IO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_ratio: Option<f64>,
    /// Share (0 to 1) in which a CPU was idle while IO was waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iowait_ratio: Option<f64>,
    /// Share (0 to 1) that the hypervisor took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal_ratio: Option<f64>,
    /// Load averages over 1, 5 and 15 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load1: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load5: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load15: Option<f64>,
}

/// Shares (0 to 1) of time in which tasks of the host waited (PSI): at least one (`waiting`), or all that were not idle
/// (`stalled`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Pressure {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_waiting_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_waiting_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_stalled_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_waiting_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_stalled_ratio: Option<f64>,
}

/// An incident, in short: `headroom explain ID` tells all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = NewestIncident)]
pub struct Incident {
    pub id: String,
    /// Such as `oom`.
    pub kind: String,
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// What happened.
    pub title: String,
    /// Its cause, in one sentence.
    pub cause: String,
}

/// A source that could not be read, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Unavailable {
    pub source: String,
    pub reason: String,
}

impl Status {
    pub fn of(view: &View) -> Status {
        let alerts = alerts::those(view, |_| true);
        let (health, reasons) = health::judge(view, &alerts);
        Status {
            time: view.time,
            started: view.started,
            version: view.build.as_ref().map(|build| build.version.clone()),
            kernel: view.build.as_ref().map(|build| build.kernel.clone()),
            health,
            reasons,
            level: Some(LevelLine::host(view)),
            memory: Memory::of(view),
            swap: Swap::of(&view.host.statistics),
            cpu: Cpu::of(view),
            pressure: Pressure::of(view),
            filesystems: disk::filesystems(view),
            disks: disk::disks(view),
            network: network::network(view),
            gpus: gpus::lines(view),
            alerts,
            incident: view.incidents.newest().map(|newest| &newest.line).map(|newest| Incident {
                id: newest.id.clone(),
                kind: newest.kind.to_owned(),
                time: newest.time,
                workload: newest.labels.get("workload").cloned(),
                title: newest.title.clone(),
                cause: newest.cause.clone(),
            }),
            advice: AdviceCounts::of(view),
            unavailable: unavailable(view),
        }
    }
}

fn unavailable(view: &View) -> Vec<Unavailable> {
    let down = view.coverage.sources.iter().filter(|(_, health)| !health.up);
    let line = |(source, reason): (&str, Option<&str>)| Unavailable {
        source: source.to_owned(),
        reason: reason.unwrap_or_default().to_owned(),
    };
    down.map(|(source, health)| line((source, health.error.as_deref()))).collect()
}

impl Memory {
    fn of(view: &View) -> Memory {
        let get = |statistic| view.host.statistics.get(statistic);
        let memory = view.host.memory();
        Memory {
            total_bytes: get(MemoryTotal),
            available_bytes: get(MemoryAvailable),
            free_bytes: get(MemoryFree),
            cached_bytes: get(MemoryCached),
            anon_bytes: get(MemoryAnon),
            shmem_bytes: get(MemoryShmem),
            pinned_bytes: get(MemoryPinned),
            used_ratio: memory.map(|memory| memory.used_ratio()),
            used_bytes: memory.map(|memory| memory.total - memory.available),
            usable_bytes: memory.map(|memory| memory.total),
        }
    }
}

impl Swap {
    fn of(values: &Values) -> Swap {
        let (total_bytes, free_bytes) = (values.get(SwapTotal), values.get(SwapFree));
        let share = |(total, free): (u64, u64)| (total > 0 && free <= total).then(|| 1.0 - free as f64 / total as f64);
        Swap { total_bytes, free_bytes, used_ratio: total_bytes.zip(free_bytes).and_then(share) }
    }
}

impl Cpu {
    fn of(view: &View) -> Cpu {
        let get = |statistic| view.host.statistics.get(statistic);
        let load = |statistic| get(statistic).map(|hundredths| hundredths as f64 / 100.0);
        let mode = |mode| view.host.past.share(|values: &Values| values.get(mode).and(average(values, &[mode])));
        Cpu {
            cpus: get(Cpus),
            busy_ratio: view.host.past.share(average_busy),
            iowait_ratio: mode(CpuIowait),
            steal_ratio: mode(CpuSteal),
            load1: load(Load1),
            load5: load(Load5),
            load15: load(Load15),
        }
    }
}

impl Pressure {
    fn of(view: &View) -> Pressure {
        let share = |statistic| view.host.past.share(|values: &Values| values.get(statistic));
        Pressure {
            cpu_waiting_ratio: share(CpuPressureSome),
            memory_waiting_ratio: share(MemoryPressureSome),
            memory_stalled_ratio: share(MemoryPressureFull),
            io_waiting_ratio: share(IoPressureSome),
            io_stalled_ratio: share(IoPressureFull),
        }
    }
}

#[cfg(test)]
mod tests;
