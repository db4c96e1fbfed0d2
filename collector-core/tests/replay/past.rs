//! The last days in a recording: what is new is written down part by part, and a replay knows the same.

use std::collections::BTreeMap;

use collector_core::engine::Engine;
use collector_core::past::{Change, DAY_NS, Draft, Past, Short, first_day};
use collector_core::recording;
use collector_core::sample::{Reading, Sample, Start};
use collector_core::series::Series;
use collector_core::tier::{KEPT, Known, Tier, kept};

use crate::fixture;

const QUARTER: u64 = Tier::QuarterHour.step();
const MIB: f32 = (1 << 20) as f32;
const NOW: u64 = 20_000 * DAY_NS;

/// The last days of a host whose workloads use memory in the daytime, as of now. One began two days ago, one ended then.
fn past(now: u64, workloads: usize) -> Past {
    let mut draft = Draft::default();
    let times = || (first_day(now)..now).step_by(QUARTER as usize);
    let quarter = |time: u64, number: usize| {
        let mut values = [[None; 3]; KEPT.len()];
        let day = (time / QUARTER % 96).abs_diff(56) < 20;
        let memory = MIB * (64 + number) as f32 * if day { 2.0 } else { 1.0 };
        for (series, value) in [(Series::Memory, memory), (Series::Anon, memory / 3.0), (Series::Cpu, 0.37)] {
            values[kept(series).unwrap()] = [Some(value / 2.0), Some(value / 1.5), Some(value)];
        }
        Known { time, seconds: 900, values }
    };
    let host: Vec<Known> = times().map(|time| quarter(time, 9000)).collect();
    draft.host(&host);
    for number in 0..workloads {
        let lives = |time: u64| match number {
            0 => time >= NOW - 2 * DAY_NS,
            1 => time < NOW - 2 * DAY_NS,
            _ => true,
        };
        let quarters: Vec<Known> = times().filter(|time| lives(*time)).map(|time| quarter(time, number)).collect();
        draft.workload(&format!("docker/w{number:03}"), "", &quarters);
    }
    draft.events.kill(now - 1, Some("docker/w002"), 1, Short::OwnLimit);
    draft.finish(first_day(now), now, Some(first_day(now)))
}

fn start() -> Sample {
    let start = Start { workload_grace: 1, ..fixture::start() };
    Sample { time: NOW, reading: Reading::Start(start) }
}

#[test]
fn a_replay_knows_the_last_days_as_they_were_known() {
    let mut recording = serde_json::to_string(&start()).unwrap() + "\n";
    let (mut known, mut sizes) = (Past::default(), Vec::new());
    // A quarter of an hour each, over midnight.
    for step in 0..6 {
        let now = NOW + 22 * 3_600_000_000_000 + (step + 4) * QUARTER;
        let past = past(now, 40);
        let before = recording.len();
        for change in Change::between(&known, &past) {
            let sample = Sample { time: now, reading: Reading::Past(Box::new(change)) };
            recording += &(serde_json::to_string(&sample).unwrap() + "\n");
        }
        recording += &(serde_json::to_string(&Sample { time: now, reading: Reading::Tick }).unwrap() + "\n");
        sizes.push(recording.len() - before);
        known = past;
    }
    let mut engine = Engine::new();
    for sample in recording::samples(recording.as_bytes()) {
        engine.apply(&sample.unwrap());
    }
    let view = engine.view();
    assert_eq!(*view.past, known);
    let days: BTreeMap<&str, usize> =
        view.past.workloads.iter().map(|(name, span)| (&**name, span.days.len())).collect();
    assert_eq!((days["docker/w000"], days["docker/w001"], days["docker/w002"]), (4, 24, 28));
    assert!(sizes[1] < sizes[0] / 10, "only what is new is recorded: {sizes:?}");
}

#[test]
fn a_recording_whose_last_part_is_missing_knows_what_was_known_before() {
    let mut engine = Engine::new();
    engine.apply(&start());
    let whole = past(NOW, 2);
    let apply = |engine: &mut Engine, change: Change| {
        engine.apply(&Sample { time: NOW, reading: Reading::Past(Box::new(change)) });
    };
    Change::between(&Past::default(), &whole).into_iter().for_each(|change| apply(&mut engine, change));
    assert_eq!(*engine.view().past, whole);
    let parts = Change::between(&whole, &past(NOW + QUARTER, 2));
    apply(&mut engine, Change { more: true, ..parts[0].clone() });
    assert_eq!(*engine.view().past, whole);
}
