//! Statistics of a workload that is watched closely: what its tasks wait for, and what of its memory is read again. Knows neither who
//! is watched nor how it is read.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cgroup::Id;

super::statistics! {
    {
        /// Time in which its tasks were ready and waited for a CPU, summed over the tasks, in nanoseconds.
        CpuWait: Counter = "cpu_wait",
        /// Its tasks.
        Tasks: Gauge = "tasks",
        /// What its CPU quota allows, in thousandths of a CPU: the least of its own and those above it.
        CpuQuota: Limit = "cpu_quota",
        /// Periods of a CPU quota, its own or one above it, in which anything ran.
        CpuPeriods: Counter = "cpu_periods",
        /// Those in which it was throttled, added up over its own quota and those above it.
        CpuThrottledPeriods: Counter = "cpu_throttled_periods",
        /// Page faults that needed IO.
        MajorFaults: Counter = "major_faults",
        /// Bytes of files that were dropped from memory and soon needed again.
        RefaultFile: Counter = "refault_file",
        /// Bytes that were swapped out and soon needed again.
        RefaultAnon: Counter = "refault_anon",
    }
}

/// A reading of one workload, in absolute numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// The workload's own cgroup, of the memory controller.
    pub cgroup: Id,
    pub values: Values,
    /// Memory nodes of the host, and what the workload has to do with each. Empty on a host with one.
    #[serde(default, skip_serializing_if = "<[Node]>::is_empty")]
    pub nodes: Arc<[Node]>,
    /// Nanoseconds until it is read again.
    pub interval: u64,
}

/// A memory node, as one workload uses it. What could not be read is absent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub node: u32,
    /// Memory of the workload in this node, in bytes: anonymous memory and files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether any of its tasks may run on CPUs of this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<bool>,
    /// The CPUs of this node, as the kernel lists them: `0-15,32-47`. Empty: it has none.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub cpus: Arc<str>,
}
