//! A real leak of ten minutes, recorded by the live tests, whose times are multiplied by twelve: a program that keeps a little of each
//! request, makes garbage, and shares its cgroup with one that does not grow. It is found within two hours, with its pace, the time that is
//! left, and the process.

use collector_core::engine::Engine;
use collector_core::incident::{Incident, Kind};
use collector_core::outcome::Outcome;
use collector_core::sample::{Reading, Sample};
use collector_core::statistic::workload::Statistic;

use crate::fixture::{folder, samples};

const TIMES: u64 = 12;
const HOUR: f64 = 3600.0;

fn slowed() -> Vec<Sample> {
    let mut samples = samples(&folder("leak").join("real.jsonl"));
    let from = samples[0].time;
    for sample in &mut samples {
        sample.time = from + (sample.time - from) * TIMES;
        if let Reading::Start(start) = &mut sample.reading {
            // As by default.
            start.leak = None;
        }
    }
    samples
}

#[test]
fn a_real_leak_is_found_with_its_pace_its_end_and_its_process() {
    let samples = slowed();
    let mut engine = Engine::new();
    let told = |outcome: Outcome| match outcome {
        Outcome::Incident(incident) if incident.kind == Kind::Leak => Some(*incident),
        _ => None,
    };
    let reported: Vec<(u64, Incident)> = samples
        .iter()
        .flat_map(|sample| {
            engine.apply(sample).into_iter().filter_map(told).map(|it| (sample.time, it)).collect::<Vec<_>>()
        })
        .collect();
    let (time, first) = &reported[0];
    let leak = first.evidence.leak.as_ref().unwrap();
    assert_eq!((first.labels["workload"].as_str(), &*leak.memory), ("/leaky", "anon"));
    assert!(((time - samples[0].time) as f64 / 1e9) < 2.0 * HOUR, "{first:#?}");
    // What it held from half an hour on, by the kernel's own numbers: between the means of the first and the last tenth.
    let held: Vec<(f64, f64)> = samples
        .iter()
        .filter_map(|sample| match &sample.reading {
            Reading::Statistics(it) => {
                let hour = (sample.time - samples[0].time) as f64 / 1e9 / HOUR;
                Some((hour, it.values.get(Statistic::MemoryAnon)? as f64))
                    .filter(|(hour, _)| *hour > 0.6 && *hour < 1.9)
            }
            _ => None,
        })
        .collect();
    let tenth = held.len() / 10;
    let mean = |part: &[(f64, f64)]| {
        let sum = part.iter().fold((0.0, 0.0), |sum, it| (sum.0 + it.0, sum.1 + it.1));
        (sum.0 / part.len() as f64, sum.1 / part.len() as f64)
    };
    let (from, until) = (mean(&held[..tenth]), mean(&held[held.len() - tenth..]));
    let pace = (until.1 - from.1) / (until.0 - from.0);
    assert!((leak.bytes_per_hour / pace - 1.0).abs() < 0.25, "{} {pace}", leak.bytes_per_hour);
    let left = leak.left_bytes as f64 / pace * HOUR;
    let told = leak.exhausted_in_seconds.unwrap();
    assert!((told / left - 1.0).abs() < 0.3, "{told} {left}");
    let process = leak.process.as_ref().unwrap();
    assert!(process.comm.starts_with("python3") && process.share > 0.9, "{process:?}");
    assert_eq!(first.cause.rule, "leaking_process");
    // It ended, and so does the incident.
    assert!(reported.last().unwrap().1.complete || engine.finish().into_iter().filter_map(told_again).count() == 1);
}

fn told_again(outcome: Outcome) -> Option<Incident> {
    match outcome {
        Outcome::Incident(incident) if incident.kind == Kind::Leak => Some(*incident),
        _ => None,
    }
}
