//! transfer: copies between host and GPU, pinned host memory and device memory, as the CUDA driver was asked for them.

use collector_common::transfer::{self, word};
use serde::{Deserialize, Serialize};

use super::{Context, Need, RowKey, cgroup_of, comm, exact, index_of, row};
use crate::cgroup::Id;
use crate::count::Histogram;

/// For copies, by [`Direction`].
pub const COPIES: [Need; transfer::DIRECTIONS] = [
    &[&["transfer_copy_end", "transfer_to_device"]],
    &[&["transfer_copy_end", "transfer_to_host"]],
    &[&["transfer_copy_end", "transfer_copy"]],
];
/// For what is held, by [`Memory`]. Without seeing what is given back, the number would only ever grow.
pub const HELD: [Need; transfer::MEMORIES] = [
    &[
        &["transfer_allocation_end", "transfer_pin", "transfer_release_end", "transfer_unpin"],
        &["transfer_allocation_end", "transfer_register", "transfer_release_end", "transfer_unpin"],
    ],
    &[&["transfer_allocation_end", "transfer_allocate", "transfer_release_end", "transfer_free"]],
];

/// Where a copy goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From host memory to a GPU's.
    HostToDevice,
    /// From a GPU's memory to the host's.
    DeviceToHost,
    /// Not known.
    Unknown,
}

impl Direction {
    /// Every direction, in the order of the kernel's numbers.
    pub const ALL: [Direction; transfer::DIRECTIONS] =
        [Direction::HostToDevice, Direction::DeviceToHost, Direction::Unknown];

    /// The label `direction`.
    pub fn label(self) -> &'static str {
        match self {
            Direction::HostToDevice => "host_to_device",
            Direction::DeviceToHost => "device_to_host",
            Direction::Unknown => "unknown",
        }
    }
}

/// What is allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Host memory that is pinned.
    Pinned,
    /// A GPU's.
    Device,
}

impl Memory {
    /// Every sort, in the order of the kernel's numbers.
    pub const ALL: [Memory; transfer::MEMORIES] = [Memory::Pinned, Memory::Device];

    /// The label `memory`.
    pub fn label(self) -> &'static str {
        match self {
            Memory::Pinned => "pinned_host",
            Memory::Device => "device",
        }
    }
}

/// What is read of transfers.
// A histogram on the heap would be an allocation a tick.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// What the tasks of one cgroup asked for.
    Counts {
        /// The cgroup; absent for the sum of all that the kernel had no room to count apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        /// Copies, in the order of [`Direction::ALL`].
        calls: [u64; transfer::DIRECTIONS],
        /// Their bytes.
        bytes: [u64; transfer::DIRECTIONS],
        /// Allocations that were refused, in the order of [`Memory::ALL`].
        refused: [u64; transfer::MEMORIES],
    },
    /// The time that all copies of one direction took.
    Time {
        /// Where they went.
        direction: Direction,
        /// How long they took.
        histogram: Histogram,
    },
    /// By how much that grew, or shrank, which the processes of one cgroup hold.
    Held {
        /// The cgroup.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        /// Bytes, in the order of [`Memory::ALL`].
        bytes: [i64; transfer::MEMORIES],
    },
    /// One allocation that was refused.
    Refused(Refusal),
}

/// One allocation that the driver refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The memory cgroup of the task that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// Of what.
    pub memory: Memory,
    /// How many bytes it asked for.
    pub bytes: u64,
    /// The driver's answer (`CUresult`): 2 is out of memory.
    pub code: u32,
    /// Its process id.
    pub pid: u32,
    /// Its thread id.
    pub tid: u32,
    /// Its name.
    pub comm: String,
}

pub(crate) fn record(bytes: &[u8], _context: &Context) -> Result<Reading, &'static str> {
    let record: transfer::Refusal = exact(bytes)?;
    Ok(Reading::Refused(Refusal {
        cgroup: Id::from_record(record.cgroup),
        memory: *Memory::ALL.get(record.memory as usize).ok_or("no such memory")?,
        bytes: record.bytes,
        code: record.code,
        pid: record.task.pid,
        tid: record.task.tid,
        comm: comm(&record.task.comm),
    }))
}

pub(crate) fn counts(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    let words: &[u64; word::COUNT] = row(growth)?;
    emit(Reading::Counts {
        cgroup: cgroup_of(key)?,
        calls: row(&words[word::CALLS..word::BYTES]).copied()?,
        bytes: row(&words[word::BYTES..word::FAILURES]).copied()?,
        refused: row(&words[word::FAILURES..]).copied()?,
    });
    Some(())
}

pub(crate) fn time(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    let direction = *Direction::ALL.get(index_of(key)? as usize)?;
    emit(Reading::Time { direction, histogram: *row(growth)? });
    Some(())
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::engine::test::counters;
    use crate::sample::{self};

    #[test]
    fn a_time_has_the_direction_of_its_index_and_beyond_the_last_there_is_none() {
        let time = |index| counters("TRANSFER_TIME", RowKey::Index(index), &[1; collector_common::histogram::WORDS]);
        let [sample::Reading::Transfer(Reading::Time { direction, .. })] = &time(1)[..] else { panic!() };
        assert_eq!(*direction, Direction::DeviceToHost);
        assert_eq!(time(3), crate::engine::test::malformed());
    }
}
