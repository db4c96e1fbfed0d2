//! reclaim: a task had to free memory before it got any. Separate figures say who waited, and whose memory was reclaimed.

use collector_common::reclaim::{self, word};
use serde::{Deserialize, Serialize};

use super::{Context, Need, RowKey, cgroup_of, comm, exact, index_of, row};
use crate::cgroup::Id;
use crate::count::Histogram;
use crate::text;

/// For stalls, by [`Kind`].
pub const STALLS: [Need; reclaim::KINDS] =
    [&[&["reclaim_direct_end", "reclaim_direct_begin"]], &[&["reclaim_memcg_end", "reclaim_memcg_begin"]]];

/// Why a task had to reclaim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The host was short of free pages.
    Direct,
    /// A memory cgroup was at its limit.
    Memcg,
}

impl Kind {
    /// In the order of the eBPF program's numbers.
    pub const ALL: [Kind; reclaim::KINDS] = [Kind::Direct, Kind::Memcg];

    /// The label `kind`.
    pub fn label(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Memcg => "memcg",
        }
    }

    fn from_u32(kind: u32) -> Option<Kind> {
        Kind::ALL.get(kind as usize).copied()
    }
}

// A histogram on the heap would be an allocation per tick.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// The stalls of one cgroup's tasks, and what was reclaimed from it.
    Counts {
        /// Absent for the sum of all cgroups that the kernel had no room to count separately.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        kind: Kind,
        stalls: u64,
        /// Time of these stalls in nanoseconds.
        ns: u64,
        /// Memory that they reclaimed, from any cgroup.
        bytes: u64,
        /// Memory reclaimed from the cgroup and the cgroups below it, by any task.
        target_bytes: u64,
    },
    /// Durations of all stalls of the host.
    Time { kind: Kind, histogram: Histogram },
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
    pub kind: Kind,
    /// Duration in nanoseconds.
    pub ns: u64,
    /// Memory that it reclaimed during the stall.
    pub bytes: u64,
    /// The order of the allocation that had to wait (2^order pages).
    pub order: u32,
    /// Process id of the task.
    pub pid: u32,
    /// Thread id of the task.
    pub tid: u32,
    #[serde(deserialize_with = "text::read")]
    pub comm: String,
}

pub(crate) fn record(bytes: &[u8], context: &Context) -> Result<Reading, &'static str> {
    let record: reclaim::Stall = exact(bytes)?;
    Ok(Reading::Stall(Stall {
        cgroup: Id::from_record(record.cgroup),
        kind: Kind::from_u32(record.kind).ok_or("no such kind of reclaim")?,
        ns: record.ns,
        bytes: record.pages.saturating_mul(context.page_size),
        order: record.order,
        pid: record.task.pid,
        tid: record.task.tid,
        comm: comm(&record.task.comm),
    }))
}

pub(crate) fn counts(key: RowKey, growth: &[u64], context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    let words: &[u64; reclaim::KINDS * word::COUNT] = row(growth)?;
    let cgroup = cgroup_of(key)?;
    let bytes = |pages: u64| pages.saturating_mul(context.page_size);
    for (kind, words) in Kind::ALL.into_iter().zip(words.chunks_exact(word::COUNT)) {
        if words.iter().any(|&word| word > 0) {
            emit(Reading::Counts {
                cgroup,
                kind,
                stalls: words[word::STALLS],
                ns: words[word::NS],
                bytes: bytes(words[word::PAGES]),
                target_bytes: bytes(words[word::TARGET_PAGES]),
            });
        }
    }
    Some(())
}

pub(crate) fn time(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    emit(Reading::Time { kind: Kind::from_u32(index_of(key)?)?, histogram: *row(growth)? });
    Some(())
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::engine::test::{ID, counters, malformed};
    use crate::sample::{self};

    #[test]
    fn one_row_has_two_kinds_and_a_kind_without_growth_is_left_out() {
        let row = RowKey::Cgroup(Some(ID));
        let memcg = sample::Reading::Reclaim(Reading::Counts {
            cgroup: Some(ID),
            kind: Kind::Memcg,
            stalls: 1,
            ns: 2,
            bytes: 3 * 4096,
            target_bytes: 4 * 4096,
        });
        assert_eq!(counters("RECLAIM", row, &[0, 0, 0, 0, 1, 2, 3, 4]), [memcg]);
        assert_eq!(counters("RECLAIM", row, &[1, 0, 0, 0, 0, 0, 0, 4]).len(), 2);
    }

    #[test]
    fn a_histogram_of_no_kind_is_malformed() {
        let histogram = Histogram::default();
        assert_eq!(counters("RECLAIM_TIME", RowKey::Index(2), &histogram), malformed());
    }
}
