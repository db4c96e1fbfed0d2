//! compaction: a task had to move pages before it got a contiguous block.

use collector_common::compaction::{self, word};
use serde::{Deserialize, Serialize};

use super::{Context, Need, RowKey, cgroup_of, comm, exact, row};
use crate::cgroup::Id;
use crate::count::Histogram;
use crate::text;

/// For stalls.
pub const STALLS: Need = &[&["compaction_end", "compaction_begin"]];

// A histogram on the heap would be an allocation per tick.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// The stalls of one cgroup's tasks.
    Counts {
        /// Absent for the sum of all cgroups that the kernel had no room to count separately.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        stalls: u64,
        /// Time of these stalls in nanoseconds.
        ns: u64,
    },
    /// Durations of all stalls of the host.
    Time { histogram: Histogram },
    /// One stall longer than the threshold.
    Stall(Stall),
}

/// One stall longer than the threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stall {
    /// The memory cgroup of the task that waited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// Duration in nanoseconds.
    pub ns: u64,
    /// Process id of the task.
    pub pid: u32,
    /// Thread id of the task.
    pub tid: u32,
    #[serde(deserialize_with = "text::read")]
    pub comm: String,
}

pub(crate) fn record(bytes: &[u8], _context: &Context) -> Result<Reading, &'static str> {
    let record: compaction::Stall = exact(bytes)?;
    Ok(Reading::Stall(Stall {
        cgroup: Id::from_record(record.cgroup),
        ns: record.ns,
        pid: record.task.pid,
        tid: record.task.tid,
        comm: comm(&record.task.comm),
    }))
}

pub(crate) fn counts(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    let words: &[u64; word::COUNT] = row(growth)?;
    emit(Reading::Counts { cgroup: cgroup_of(key)?, stalls: words[word::STALLS], ns: words[word::NS] });
    Some(())
}

pub(crate) fn time(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    (key == RowKey::Index(0)).then_some(())?;
    emit(Reading::Time { histogram: *row(growth)? });
    Some(())
}
