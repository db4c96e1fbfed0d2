//! block: IO of block devices, by device and by the cgroup that caused it.

use std::sync::Arc;

use collector_common::block::{self, DeviceOperation, OPERATIONS, device_word, word};
use serde::{Deserialize, Serialize};
use zerocopy::FromBytes;

use super::{Context, Need, RowKey, cgroup_of, exact, row};
use crate::cgroup::Id;
use crate::count::Histogram;

/// For IOs, their bytes and their times. Of some the times may not be known: those are counted.
pub const COMPLETED: Need = &[&["block_rq_complete"], &["block_rq_complete_raw"]];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Number of the driver.
    pub major: u32,
    /// Number of the device within the driver.
    pub minor: u32,
}

impl Device {
    /// From the kernel's internal `dev_t`.
    pub fn from_kernel(device: u32) -> Device {
        Device { major: device >> 20, minor: device & 0xf_ffff }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    Read,
    Write,
    /// Discards and secure erases.
    Discard,
    /// Flushes of the device's cache.
    Flush,
    /// Everything else.
    Other,
}

impl Operation {
    /// In the order of the eBPF program's numbers.
    pub const ALL: [Operation; OPERATIONS] =
        [Operation::Read, Operation::Write, Operation::Discard, Operation::Flush, Operation::Other];

    /// The label `operation`.
    pub fn label(self) -> &'static str {
        match self {
            Operation::Read => "read",
            Operation::Write => "write",
            Operation::Discard => "discard",
            Operation::Flush => "flush",
            Operation::Other => "other",
        }
    }

    fn from_u32(operation: u32) -> Option<Operation> {
        Operation::ALL.get(operation as usize).copied()
    }
}

// A histogram on the heap would be an allocation per tick.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// IO of one device and one operation.
    Device {
        device: Device,
        operation: Operation,
        /// Times from the creation of a request to its issue.
        queue: Histogram,
        /// Times from issue to completion.
        service: Histogram,
        /// Bytes completed.
        bytes: u64,
        /// Requests that completed with an error.
        errors: u64,
        /// Requests whose time of issue is not known: they are in neither histogram.
        #[serde(default, skip_serializing_if = "is_zero")]
        untimed: u64,
    },
    /// A device's name, sent before its first IO.
    Name {
        device: Device,
        /// For example nvme0n1.
        name: String,
    },
    /// IO of one cgroup and one operation.
    Workload {
        /// Absent for the sum of all cgroups that the kernel had no room to count separately.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup: Option<Id>,
        operation: Operation,
        ios: u64,
        /// Bytes completed.
        bytes: u64,
        /// Nanoseconds from issue to completion, summed.
        ns: u64,
    },
    /// One IO that failed, or took at least as long as the threshold.
    Io(Io),
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// One IO that failed, or took at least as long as the threshold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Io {
    /// The block cgroup that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    pub device: Device,
    pub operation: Operation,
    /// Nanoseconds from the creation of the request to its issue.
    pub queue_ns: u64,
    /// Nanoseconds from issue to completion; zero if the issue is not known.
    pub service_ns: u64,
    /// Bytes completed.
    pub bytes: u64,
    /// The kernel's status: a `blk_status_t`, or before 6.1 a negative errno. Zero is success.
    pub status: i32,
}

/// An IO with the name of its device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OnDevice {
    /// The device's name; its number where the name is not known.
    pub device: Arc<str>,
    pub io: Io,
}

pub(crate) fn record(bytes: &[u8], _context: &Context) -> Result<Reading, &'static str> {
    let record: block::Io = exact(bytes)?;
    Ok(Reading::Io(Io {
        cgroup: Id::from_record(record.cgroup),
        device: Device::from_kernel(record.device.device),
        operation: Operation::from_u32(record.device.operation).ok_or("no such operation")?,
        queue_ns: record.queue_ns,
        service_ns: record.service_ns,
        bytes: record.bytes.into(),
        status: record.status,
    }))
}

pub(crate) fn device(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    let RowKey::Hash(key) = key else { return None };
    let key = DeviceOperation::read_from_bytes(&key).ok()?;
    let words: &[u64; device_word::COUNT] = row(growth)?;
    emit(Reading::Device {
        device: Device::from_kernel(key.device),
        operation: Operation::from_u32(key.operation)?,
        queue: *words[device_word::QUEUE..].first_chunk()?,
        service: *words[device_word::SERVICE..].first_chunk()?,
        bytes: words[device_word::BYTES],
        errors: words[device_word::ERRORS],
        untimed: words[device_word::UNTIMED],
    });
    Some(())
}

pub(crate) fn workload(key: RowKey, growth: &[u64], _context: &Context, emit: &mut dyn FnMut(Reading)) -> Option<()> {
    let words: &[u64; OPERATIONS * word::COUNT] = row(growth)?;
    let cgroup = cgroup_of(key)?;
    for (operation, words) in Operation::ALL.into_iter().zip(words.chunks_exact(word::COUNT)) {
        if words.iter().any(|&word| word > 0) {
            emit(Reading::Workload {
                cgroup,
                operation,
                ios: words[word::IOS],
                bytes: words[word::BYTES],
                ns: words[word::NS],
            });
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {

    use zerocopy::IntoBytes;

    use super::*;
    use crate::engine::test::{counters, malformed};
    use crate::sample::{self};

    const NVME: Device = Device { major: 259, minor: 3 };

    fn key(device: Device, operation: u32) -> RowKey {
        let key = DeviceOperation { device: device.major << 20 | device.minor, operation };
        RowKey::Hash(key.as_bytes().try_into().unwrap())
    }

    #[test]
    fn the_words_of_a_device_become_its_fields() {
        let words: Vec<u64> = (0..device_word::COUNT as u64).collect();
        let readings = counters("BLOCK", key(NVME, 1), &words);
        let [sample::Reading::Block(Reading::Device { device, operation, queue, service, bytes, errors, untimed })] =
            readings.as_slice()
        else {
            panic!("{readings:?}")
        };
        assert_eq!((*device, *operation), (NVME, Operation::Write));
        assert_eq!((queue[0], queue[27], service[0], service[27]), (0, 27, 28, 55));
        assert_eq!((*bytes, *errors, *untimed), (56, 57, 58));
        assert_eq!(counters("BLOCK", key(NVME, 5), &words), malformed());
    }
}
