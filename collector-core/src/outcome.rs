//! [`Outcome`]: the output of the engine: events that are reported at once, incidents, and alerts. Does not know where they go.

use std::sync::Arc;

use serde::Serialize;

use crate::action::Object;
use crate::alert::Alert;
use crate::circuit::unit::Record;
use crate::incident::Incident;
use crate::learn;
use crate::lease::{Answer, Change, Sum};
use crate::level;
use crate::pressure;
use crate::signal::{block, compaction, kill, oom, reclaim, transfer};
use crate::standing::Standing;
use crate::tier::Quarter;

/// Something that is reported at once, with the names of its workloads.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The OOM killer killed a process.
    OomKill(Box<oom::Named>),
    /// The OOM killer found a process that was dying already, and let it finish.
    Dying(Box<oom::Named>),
    /// While memory was short, a process ended another workload's process with a signal, or asked it to end.
    Signal(Box<kill::Named>),
    /// A long reclaim stall.
    ReclaimStall(Box<Named<reclaim::Stall>>),
    /// A long compaction stall.
    CompactionStall(Box<Named<compaction::Stall>>),
    SlowIo(Box<Named<block::OnDevice>>),
    FailedIo(Box<Named<block::OnDevice>>),
    /// The CUDA driver refused an allocation.
    AllocationRefused(Box<Named<transfer::Refusal>>),
    /// Tasks of the host waited for longer than a trigger allows.
    Pressure(pressure::Stall),
    /// The level of the host or of a GPU changed.
    Level(Box<level::Change>),
    /// An incident, when it begins and when it is complete.
    Incident(Box<Incident>),
    /// An alert fires or resolves.
    Alert(Box<Alert>),
    /// An advice begins to hold, was followed, or holds no longer.
    Advice(Box<Standing>),
    /// A quarter of an hour of the history, for the disk's tier.
    History(Box<Quarter>),
    /// Something happened to a lease.
    Lease(Box<Change>),
    /// What was learned, for a restart.
    Learned(Box<learn::Change>),
    /// What happened to many leases of one user, where single ones would be too many.
    LeaseSum(Box<Sum>),
    /// What is remembered of a unit that fails.
    Unit(Box<Record>),
    /// What a request is answered with. It comes after what happened because of it.
    Answer(Box<Answer>),
}

impl Outcome {
    /// The workload that it is about; `None` if it is about the host.
    pub fn workload(&self) -> Option<&str> {
        match self {
            Outcome::OomKill(kill) | Outcome::Dying(kill) => kill.workload.as_deref(),
            Outcome::Signal(signal) => signal.workload.as_deref(),
            Outcome::ReclaimStall(stall) => stall.workload.as_deref(),
            Outcome::CompactionStall(stall) => stall.workload.as_deref(),
            Outcome::SlowIo(io) | Outcome::FailedIo(io) => io.workload.as_deref(),
            Outcome::AllocationRefused(refusal) => refusal.workload.as_deref(),
            Outcome::Lease(change) => change.workload.as_deref(),
            Outcome::Pressure(_) | Outcome::Level(_) | Outcome::History(_) => None,
            Outcome::LeaseSum(_) | Outcome::Unit(_) | Outcome::Learned(_) | Outcome::Answer(_) => None,
            Outcome::Advice(standing) => match &standing.advice.object {
                Object::Workload(name) => Some(name.as_str()),
                _ => None,
            },
            Outcome::Incident(incident) => incident.labels.get("workload").map(String::as_str),
            Outcome::Alert(alert) => alert.labels.get("workload").map(String::as_str),
        }
    }

    /// Whether there may be hundreds a second of it. Limits count such outcomes apart: they leave the room for kills alone.
    pub fn is_frequent(&self) -> bool {
        use Outcome::*;
        match self {
            Dying(_) | ReclaimStall(_) | CompactionStall(_) | SlowIo(_) | FailedIo(_) | AllocationRefused(_)
            | Lease(_) | LeaseSum(_) => true,
            OomKill(_) | Signal(_) | Pressure(_) | Level(_) | Incident(_) | Alert(_) | Advice(_) | History(_) => false,
            Unit(_) | Learned(_) | Answer(_) => false,
        }
    }
}

impl From<Incident> for Outcome {
    fn from(incident: Incident) -> Outcome {
        Outcome::Incident(Box::new(incident))
    }
}

/// A fact with the name of its workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Named<T> {
    /// When it ended, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Absent if the cgroup is unknown.
    pub workload: Option<Arc<str>>,
    pub fact: T,
}
