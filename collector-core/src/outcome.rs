//! [`Outcome`]: what leaves the engine. Facts worth telling at once, incidents, and alerts; where they go is not known here.

use std::sync::Arc;

use serde::Serialize;

use crate::alert::Alert;
use crate::incident::Incident;
use crate::pressure;
use crate::signal::{block, compaction, oom, reclaim, transfer};

/// A fact worth telling somebody about at once, with the workloads in it named.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A process was killed because memory was out.
    OomKill(Box<oom::Named>),
    /// A task waited long for memory to be reclaimed.
    ReclaimStall(Box<Named<reclaim::Stall>>),
    /// A task waited long for memory to be compacted.
    CompactionStall(Box<Named<compaction::Stall>>),
    /// A block IO took long.
    SlowIo(Box<Named<block::OnDevice>>),
    /// A block IO failed.
    FailedIo(Box<Named<block::OnDevice>>),
    /// The CUDA driver refused an allocation.
    AllocationRefused(Box<Named<transfer::Refusal>>),
    /// Tasks of the host waited for longer than a trigger allows.
    Pressure(pressure::Stall),
    /// Something that needs explaining, with its evidence.
    Incident(Box<Incident>),
    /// A rule holds, or no longer holds.
    Alert(Box<Alert>),
}

impl From<Incident> for Outcome {
    fn from(incident: Incident) -> Outcome {
        Outcome::Incident(Box::new(incident))
    }
}

/// A fact about a workload, with its name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named<T> {
    /// When it was over, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Whose it is; absent where the cgroup is not known.
    pub workload: Option<Arc<str>>,
    /// The fact.
    pub fact: T,
}
