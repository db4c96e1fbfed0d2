//! [`Sample`]: one dated reading from a source, and the only thing that enters the engine. As JSON it is one line: what
//! `run --record` writes, `replay` reads, and the tests are made of.

use serde::{Deserialize, Serialize};

use crate::alert::Alert;
use crate::identity::Names;
use crate::pressure;
use crate::signal::{block, cgroup, compaction, fault, kswapd, oom, reclaim, transfer};
use crate::stage::Stage;
use crate::statistic::workload::Values;
use crate::statistic::{disk, filesystem, gpu, host};

/// One dated reading.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// What was read.
    pub reading: Reading,
}

/// What was read. Amounts are the growth since the previous reading of the same thing, unless a field says otherwise.
// Histograms lie in the readings themselves: on the heap each would be an allocation a tick.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The source came up: what of the host the fold needs to know.
    Start(Start),
    /// What became of one probe.
    Probe(Probe),
    /// A round of readings is complete.
    Tick,
    /// Something was dropped.
    Lost(Lost),
    /// What one eBPF program cost while the kernel measured it.
    Program(Program),
    /// What the agent itself costs.
    Process(Process),
    /// How one source fared in this round.
    Source(Source),
    /// How one receiver of alerts fares.
    Delivery(Delivery),
    /// What the kernel's files say of one cgroup.
    Statistics(Statistics),
    /// What the kernel's files say of the host, in absolute numbers. What is not there is not known any more.
    Host(host::Values),
    /// See [`disk`].
    Disk(disk::Reading),
    /// See [`filesystem`].
    Filesystem(filesystem::Reading),
    /// See [`gpu`].
    Gpu(gpu::Reading),
    /// See [`pressure`].
    Pressure(pressure::Reading),
    /// See [`cgroup`].
    Cgroup(cgroup::Reading),
    /// What the host calls a cgroup's container or pod.
    Name(Name),
    /// See [`oom`].
    Oom(oom::Reading),
    /// See [`reclaim`].
    Reclaim(reclaim::Reading),
    /// See [`kswapd`].
    Kswapd(kswapd::Reading),
    /// See [`compaction`].
    Compaction(compaction::Reading),
    /// See [`fault`].
    Fault(fault::Reading),
    /// See [`block`].
    Block(block::Reading),
    /// See [`transfer`].
    Transfer(transfer::Reading),
    /// An alert that fired when the agent was last stopped; comes after the start.
    Restored(Alert),
}

/// Where a reading comes from: the label `source` of `headroom_samples_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The kernel's rings and maps.
    Kernel,
    /// Cgroups: their lives, files and names.
    Cgroup,
    /// The agent itself.
    Agent,
    /// The host's files.
    Host,
    /// NVML.
    Gpu,
}

impl Origin {
    /// All of them, in the order of their numbers.
    pub const ALL: [Origin; 5] = [Origin::Kernel, Origin::Cgroup, Origin::Agent, Origin::Host, Origin::Gpu];

    /// The label's value.
    pub fn label(self) -> &'static str {
        ["kernel", "cgroup", "agent", "host", "gpu"][self as usize]
    }
}

impl Reading {
    /// Where it comes from. Without a catch-all: whoever adds a reading has to say.
    pub fn origin(&self) -> Origin {
        match self {
            Reading::Probe(_) | Reading::Program(_) | Reading::Lost(_) => Origin::Kernel,
            Reading::Oom(_) | Reading::Reclaim(_) | Reading::Kswapd(_) | Reading::Compaction(_) => Origin::Kernel,
            Reading::Fault(_) | Reading::Block(_) | Reading::Transfer(_) => Origin::Kernel,
            Reading::Cgroup(_) | Reading::Name(_) | Reading::Statistics(_) => Origin::Cgroup,
            Reading::Start(_) | Reading::Tick | Reading::Process(_) | Reading::Source(_) => Origin::Agent,
            Reading::Delivery(_) | Reading::Restored(_) => Origin::Agent,
            Reading::Host(_) | Reading::Disk(_) | Reading::Filesystem(_) | Reading::Pressure(_) => Origin::Host,
            Reading::Gpu(_) => Origin::Gpu,
        }
    }
}

/// What of the host the fold needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Headroom's version.
    pub version: String,
    /// The kernel's release (`uname -r`).
    pub kernel: String,
    /// The hierarchy id of the memory controller: 0 is cgroup v2.
    pub memory_hierarchy: u64,
    /// The hierarchy id of the io (v1: blkio) controller.
    pub io_hierarchy: u64,
    /// Workloads that get series of their own.
    pub workload_max: usize,
    /// How long a dead workload stays, in nanoseconds.
    pub workload_grace: u64,
    /// The memory cgroup that the agent itself is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<cgroup::Id>,
}

/// What the host calls a cgroup's container or pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Name {
    /// The workload's own cgroup.
    pub cgroup: cgroup::Id,
    /// Its names.
    pub names: Names,
}

/// What became of one probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The program's name.
    pub program: String,
    /// What became of it.
    pub state: ProbeState,
    /// Why, unless it is attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What can become of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProbeState {
    /// It sees.
    Attached,
    /// The configuration switches it off.
    Disabled,
    /// Another probe sees the same, or this kernel does not need it.
    Unneeded,
    /// It is loaded, and what it is to be attached to has not shown up yet.
    Waiting,
    /// This kernel has not got what it needs.
    Unsupported,
    /// It should have attached, and did not.
    Failed,
}

/// Something was dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    pub stage: Stage,
    /// How many.
    pub count: u64,
}

/// What one eBPF program cost while the kernel measured it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// The program's name.
    pub program: std::borrow::Cow<'static, str>,
    /// Runs.
    pub runs: u64,
    /// Their time in nanoseconds.
    pub ns: u64,
}

/// What the agent itself costs; the figures are absolute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// CPU time in nanoseconds.
    pub cpu_ns: u64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Virtual memory in bytes.
    pub virtual_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// The limit on these.
    pub max_fds: u64,
    /// When it started, in nanoseconds since the Unix epoch.
    pub start_time: u64,
}

/// How one source fared in this round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Which.
    pub source: std::borrow::Cow<'static, str>,
    /// Whether everything could be read.
    pub up: bool,
    /// How long it took, in nanoseconds.
    pub ns: u64,
    /// Why not, if not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// How one receiver of alerts fares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    /// Which.
    pub sink: std::sync::Arc<str>,
    /// Alerts that it took.
    pub delivered: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Alerts that wait for it: not the growth, but the number.
    pub queued: u64,
}

/// What the kernel's files say of one cgroup, in absolute numbers. What is not there is not known any more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    /// Which cgroup; on cgroup v1 each hierarchy has its own, with its part of the numbers.
    pub cgroup: cgroup::Id,
    /// The numbers.
    pub values: Values,
    /// Whether those that are read less often than every tick are of this moment, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub turn: bool,
}
