//! [`Config`]: every setting, section by section. Knows neither keys nor layers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use collector_core::metric::row::Level;
use collector_core::need::known::Model;
use collector_core::rule::raw::Raw;
use collector_core::tier::Limits;

use super::admission::Admission;
use super::entry::Entry;
use super::latency::Latency;
use super::leak::Leak;
use super::level::Levels;
use super::model_server::ModelServer;
use super::model_store::ModelStore;
use super::pool::Pool;
use super::reservation::Reservation;
use super::scaling::Scaling;
use super::sink::{FileSink, Sink};
use super::starved::Starved;
use crate::exposition::Cap;

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Config {
    /// Address of the HTTP listener.
    pub listen: SocketAddr,
    /// The Unix socket, which answers the same; none if absent.
    pub socket: Option<PathBuf>,
    /// Prometheus-style web configuration file: TLS and passwords of the listener.
    pub web_config: Option<PathBuf>,
    /// Names that a request on the loopback address may be for, besides this host's own; `*` matches any text.
    pub allowed_hosts: Vec<String>,
    /// Interval of reading counters.
    pub tick: Duration,
    /// Mount point of the host's root filesystem.
    pub rootfs: PathBuf,
    /// Locked while the agent runs, so that a second instance fails.
    pub lock: PathBuf,
    /// The user that a root agent becomes once it has started; empty: it stays root.
    pub user: String,
    /// The group whose members see what belongs to others; if there is none of this name, nobody.
    pub group: String,
    /// The agent's own `oom_score_adj`.
    pub oom_score_adj: i32,
    /// The host's name in alerts; empty means its own host name.
    pub host: String,
    /// A shipped profile, or the path of one, which is read beneath the file; empty: none.
    pub profile: String,
    /// `[log]`
    pub log: Log,
    /// `[kernel]`
    pub kernel: Kernel,
    /// `[fault]`
    pub fault: Fault,
    /// `[workload]`
    pub workload: Workload,
    /// `[pressure]`
    pub pressure: Pressure,
    /// `[disk]`
    pub disk: Disk,
    /// `[filesystem]`
    pub filesystem: Filesystem,
    /// `[network]`
    pub network: Network,
    /// `[gpu]`
    pub gpu: Gpu,
    /// `[model_file]`
    pub model_file: ModelFile,
    /// `[starved]`
    pub starved: Starved,
    /// `[leak]`
    pub leak: Leak,
    /// `[transfer]`
    pub transfer: Transfer,
    /// `[models]`
    pub models: Models,
    /// `[latency]`
    pub latency: Latency,
    /// `[scaling]`
    pub scaling: Scaling,
    /// `[level]`
    pub level: Levels,
    /// `[admission]`
    pub admission: Admission,
    /// `[need]`
    pub need: Need,
    /// `[metrics]`
    pub metrics: Metrics,
    /// `[history]`
    pub history: History,
    /// `[journal]`
    pub journal: Journal,
    /// `[guard]`
    pub guard: Guard,
    /// `[[rule]]`
    pub rule: Vec<Entry<Raw>>,
    /// `[[pool]]`
    pub pool: Vec<Entry<Pool>>,
    /// `[[reservation]]`
    pub reservation: Vec<Entry<Reservation>>,
    /// `[[model]]`
    pub model: Vec<Entry<Model>>,
    /// `[[model_server]]`
    pub model_server: Vec<Entry<ModelServer>>,
    /// `[[model_store]]`
    pub model_store: Vec<Entry<ModelStore>>,
    /// `[[sink.…]]`
    pub sink: Sinks,
}

/// `[[sink.…]]`
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Sinks {
    /// `[[sink.webhook]]`
    pub webhook: Vec<Entry<Sink>>,
    /// `[[sink.alertmanager]]`
    pub alertmanager: Vec<Entry<Sink>>,
    /// `[[sink.file]]`
    pub file: Vec<Entry<FileSink>>,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Log {
    /// error, warn, info, debug or trace.
    pub level: String,
    /// auto (pretty on a terminal, JSON otherwise), pretty or json.
    pub format: String,
}

/// `[kernel]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Kernel {
    /// BTF of the running kernel, if /sys/kernel/btf/vmlinux is missing.
    pub btf: Option<PathBuf>,
    /// Signals or single programs to leave unattached.
    pub disable: Vec<String>,
    /// Threshold for reporting a reclaim or compaction stall as an event.
    pub stall: Duration,
    /// Threshold for reporting an IO as an event.
    pub slow_io: Duration,
    /// Bytes of the critical ring: a power of two, at least a page.
    pub critical_ring: u32,
    /// Bytes of the bulk ring: a power of two, at least a page.
    pub bulk_ring: u32,
    /// How long after the start the kernel measures the programs' run time; zero is never.
    pub measure: Duration,
    /// Log the programs' debug messages.
    pub debug: bool,
    /// Whether too few attached probes are an error.
    pub require_probes: bool,
}

/// `[fault]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Fault {
    /// Whether programs run at every page fault.
    pub access: bool,
}

/// `[workload]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Workload {
    /// Workloads with their own series; the others are summed as `other`.
    pub max: usize,
    /// How long the series of a removed workload stay.
    pub grace: Duration,
    /// The kubelet's log folder.
    pub kubelet: PathBuf,
    /// Docker's data-root.
    pub docker: PathBuf,
    /// Podman's graphRoot.
    pub podman: PathBuf,
    /// containerd's state directory.
    pub containerd: PathBuf,
    /// Interval of reading files that are costly or change rarely.
    pub stat_interval: Duration,
    /// Interval of reading those that serve models or hold GPU memory.
    pub close_interval: Duration,
    /// Interval of reading the memory of workloads that are near a limit or grow fast; zero reads it at ticks alone.
    pub sample: Duration,
}

/// `[pressure]`: PSI triggers. A threshold of zero sets no trigger.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Pressure {
    /// Threshold: some task waited for memory this long within the window.
    pub memory_waiting: Duration,
    /// Threshold: all tasks waited for memory.
    pub memory_stalled: Duration,
    pub memory_window: Duration,
    /// Threshold: some task waited for IO.
    pub io_waiting: Duration,
    /// Threshold: all tasks waited for IO.
    pub io_stalled: Duration,
    pub io_window: Duration,
    /// Threshold: some task waited for a CPU.
    pub cpu_waiting: Duration,
    pub cpu_window: Duration,
}

/// `[disk]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Disk {
    /// Disks to leave out; `*` matches any text.
    pub exclude: Vec<String>,
}

/// `[filesystem]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Filesystem {
    /// Mount points to leave out; `*` matches any text.
    pub exclude: Vec<String>,
    /// Filesystem types to leave out; `*` matches any text.
    pub exclude_types: Vec<String>,
    pub interval: Duration,
    /// Timeout of one statfs call.
    pub deadline: Duration,
}

/// `[network]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Network {
    pub enabled: bool,
    /// Interfaces to leave out; `*` matches any text.
    pub exclude: Vec<String>,
    pub interval: Duration,
    /// Whether network namespaces of workloads are read.
    pub namespaces: bool,
}

/// `[model_file]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct ModelFile {
    pub enabled: bool,
    /// Whether it is seen what processes have mapped and open, which takes capabilities.
    pub inspect: bool,
    pub interval: Duration,
    /// Of listing stores.
    pub store_interval: Duration,
    pub unused_after: Duration,
}

impl ModelFile {
    /// Whether it is seen which model files processes have mapped.
    pub fn inspects(&self) -> bool {
        self.enabled && self.inspect
    }
}

/// `[gpu]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Gpu {
    /// auto (if the library is found), on or off.
    pub enabled: String,
    /// The NVML library, if it is not in a usual place.
    pub library: Option<PathBuf>,
    pub interval: Duration,
    /// Timeout of one NVML call.
    pub deadline: Duration,
    /// CPU time per second for reading 32-bit PCIe counters between rounds.
    pub pcie_budget: Duration,
}

/// `[transfer]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Transfer {
    /// Whether to trace CUDA driver calls.
    pub enabled: bool,
    /// Interval of scanning for new processes and libraries.
    pub scan: Duration,
}

/// `[models]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Models {
    /// Whether model servers are found and asked.
    pub enabled: bool,
    pub interval: Duration,
    /// Names of servers and paths of cgroups to leave out; `*` matches any text.
    pub exclude: Vec<String>,
}

/// `[need]`: what this host's own service needs, as declared.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Need {
    /// Bytes of host memory.
    pub memory: Option<u64>,
    /// Bytes of them that are reserved for it.
    pub reserved: Option<u64>,
}

/// `[metrics]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Metrics {
    /// usual or full.
    pub detail: String,
    /// Maximum series in one exposition; further ones are left out and counted.
    pub max_series: usize,
    /// Maximum bytes of one exposition, about; the series with the longest labels are left out and counted.
    pub max_bytes: usize,
}

impl Metrics {
    pub fn cap(&self) -> Cap {
        let level = Level::find(&self.detail).unwrap_or_default();
        Cap { series: self.max_series, bytes: self.max_bytes, level }
    }
}

/// The share of the agent's memory limit that the history may take.
const MEMORY_SHARE: u64 = 8;

/// `[history]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct History {
    /// Bytes that the tiers in memory may take.
    pub memory: usize,
    /// Workloads with an hour and a day in memory.
    pub workloads: usize,
    /// Older days are removed from the disk.
    pub max_age: Duration,
    /// Maximum bytes on disk; zero: nothing is written.
    pub max_bytes: usize,
}

impl History {
    /// For an agent with this memory limit.
    pub fn limits(&self, limit: Option<u64>) -> Limits {
        let share = limit.map_or(u64::MAX, |limit| limit / MEMORY_SHARE);
        Limits { memory_bytes: (self.memory as u64).min(share), workloads: self.workloads }
    }
}

/// `[journal]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Journal {
    pub dir: PathBuf,
    /// Older entries are removed.
    pub max_age: Duration,
    /// Maximum bytes on disk.
    pub max_bytes: usize,
}

impl Config {
    /// The name that alerts and reports have for this host: as configured, or else its own.
    pub fn host_name(&self) -> String {
        match self.host.as_str() {
            "" => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            name => name.to_owned(),
        }
    }
}

/// `[guard]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Guard {
    /// allow or deny: whether a command runs if no agent could be asked.
    pub no_agent: String,
    /// Starts of one unit a minute; 0 is any number.
    pub starts: usize,
}
