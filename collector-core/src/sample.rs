//! [`Sample`]: one reading from a source with its time, and the only input of the engine. In JSON it is one line, which
//! `run --record` writes, and which `replay` and the tests read.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::alert::Alert;
use crate::cgroup::Id;
use crate::identity::Names;
use crate::latency;
use crate::lease;
use crate::level;
use crate::past;
use crate::pressure;
use crate::scaling;
use crate::schedule::Schedule;
use crate::signal::counted::Counted;
use crate::signal::table::signals;
use crate::stage::Stage;
use crate::starved;
use crate::statistic::workload::Values;
use crate::statistic::{contention, disk, filesystem, gpu, host, member, model, model_file, network};
use crate::tier::Limits;
use crate::trend;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    pub reading: Reading,
}

macro_rules! readings {
    (
        folded { $(
            $signal:ident: $Reading:ident from $Origin:ident, record [$($Kind:ident)?], maps [$($map:literal => $counters:ident),*];
        )* }
        counted { $($counted:ident: $Counted:ident, $counted_map:literal;)* }
    ) => {
        /// One reading. Amounts are the growth since the previous reading of the same thing, unless a field says otherwise.
        // Readings contain their histograms: on the heap, each would be an allocation per tick.
        #[allow(clippy::large_enum_variant)]
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Reading {
            /// The source started: what the fold needs to know about the host.
            Start(Start),
            /// State of one probe.
            Probe(Probe),
            /// A round of readings is complete.
            Tick,
            /// Data was dropped.
            Lost(Lost),
            /// Cost of one eBPF program while the kernel measured it.
            Program(Program),
            /// Cost of the agent itself.
            Process(Process),
            /// Health of one source in this round.
            Source(Source),
            /// Delivery to one receiver of alerts.
            Delivery(Delivery),
            /// What the agent's own listeners denied, and whether they are open.
            Endpoint(Endpoint),
            /// Numbers from the kernel's files about one cgroup.
            Statistics(Statistics),
            /// Memory of one cgroup that was also read between ticks.
            Usage(Usage),
            /// Numbers from the kernel's files about the host, absolute. A number that is absent is no longer known.
            Host(host::Values),
            Disk(disk::Reading),
            Filesystem(filesystem::Reading),
            Network(network::Reading),
            Gpu(gpu::Reading),
            /// What a model server says of itself.
            Model(model::Reading),
            /// What a workload that is watched closely waits for.
            Contention(contention::Reading),
            /// What the largest processes of a workload hold whose memory rises.
            Member(member::Reading),
            /// Files of models, and who uses them.
            ModelFile(model_file::Reading),
            Pressure(pressure::Reading),
            /// Names that the host gives to a cgroup's container or pod.
            Name(Name),
            $($Reading(crate::signal::$signal::Reading),)*
            $($Counted(Counted<crate::signal::$counted::Counts>),)*
            /// An alert that fired when the agent was last stopped. It comes after the start.
            Restored(Alert),
            /// Somebody asks for room, or changes what it was given.
            Request(Box<lease::Request>),
            /// What is read about a lease, or was kept of it.
            Lease(lease::Kept),
            /// Other limits of the level, while the agent runs.
            Level(level::Limits),
            /// From when on the latency of model servers is worse. It comes after the start, and while the agent runs.
            Latency(latency::Limits),
            /// What is new of the last days: from the history on disk and the journal.
            Past(Box<past::Change>),
            /// When there should be more or fewer instances of a model, from now on.
            Scaling(scaling::Limits),
            /// What is reserved ahead from now on, and local time of the days around now.
            Schedule(Box<Schedule>),
        }

        impl Reading {
            /// Where the reading comes from. No catch-all arm, so that a new reading must be added here.
            pub fn origin(&self) -> Origin {
                match self {
                    Reading::Probe(_) | Reading::Program(_) | Reading::Lost(_) => Origin::Kernel,
                    $(Reading::$Reading(_) => Origin::$Origin,)*
                    $(Reading::$Counted(_) => Origin::Kernel,)*
                    Reading::Name(_) | Reading::Statistics(_) | Reading::Usage(_) => Origin::Cgroup,
                    Reading::Start(_) | Reading::Tick | Reading::Process(_) | Reading::Source(_) => Origin::Agent,
                    Reading::Delivery(_) | Reading::Endpoint(_) | Reading::Restored(_) => Origin::Agent,
                    Reading::Request(_) | Reading::Lease(_) => Origin::Agent,
                    Reading::Level(_) | Reading::Latency(_) | Reading::Past(_) => Origin::Agent,
                    Reading::Scaling(_) | Reading::Schedule(_) => Origin::Agent,
                    Reading::Host(_) | Reading::Disk(_) | Reading::Filesystem(_) => Origin::Host,
                    Reading::Network(_) | Reading::Pressure(_) => Origin::Host,
                    Reading::Gpu(_) => Origin::Gpu,
                    Reading::Model(_) | Reading::ModelFile(_) => Origin::Model,
                    Reading::Contention(_) | Reading::Member(_) => Origin::Cgroup,
                }
            }
        }
    };
}
signals!(readings);

/// Where a reading comes from: the label `source` of `headroom_samples_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel's rings and maps.
    Kernel,
    /// Cgroups: creation and removal, files and names.
    Cgroup,
    Agent,
    Host,
    /// NVML.
    Gpu,
    /// Model servers.
    Model,
}

impl Origin {
    /// In the order of their numbers.
    pub const ALL: [Origin; 6] =
        [Origin::Kernel, Origin::Cgroup, Origin::Agent, Origin::Host, Origin::Gpu, Origin::Model];

    pub fn label(self) -> &'static str {
        ["kernel", "cgroup", "agent", "host", "gpu", "model"][self as usize]
    }
}

/// What the fold needs to know about the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    pub version: String,
    /// The kernel's release (`uname -r`).
    pub kernel: String,
    /// The hierarchy id of the memory controller: 0 is cgroup v2.
    pub memory_hierarchy: u64,
    /// The hierarchy id of the io (v1: blkio) controller.
    pub io_hierarchy: u64,
    /// Maximum number of workloads with series of their own.
    pub workload_max: usize,
    /// How long a workload stays after its end, in nanoseconds.
    pub workload_grace: u64,
    /// The memory cgroup that the agent itself is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Id>,
    /// How much the history may keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<Limits>,
    /// How much of the host may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<level::Limits>,
    /// How GPUs that starve are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starved: Option<starved::Settings>,
    /// How leaks are found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leak: Option<trend::Settings>,
    /// The controllers of cgroups that the kernel offers, of those that isolate: `io` is v1's `blkio`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controllers: Option<Vec<String>>,
}

/// Names that the host gives to a cgroup's container or pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// The workload's own cgroup.
    pub cgroup: Id,
    pub names: Names,
}

/// State of one probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    pub program: String,
    /// Its state.
    pub state: ProbeState,
    /// Why, unless it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// States of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProbeState {
    /// It is attached and counts.
    Attached,
    /// Switched off by the configuration.
    Disabled,
    /// Another probe measures the same, or this kernel does not need it.
    Unneeded,
    /// It is loaded; its target has not appeared yet.
    Waiting,
    /// This kernel lacks what it needs.
    Unsupported,
    /// Attaching failed although the kernel has what it needs.
    Failed,
}

/// Data was dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    pub stage: Stage,
    pub count: u64,
}

/// Cost of one eBPF program while the kernel measured it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    pub program: std::borrow::Cow<'static, str>,
    pub runs: u64,
    /// Time of these runs in nanoseconds.
    pub ns: u64,
}

/// Cost of the agent itself, in absolute numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// CPU time in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Virtual memory in bytes.
    pub virtual_bytes: u64,
    pub open_fds: u64,
    /// Limit on open file descriptors.
    pub max_fds: u64,
    /// When it started, in nanoseconds since the Unix epoch.
    pub start_time: u64,
    /// Kernel memory of the eBPF maps in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_bytes: Option<u64>,
}

/// Health of one source in this round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    pub source: std::borrow::Cow<'static, str>,
    /// Whether everything could be read.
    pub up: bool,
    /// Duration of the read in nanoseconds.
    pub ns: u64,
    /// Why something could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Delivery to one receiver of alerts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    pub sink: std::sync::Arc<str>,
    /// Alerts that it accepted.
    pub delivered: u64,
    /// Attempts to deliver that failed.
    pub failed: u64,
    /// Alerts that wait for delivery: the number, not the growth.
    pub queued: u64,
}

/// What the agent's own listeners denied since the last reading, by reason, and whether each is open; absent where there is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// TLS handshakes that failed.
    pub handshake: u64,
    /// Requests for a name that is none of this host's.
    pub host: u64,
    /// Requests with a wrong password.
    pub password: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<bool>,
}

/// Numbers from the kernel's files about one cgroup, absolute. A number that is absent is no longer known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// On cgroup v1 each hierarchy has its own cgroup, with its part of the numbers.
    pub cgroup: Id,
    pub values: Values,
    /// Whether the numbers that are not read at every tick were read now, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub turn: bool,
}

/// Memory charged to one cgroup since the tick before, or in the last second where ticks are shorter: read between ticks, because it
/// is near a limit or grows fast. In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usage {
    pub cgroup: Id,
    pub least: u64,
    pub mean: u64,
    pub most: u64,
}
