//! Decodes records of a ring, and the growth of rows of counters, into samples and readings. Each signal decodes its own.
//! Never panics, whatever the bytes.

use collector_common::lost;
use collector_common::ring::{Header, Kind};
use zerocopy::FromBytes;

use crate::sample::{Lost, Reading, Sample};
use crate::signal::counted::Counted;
use crate::signal::table::signals;
use crate::signal::{Context, RowKey, row};
use crate::stage::Stage;

/// A record that does not have the form that the programs send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The kind in its header; zero if it is too short to have one.
    pub kind: u32,
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
    let kind = Kind::from_u32(header.kind).ok_or("no such kind");
    let reading = kind.and_then(|kind| reading(kind, bytes, context));
    match reading {
        Ok(reading) => Ok(Sample { time: header.time_ns.saturating_add(context.clock_offset_ns), reading }),
        Err(why) => Err(Malformed { kind: header.kind, why }),
    }
}

/// Turns the growth of one row of a counter map since the last tick into readings. A row that does not have the shape that its
/// signal declares is counted as lost, stage `malformed`. Allocates nothing.
pub fn counters(map: &str, key: RowKey, growth: &[u64], context: &Context, emit: &mut dyn FnMut(Reading)) {
    let decoded = match map {
        "LOST" => losses(key, growth, emit),
        map => readings(map, key, growth, context, emit),
    };
    if decoded.is_none() {
        emit(Reading::Lost(Lost { stage: Stage::Malformed, count: 1 }));
    }
}

macro_rules! decode {
    (
        folded { $(
            $signal:ident: $Reading:ident from $Origin:ident, record [$($Kind:ident)?], maps [$($map:literal => $counters:ident),*];
        )* }
        counted { $($counted:ident: $Counted:ident, $counted_map:literal;)* }
    ) => {
        fn reading(kind: Kind, bytes: &[u8], context: &Context) -> Result<Reading, &'static str> {
            match kind {
                $($(Kind::$Kind => crate::signal::$signal::record(bytes, context).map(Reading::$Reading),)?)*
            }
        }

        fn readings(
            map: &str,
            key: RowKey,
            growth: &[u64],
            context: &Context,
            emit: &mut dyn FnMut(Reading),
        ) -> Option<()> {
            match map {
                $($(
                    $map => crate::signal::$signal::$counters(key, growth, context, &mut |reading| emit(Reading::$Reading(reading))),
                )*)*
                $(
                    $counted_map => Counted::from_row(key, growth, context).map(|counted| emit(Reading::$Counted(counted))),
                )*
                _ => None,
            }
        }
    };
}
signals!(decode);

fn losses(key: RowKey, growth: &[u64], emit: &mut dyn FnMut(Reading)) -> Option<()> {
    let counts: &[u64; lost::STAGES] = row(growth)?;
    (key == RowKey::Index(0)).then_some(())?;
    for (stage, &count) in lost::Stage::ALL.into_iter().zip(counts).filter(|(_, count)| **count > 0) {
        emit(Reading::Lost(Lost { stage: stage.into(), count }));
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use collector_common::{Key, SIGNALS};
    use zerocopy::IntoBytes;

    use super::record as decode_record;
    use super::*;
    use crate::engine::test::{CONTEXT, ID, counters, malformed};

    /// A record of each kind with only its header set. Most of them are valid.
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
        let sample = records().iter().find_map(|record| decode_record(record, &CONTEXT).ok()).unwrap();
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
    fn a_record_with_a_byte_too_many_is_malformed() {
        for mut record in records() {
            if record[0] == Kind::CgroupChange as u8 {
                continue; // its length varies
            }
            record.push(0);
            assert_eq!(decode_record(&record, &CONTEXT).unwrap_err().why, "wrong size");
        }
    }

    #[test]
    fn unknown_kinds_are_malformed() {
        for kind in [0, 8, u32::MAX] {
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
                bytes[..4].copy_from_slice(&(round % 8).to_ne_bytes());
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
                Key::Device => (RowKey::Hash([0; 8]), RowKey::Cgroup(None)),
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
    fn losses_carry_their_stage() {
        let mut growth = [0; lost::STAGES];
        growth[lost::Stage::RingBulk as usize] = 4;
        assert_eq!(
            counters("LOST", RowKey::Index(0), &growth),
            [Reading::Lost(Lost { stage: Stage::RingBulk, count: 4 })]
        );
    }
}
