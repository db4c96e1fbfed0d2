//! Pressure stall information (PSI): resources, kinds, and the triggers of the kernel. Knows no file.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::statistic::host::Statistic;

/// What tasks wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Cpu,
    Memory,
    Io,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// At least one task waits: `some`.
    Waiting,
    /// All tasks that are not idle wait: `full`.
    Stalled,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// A trigger was armed.
    Trigger(Trigger),
    /// A trigger could not be armed.
    Refused(Refused),
    /// Tasks waited for longer than a trigger allows.
    Stall(Stall),
}

/// When the kernel reports a stall: a wait of `threshold_ns` within `window_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    pub resource: Resource,
    pub kind: Kind,
    pub threshold_ns: u64,
    pub window_ns: u64,
}

/// A configured trigger that nobody watches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    pub trigger: Trigger,
    pub reason: String,
}

/// Tasks waited for longer than a trigger allows. The kernel reports it at most once per window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    pub trigger: Trigger,
    /// Total wait since the host started, in nanoseconds, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ns: Option<u64>,
}

impl Resource {
    pub const ALL: [Resource; 3] = [Resource::Cpu, Resource::Memory, Resource::Io];

    /// The label `resource`, and the kernel's file name.
    pub fn label(self) -> &'static str {
        match self {
            Resource::Cpu => "cpu",
            Resource::Memory => "memory",
            Resource::Io => "io",
        }
    }
}

impl Kind {
    pub const ALL: [Kind; 2] = [Kind::Waiting, Kind::Stalled];

    /// The label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Waiting => "waiting",
            Kind::Stalled => "stalled",
        }
    }

    /// The word in the kernel's files.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Waiting => "some",
            Kind::Stalled => "full",
        }
    }
}

/// The statistic that sums these waits. On the host as a whole, all tasks never wait for a CPU: one of them has it.
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
