//! The level of the host over time, from a recording as `run --record` writes it: entered at once, left after a hold that grows with
//! each relapse and decays, by the limits that the recording has.

use collector_core::engine::Engine;
use collector_core::level::Limits;
use collector_core::outcome::Outcome;
use collector_core::recording;
use collector_core::sample::{Reading, Sample, Start};
use collector_core::statistic::host::{Statistic, Values};

use crate::fixture::start;

const SECOND: u64 = 1_000_000_000;
/// When the recording begins, in seconds.
const BEGIN: u64 = 1_700_000_000;

/// A recording of a host, for how many seconds how many percent of its memory are used.
fn record(limits: Option<Limits>, used: &[(u64, u64)]) -> String {
    let start = Start { level: limits, ..start() };
    let mut samples = vec![Sample { time: BEGIN * SECOND, reading: Reading::Start(start) }];
    let seconds = used.iter().flat_map(|(count, used)| (0..*count).map(|_| *used));
    for (second, used) in (BEGIN + 1..).zip(seconds) {
        let values = [(Statistic::MemoryTotal, 100), (Statistic::MemoryAvailable, 100 - used)];
        for reading in [Reading::Host(Values::from_iter(values)), Reading::Tick] {
            samples.push(Sample { time: second * SECOND, reading });
        }
    }
    samples.iter().map(|sample| serde_json::to_string(sample).unwrap() + "\n").collect()
}

/// The changes of the level: after how many seconds, and to what.
fn changes(recording: &str) -> Vec<(u64, u8)> {
    let mut engine = Engine::new();
    let mut changes = Vec::new();
    for sample in recording::samples(recording.as_bytes()) {
        for outcome in engine.apply(&sample.unwrap()) {
            if let Outcome::Level(change) = outcome {
                changes.push((change.time / SECOND - BEGIN, change.to.number()));
            }
        }
    }
    changes
}

#[test]
fn a_level_holds_longer_with_each_relapse_and_forgets_them() {
    let burst = [(1, 88), (12, 10)];
    // Bursts every 35 s: the hold grows from 10 to 20 s, and to 30 s less what decays in between.
    let used = [burst[0], (34, 10), burst[0], (34, 10), burst[0], (34, 10), (120, 10), burst[0], burst[1]];
    let changes = changes(&record(None, &used));
    let spans: Vec<u64> = changes.chunks(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert!(changes.iter().map(|(_, level)| *level).eq([3, 0].into_iter().cycle().take(8)), "{changes:?}");
    assert_eq!((changes[0], spans[0]), ((1, 3), 11));
    // It decays by half a second for each of the 24 s without a burst.
    assert!((10..=11).contains(&spans[1]) && (10..=20).contains(&spans[2]), "{spans:?}");
    assert_eq!(spans[3], 11, "forgotten");
}

#[test]
fn bursts_that_follow_at_once_are_held_up_to_thirty_seconds() {
    let used = [(1, 88), (12, 10), (1, 88), (22, 10), (1, 88), (32, 10), (1, 88), (40, 10)];
    let changes = changes(&record(None, &used));
    let spans: Vec<u64> = changes.chunks(2).map(|pair| pair[1].0 - pair[0].0).collect();
    assert_eq!(changes.len(), 8, "{changes:?}");
    for (span, at_most) in spans.iter().zip([11, 21, 31, 31]) {
        assert!((at_most - 2..=at_most).contains(span), "{spans:?}");
    }
}

#[test]
fn the_limits_of_the_recording_count() {
    let used = [(3, 62), (1, 10)];
    assert_eq!(changes(&record(None, &used)), []);
    let strict = Limits { memory: 0.7, ..Limits::default() };
    assert_eq!(changes(&record(Some(strict), &used)), [(1, 2)]);
    // Without a reading of memory there is neither a level nor a change.
    let unknown =
        record(None, &used).lines().filter(|line| !line.contains("memory_total")).collect::<Vec<_>>().join("\n");
    assert_eq!(changes(&unknown), []);
}
