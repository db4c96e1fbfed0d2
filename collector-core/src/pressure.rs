//! Pressure stall information: what is waited for, by how many, and the kernel's own watch over it. Knows no file.

use serde::{Deserialize, Serialize};

use crate::statistic::host::Statistic;

/// What tasks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A CPU.
    Cpu,
    /// Memory.
    Memory,
    /// IO.
    Io,
}

/// How many tasks wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// At least one: the kernel's `some`.
    Waiting,
    /// All that have anything to do: the kernel's `full`.
    Stalled,
}

/// What comes of the kernel's watch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// The kernel watches.
    Trigger(Trigger),
    /// Tasks waited for longer than a trigger allows.
    Stall(Stall),
}

/// When the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// For what.
    pub resource: Resource,
    /// By how many.
    pub kind: Kind,
    /// How long they have to wait, in nanoseconds …
    pub threshold_ns: u64,
    /// … within how much time, in nanoseconds.
    pub window_ns: u64,
}

/// Tasks waited for longer than a trigger allows. The kernel tells at most once a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// What was exceeded.
    pub trigger: Trigger,
    /// How long they have waited since the host started, in nanoseconds, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ns: Option<u64>,
}

impl Resource {
    /// All of them.
    pub const ALL: [Resource; 3] = [Resource::Cpu, Resource::Memory, Resource::Io];

    /// The label `resource`, and the kernel's name of its file.
    pub fn label(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Io => "io",
        }
    }
}

impl Kind {
    /// Both.
    pub const ALL: [Kind; 2] = [Kind::Waiting, Kind::Stalled];

    /// The label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Waiting => "waiting",
            Kind::Stalled => "stalled",
        }
    }

    /// The kernel's word.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Waiting => "some",
            Kind::Stalled => "full",
        }
    }
}

/// The statistic that is the sum of such waits. Of the host as a whole all tasks never wait for a CPU: one of them has it.
pub fn statistic(resource: Resource, kind: Kind) -> Option<Statistic> {
    Some(match (resource, kind) {
        (Resource::Cpu, Kind::Waiting) => Statistic::CpuPressureSome,
        (Resource::Cpu, Kind::Stalled) => return None,
        (Resource::Memory, Kind::Waiting) => Statistic::MemoryPressureSome,
        (Resource::Memory, Kind::Stalled) => Statistic::MemoryPressureFull,
        (Resource::Io, Kind::Waiting) => Statistic::IoPressureSome,
        (Resource::Io, Kind::Stalled) => Statistic::IoPressureFull,
    })
}
