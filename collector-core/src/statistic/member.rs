//! What the largest processes of a workload hold, as it is read while its memory rises. Knows neither who is read nor what follows.

use serde::{Deserialize, Serialize};

use crate::cgroup::Id;
use crate::text;

/// At most so many processes of a workload, the largest.
pub const PROCESSES: usize = 16;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The workload's own cgroup, of the memory controller.
    pub cgroup: Id,
    /// Processes in it and below it; of very many only as many as were looked at.
    pub count: u32,
    pub processes: Vec<Process>,
}

/// Amounts in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid: u32,
    /// When it started, in clock ticks since the host did: numbers of processes are used again.
    pub started: u64,
    #[serde(deserialize_with = "text::read")]
    pub comm: String,
    /// Anonymous memory that is resident.
    pub anon: u64,
    /// Shared memory that it touched; what others touched as well counts for each.
    pub shmem: u64,
}
