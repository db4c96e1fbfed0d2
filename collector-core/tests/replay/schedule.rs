//! What the configuration reserves ahead, from a recording as `run --record` writes it: the same samples make the same reservations, over
//! a night in which clocks are set, and over a restart of the agent in its middle.

use collector_core::engine::Engine;
use collector_core::lease::{Kept, Lease, Priority, State, Step, Want};
use collector_core::outcome::Outcome;
use collector_core::recording;
use collector_core::sample::{Reading, Sample};
use collector_core::schedule::{Entry, Schedule};
use collector_core::statistic::host::{Statistic, Values};
use collector_core::zone::Zone;

use crate::fixture::start;

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
const GIB: u64 = 1 << 30;
/// 2026-10-25 01:00 UTC, a Sunday, when central European clocks went back by an hour.
const BACK: u64 = 1_792_890_000 * SECOND;

fn schedule(time: u64) -> Reading {
    let entry = |unit: &str, days: &str, at: &str, bytes: u64| {
        let mut want = Want::default();
        (want.hard.running, want.hard.peak) = (bytes, bytes);
        Entry {
            unit: unit.into(),
            uid: 0,
            days: days.parse().unwrap(),
            at: at.parse().unwrap(),
            seconds: 1800,
            want,
            gpus: Vec::new(),
            priority: Priority::Normal,
        }
    };
    let entries = vec![
        entry("night", "Mon-Sun", "02:30", 60 * GIB),
        entry("day", "Mon-Fri", "08:00", 60 * GIB),
        entry("large", "Sun", "09:00", 600 * GIB),
    ];
    let zone = Zone::new([(time - 48 * HOUR, 7200, "CEST".to_owned()), (BACK, 3600, "CET".to_owned())]);
    Reading::Schedule(Box::new(Schedule { entries, zone }))
}

fn begin(time: u64, leases: &[Lease]) -> Vec<Sample> {
    let memory = [(Statistic::MemoryTotal, 100 * GIB), (Statistic::MemoryAvailable, 90 * GIB)];
    let kept = leases.iter().map(|lease| Reading::Lease(Kept::Lease(Box::new(lease.clone()))));
    let first = [Reading::Start(start()), Reading::Host(Values::from_iter(memory))];
    let all = first.into_iter().chain(kept).chain([schedule(time)]);
    all.map(|reading| Sample { time, reading }).collect()
}

/// Ticks of ten seconds.
fn ticks(from: u64, to: u64) -> impl Iterator<Item = Sample> {
    (from..to).step_by(10 * SECOND as usize).map(|time| Sample { time, reading: Reading::Tick })
}

/// As a file, and read from it. Returns what became of reservations, and those that are there at its end.
fn replay(samples: impl Iterator<Item = Sample>) -> (Vec<(Step, String, u64)>, Vec<Lease>) {
    let text: String = samples.map(|sample| serde_json::to_string(&sample).unwrap() + "\n").collect();
    let (mut engine, mut steps) = (Engine::new(), Vec::new());
    for sample in recording::samples(text.as_bytes()) {
        for outcome in engine.apply(&sample.unwrap()) {
            if let Outcome::Lease(change) = outcome {
                let begins = change.lease.occasion.as_ref().unwrap().begins;
                steps.push((change.step, change.lease.unit.unwrap(), begins));
            }
        }
    }
    let held = engine.view().leases.held.values().filter(|lease| lease.state == State::Planned).cloned().collect();
    (steps, held)
}

#[test]
fn a_recording_makes_the_same_reservations_also_over_a_restart() {
    // From Saturday noon to Monday noon, UTC.
    let (from, middle, to) = (BACK - 13 * HOUR, BACK - 7 * HOUR, BACK + 35 * HOUR);
    let night = BACK - HOUR / 2;
    let (monday, morning) = (BACK + 24 * HOUR + HOUR / 2, BACK + 30 * HOUR);
    let tuesday = monday + 24 * HOUR;
    let whole = replay(begin(from, &[]).into_iter().chain(ticks(from, to)));
    let step = |step, unit: &str, begins| (step, unit.to_owned(), begins);
    let wanted = [
        step(Step::Granted, "night", night),
        step(Step::Refused, "large", BACK + 7 * HOUR),
        step(Step::Expired, "night", night),
        // That day has 25 hours.
        step(Step::Granted, "night", monday),
        step(Step::Granted, "day", morning),
        step(Step::Granted, "night", tuesday),
        step(Step::Expired, "night", monday),
        step(Step::Granted, "day", morning + 24 * HOUR),
        step(Step::Expired, "day", morning),
    ];
    assert_eq!(whole.0, wanted);
    assert_eq!(whole.1.iter().map(|lease| lease.unit.as_deref()).collect::<Vec<_>>(), [Some("night"), Some("day")]);
    // The agent is restarted in the first evening, with what was kept of its leases.
    let (before, kept) = replay(begin(from, &[]).into_iter().chain(ticks(from, middle)));
    let (after, _) = replay(begin(middle, &kept).into_iter().chain(ticks(middle, to)));
    assert_eq!((before.as_slice(), kept.len()), (&wanted[..2], 1));
    // Only what does not fit is said again.
    assert_eq!(after, wanted[1..]);
}
