//! fault: page faults by cgroup, mode and access, and the time of those that needed IO.

use collector_common::fault::word;
use serde::{Deserialize, Serialize};

use super::{Context, Need, RowKey, cgroup_of, row};
use crate::cgroup::Id;
use crate::count::Histogram;

/// For faults by mode and access: in user mode, in kernel mode, and where the kernel does not report the mode.
pub const FAULTS: [Need; 3] = [&[&["fault_user"]], &[&["fault_kernel"]], &[&["fault_any"]]];
/// For major faults.
pub const MAJOR: Need = &[&["fault_major"]];
/// For the time of major faults.
pub const MAJOR_TIME: Need = &[
    &["fault_file_exit", "fault_file_entry"],
    &["fault_swap_exit", "fault_swap_entry"],
    &["fault_file_kretprobe", "fault_file_kprobe"],
    &["fault_swap_kretprobe", "fault_swap_kprobe"],
];

// A histogram on the heap would be an allocation per tick.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// The faults of one cgroup's tasks.
    Counts {
        /// Absent for the sum of all cgroups that the kernel had no room to count separately.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        /// See [`word`]: read, write and execute in user mode, the same in kernel mode, of any sort, major.
        counts: [u64; word::COUNT],
    },
    /// Durations of all faults of the host that needed IO.
    MajorTime { histogram: Histogram },
}

pub(crate) fn counts(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    emit(Reading::Counts { cgroup: cgroup_of(key)?, counts: *row(growth)? });
    Some(())
}

pub(crate) fn time(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    (key == RowKey::Index(0)).then_some(())?;
    emit(Reading::MajorTime { histogram: *row(growth)? });
    Some(())
}
