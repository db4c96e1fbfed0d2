//! transfer: copies between host and GPU, pinned host memory and GPU memory, as requested from the CUDA driver.

use collector_common::transfer::{self, word};
use serde::{Deserialize, Serialize};

use super::{Context, Need, RowKey, cgroup_of, comm, exact, index_of, row};
use crate::cgroup::Id;
use crate::count::Histogram;
use crate::text;

/// For copies, by [`Direction`].
pub const COPIES: [Need; transfer::DIRECTIONS] = [
    &[&["transfer_copy_end", "transfer_to_device"]],
    &[&["transfer_copy_end", "transfer_to_host"]],
    &[&["transfer_copy_end", "transfer_copy"]],
];
/// For memory held, by [`Memory`]. Without the programs that see releases, the number would only grow.
pub const HELD: [Need; transfer::MEMORIES] = [
    &[
        &["transfer_allocation_end", "transfer_pin", "transfer_release_end", "transfer_unpin"],
        &["transfer_allocation_end", "transfer_register", "transfer_release_end", "transfer_unpin"],
    ],
    &[&["transfer_allocation_end", "transfer_allocate", "transfer_release_end", "transfer_free"]],
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// From host memory to a GPU's.
    HostToDevice,
    /// From a GPU's memory to the host's.
    DeviceToHost,
    Unknown,
}

impl Direction {
    /// In the order of the eBPF program's numbers.
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

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Memory {
    /// Pinned host memory.
    Pinned,
    /// GPU memory.
    Device,
}

impl Memory {
    /// In the order of the eBPF program's numbers.
    pub const ALL: [Memory; transfer::MEMORIES] = [Memory::Pinned, Memory::Device];

    /// The label `memory`.
    pub fn label(self) -> &'static str {
        match self {
            Memory::Pinned => "pinned_host",
            Memory::Device => "device",
        }
    }
}

// A histogram on the heap would be an allocation per tick.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// Requests by the tasks of one cgroup.
    Counts {
        /// Absent for the sum of all cgroups that the kernel had no room to count separately.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        /// Copies, in the order of [`Direction::ALL`].
        calls: [u64; transfer::DIRECTIONS],
        /// Bytes of these copies.
        bytes: [u64; transfer::DIRECTIONS],
        /// Allocations that were refused, in the order of [`Memory::ALL`].
        refused: [u64; transfer::MEMORIES],
    },
    /// Durations of all copies of one direction on the host.
    Time { direction: Direction, histogram: Histogram },
    /// Change in what the processes of one cgroup hold: negative if it shrank.
    Held {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        /// Bytes, in the order of [`Memory::ALL`].
        bytes: [i64; transfer::MEMORIES],
    },
    /// One allocation that the driver refused.
    Refused(Refusal),
}

/// One allocation that the driver refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// The memory cgroup of the task that asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    pub memory: Memory,
    /// Bytes that it asked for.
    pub bytes: u64,
    /// The driver's return code (`CUresult`): 2 is out of memory.
    pub code: u32,
    /// Process id of the task.
    pub pid: u32,
    /// Thread id of the task.
    pub tid: u32,
    #[serde(deserialize_with = "text::read")]
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
    fn the_index_of_a_time_is_its_direction_and_an_unknown_one_is_malformed() {
        let time = |index| counters("TRANSFER_TIME", RowKey::Index(index), &[1; collector_common::histogram::WORDS]);
        let [sample::Reading::Transfer(Reading::Time { direction, .. })] = &time(1)[..] else { panic!() };
        assert_eq!(*direction, Direction::DeviceToHost);
        assert_eq!(time(3), crate::engine::test::malformed());
    }
}
