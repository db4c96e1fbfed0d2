//! Which record and which map belongs to which signal: bytes of a ring, and growth of a row of counters, become samples and
//! readings. Never panics, whatever the bytes.

use collector_common::lost;
use collector_common::ring::{Header, Kind};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{Context, RowKey, block, cgroup, compaction, fault, kswapd, oom, reclaim, row, transfer};
use crate::sample::{Lost, Reading, Sample};
use crate::stage::Stage;

/// A record that is not what the programs send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The kind that it claims to be; zero if it is too short to tell.
    pub kind: u32,
    /// What is wrong with it.
    pub why: &'static str,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "malformed record of kind {}: {}", self.kind, self.why)
    }
}

impl std::error::Error for Malformed {}

/// Decodes one record of a ring. Never panics, whatever the bytes.
pub fn record(bytes: &[u8], context: &Context) -> Result<Sample, Malformed> {
    let Ok((header, _)) = Header::read_from_prefix(bytes) else {
        return Err(Malformed { kind: 0, why: "shorter than a header" });
    };
    let reading = match Kind::from_u32(header.kind) {
        Some(Kind::OomKill) => exact(bytes).and_then(|record| oom::decode(&record, context)).map(Reading::Oom),
        Some(Kind::CgroupChange) => cgroup::decode(bytes).map(Reading::Cgroup),
        Some(Kind::ReclaimStall) => {
            exact(bytes).and_then(|record| reclaim::decode(&record, context)).map(Reading::Reclaim)
        }
        Some(Kind::CompactionStall) => exact(bytes).map(|record| compaction::decode(&record)).map(Reading::Compaction),
        Some(Kind::BlockIo) => exact(bytes).and_then(|record| block::decode(&record)).map(Reading::Block),
        Some(Kind::AllocationRefused) => {
            exact(bytes).and_then(|record| transfer::decode(&record)).map(Reading::Transfer)
        }
        None => Err("no such kind"),
    };
    match reading {
        Ok(reading) => Ok(Sample { time: header.time_ns.saturating_add(context.clock_offset_ns), reading }),
        Err(why) => Err(Malformed { kind: header.kind, why }),
    }
}

/// Turns the growth of one row of a counter map since the last tick into readings. A row that is not shaped as its
/// signal says is counted as lost, stage `malformed`. Allocates nothing.
pub fn counters(map: &str, key: RowKey, growth: &[u64], context: &Context, emit: &mut dyn FnMut(Reading)) {
    let decoded = match map {
        "RECLAIM" => reclaim::counts(key, growth, context, &mut |reading| emit(Reading::Reclaim(reading))),
        "RECLAIM_TIME" => reclaim::time(key, growth).map(|reading| emit(Reading::Reclaim(reading))),
        "KSWAPD" => kswapd::counts(key, growth).map(|reading| emit(Reading::Kswapd(reading))),
        "COMPACTION" => compaction::counts(key, growth).map(|reading| emit(Reading::Compaction(reading))),
        "COMPACTION_TIME" => compaction::time(key, growth).map(|reading| emit(Reading::Compaction(reading))),
        "FAULT" => fault::counts(key, growth).map(|reading| emit(Reading::Fault(reading))),
        "MAJOR_FAULT_TIME" => fault::time(key, growth).map(|reading| emit(Reading::Fault(reading))),
        "BLOCK" => block::device(key, growth).map(|reading| emit(Reading::Block(reading))),
        "BLOCK_IO" => block::workload(key, growth, &mut |reading| emit(Reading::Block(reading))),
        "TRANSFER" => transfer::counts(key, growth).map(|reading| emit(Reading::Transfer(reading))),
        "TRANSFER_TIME" => transfer::time(key, growth).map(|reading| emit(Reading::Transfer(reading))),
        "LOST" => losses(key, growth, emit),
        _ => None,
    };
    if decoded.is_none() {
        emit(Reading::Lost(Lost { stage: Stage::Malformed, count: 1 }));
    }
}

fn losses(key: RowKey, growth: &[u64], emit: &mut dyn FnMut(Reading)) -> Option<()> {
    let counts: &[u64; lost::STAGES] = row(growth)?;
    (key == RowKey::Index(0)).then_some(())?;
    for (stage, &count) in lost::Stage::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0) {
        emit(Reading::Lost(Lost { stage: stage.into(), count }));
    }
    Some(())
}

/// The bytes as a record of a fixed size.
fn exact<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<T, &'static str> {
    T::read_from_bytes(bytes).map_err(|_| "wrong size")
}

#[cfg(test)]
mod tests {
    use collector_common::{Key, SIGNALS};
    use zerocopy::IntoBytes;

    use super::record as decode_record;
    use super::*;
    use crate::engine::test::{CONTEXT, ID, counters, malformed};

    /// A record of each kind with nothing but its header set, and so for the most part valid.
    fn records() -> Vec<Vec<u8>> {
        SIGNALS
            .iter()
            .filter_map(|signal| signal.record)
            .map(|record| {
                let mut bytes = vec![0; record.size];
                bytes[..16].copy_from_slice(Header::new(record.kind, 7).as_bytes());
                bytes
            })
            .collect()
    }

    #[test]
    fn the_time_is_moved_to_the_epoch() {
        let sample = decode_record(&records()[0], &CONTEXT).unwrap();
        assert_eq!(sample.time, 1_007);
    }

    #[test]
    fn a_record_cut_anywhere_is_malformed() {
        for record in records() {
            for length in 0..record.len() {
                let malformed = decode_record(&record[..length], &CONTEXT).unwrap_err();
                assert!(!malformed.why.is_empty());
                assert_eq!(malformed.kind == 0, length < 16, "{malformed}");
            }
        }
    }

    #[test]
    fn a_record_with_a_tail_too_many_is_malformed() {
        for mut record in records() {
            if record[0] == Kind::CgroupChange as u8 {
                continue; // it has a tail by right
            }
            record.push(0);
            assert_eq!(decode_record(&record, &CONTEXT).unwrap_err().why, "wrong size");
        }
    }

    #[test]
    fn unknown_kinds_are_malformed() {
        for kind in [0, 7, u32::MAX] {
            let mut bytes = vec![0; 200];
            bytes[..4].copy_from_slice(&kind.to_ne_bytes());
            assert_eq!(decode_record(&bytes, &CONTEXT), Err(Malformed { kind, why: "no such kind" }));
        }
    }

    #[test]
    fn random_bytes_never_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for round in 0..20_000_u32 {
            let mut bytes: Vec<u8> = (0..random() % 300).map(|_| random() as u8).collect();
            if bytes.len() > 4 {
                bytes[..4].copy_from_slice(&(round % 7).to_ne_bytes());
            }
            let _ = decode_record(&bytes, &CONTEXT);
        }
    }

    #[test]
    fn every_map_of_the_catalogue_is_decoded_and_its_shape_checked() {
        let counters_of = SIGNALS.iter().flat_map(|signal| signal.counters).chain([&lost::COUNTERS]);
        for map in counters_of {
            let (right, wrong) = match map.key {
                Key::Slot => (RowKey::Cgroup(Some(ID)), RowKey::Index(0)),
                Key::Index => (RowKey::Index(0), RowKey::Hash([0; 8])),
                Key::Hash => (RowKey::Hash([0; 8]), RowKey::Cgroup(None)),
            };
            let ones = vec![1; map.words];
            let readings = counters(map.map, right, &ones);
            assert!(!readings.is_empty() && readings != malformed(), "{}", map.map);
            assert_eq!(counters(map.map, wrong, &ones), malformed(), "{} by a wrong key", map.map);
            assert_eq!(counters(map.map, right, &ones[1..]), malformed(), "{} short of a word", map.map);
        }
        assert_eq!(counters("NO_SUCH_MAP", RowKey::Index(0), &[1]), malformed());
    }

    #[test]
    fn losses_are_named() {
        let mut growth = [0; lost::STAGES];
        growth[lost::Stage::RingBulk as usize] = 4;
        assert_eq!(
            counters("LOST", RowKey::Index(0), &growth),
            [Reading::Lost(Lost { stage: Stage::RingBulk, count: 4 })]
        );
    }
}
