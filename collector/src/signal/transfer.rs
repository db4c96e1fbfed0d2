//! transfer: copies between host and GPU, pinned host memory and device memory, as the CUDA driver was asked for them.

use collector_common::transfer::{self, word};
use serde::{Deserialize, Serialize};

use super::cgroup::Id;
use super::{Histogram, Named, RowKey, cgroup_of, comm, index_of, row};
use crate::engine::Outcome;
use crate::view::host::grow_histogram;
use crate::view::{View, grow};

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

pub(super) fn decode(record: &transfer::Refusal) -> Result<Reading, &'static str> {
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

pub(super) fn counts(key: RowKey, growth: &[u64]) -> Option<Reading> {
    let words: &[u64; word::COUNT] = row(growth)?;
    Some(Reading::Counts {
        cgroup: cgroup_of(key)?,
        calls: row(&words[word::CALLS..word::BYTES]).copied()?,
        bytes: row(&words[word::BYTES..word::FAILURES]).copied()?,
        refused: row(&words[word::FAILURES..]).copied()?,
    })
}

pub(super) fn time(key: RowKey, growth: &[u64]) -> Option<Reading> {
    let direction = *Direction::ALL.get(index_of(key)? as usize)?;
    Some(Reading::Time { direction, histogram: *row(growth)? })
}

/// Folds one reading into the view.
pub fn fold(view: &mut View, time: u64, reading: &Reading) -> Option<Outcome> {
    match reading {
        Reading::Counts { cgroup, calls, bytes, refused } => {
            let amounts = &mut view.workloads.charge(*cgroup).transfer;
            amounts.calls.iter_mut().zip(calls).for_each(|(sum, more)| grow(sum, *more));
            amounts.bytes.iter_mut().zip(bytes).for_each(|(sum, more)| grow(sum, *more));
            amounts.refused.iter_mut().zip(refused).for_each(|(sum, more)| grow(sum, *more));
            None
        }
        Reading::Time { direction, histogram } => {
            grow_histogram(&mut view.host.transfer[*direction as usize], histogram);
            None
        }
        Reading::Held { cgroup, bytes } => {
            let held = &mut view.workloads.charge(*cgroup).transfer.held;
            held.iter_mut().zip(bytes).for_each(|(sum, more)| *sum = sum.saturating_add(*more));
            None
        }
        Reading::Refused(refusal) => {
            let named = Named::new(view, time, refusal.cgroup, refusal.clone());
            Some(Outcome::AllocationRefused(Box::new(named)))
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;
    use crate::sample::{self, Sample};
    use crate::signal::test::{CONTEXT, ID, counters, engine};

    #[test]
    fn a_row_is_charged_by_direction_and_memory() {
        let mut engine = engine();
        for reading in counters("TRANSFER", RowKey::Cgroup(Some(ID)), &[1, 2, 3, 10, 20, 30, 7, 8]) {
            engine.apply(&Sample { time: 20, reading });
        }
        let transfer = engine.view().workloads.of(ID).unwrap().amounts.transfer;
        assert_eq!((transfer.calls, transfer.bytes, transfer.refused), ([1, 2, 3], [10, 20, 30], [7, 8]));
    }

    #[test]
    fn what_is_held_goes_up_and_down() {
        let mut engine = engine();
        let mut held = |bytes| {
            let reading = sample::Reading::Transfer(Reading::Held { cgroup: Some(ID), bytes });
            engine.apply(&Sample { time: 20, reading });
            engine.view().workloads.of(ID).unwrap().amounts.transfer.held
        };
        assert_eq!(held([4096, 100]), [4096, 100]);
        assert_eq!(held([-96, -100]), [4000, 0]);
    }

    #[test]
    fn a_time_has_the_direction_of_its_index_and_beyond_the_last_there_is_none() {
        let time = |index| counters("TRANSFER_TIME", RowKey::Index(index), &[1; collector_common::histogram::WORDS]);
        let [sample::Reading::Transfer(Reading::Time { direction, .. })] = &time(1)[..] else { panic!() };
        assert_eq!(*direction, Direction::DeviceToHost);
        assert_eq!(time(3), crate::signal::test::malformed());
    }

    #[test]
    fn a_refusal_becomes_an_outcome_with_its_workload() {
        let mut record = transfer::Refusal::new_zeroed();
        record.header.kind = collector_common::ring::Kind::AllocationRefused as u32;
        record.cgroup = collector_common::cgroup::Id { id: ID.id, hierarchy: ID.hierarchy };
        (record.bytes, record.code, record.memory) = (1 << 40, 2, 1);
        let sample = crate::signal::decode_record(record.as_bytes(), &CONTEXT).unwrap();
        let [Outcome::AllocationRefused(told)] = &engine().apply(&sample)[..] else { panic!() };
        assert_eq!((told.workload.as_deref(), told.fact.memory), (Some("/a"), Memory::Device));
        record.memory = 2;
        let malformed = crate::signal::decode_record(record.as_bytes(), &CONTEXT).unwrap_err();
        assert_eq!(malformed.why, "no such memory");
    }
}
