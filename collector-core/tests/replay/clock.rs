//! Clocks that jump, in the middle of a recording: back and forth by an hour, to the beginning of time, far ahead. Samples carry
//! the only time that the fold knows, so this is what a host whose clock is set does to it. What happened is told all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use collector_core::alert::State;
use collector_core::engine::Engine;
use collector_core::incident::Kind;
use collector_core::outcome::Outcome;
use collector_core::rule::Rules;
use collector_core::sample::{Reading, Sample};

use crate::fixture::{recordings, samples};
use crate::golden::Series;
use crate::series;

const HOUR: i64 = 3_600_000_000_000;
const YEARS: i64 = 30 * 365 * 24 * HOUR;

/// What a recording comes to.
#[derive(Debug, Default, PartialEq)]
struct Told {
    /// Processes that were killed, in order.
    kills: Vec<u32>,
    /// Alerts of events, as they fired.
    events: Vec<(String, BTreeMap<String, String>)>,
    /// Incidents, by kind.
    incidents: BTreeMap<Kind, BTreeSet<String>>,
    /// The counters of the host.
    counters: BTreeMap<Series, f64>,
}

fn fold(samples: impl Iterator<Item = Sample>) -> Told {
    let mut engine = Engine::with(Arc::new(Rules::new(&[]).unwrap()));
    let (mut told, mut firing, mut complete) = (Told::default(), BTreeSet::new(), BTreeSet::new());
    let mut outcomes = Vec::new();
    for sample in samples {
        // What fired before the start, too, may be over.
        if let Reading::Restored(alert) = &sample.reading {
            firing.insert((alert.alert.to_string(), alert.labels.clone()));
        }
        outcomes.extend(engine.apply(&sample));
    }
    outcomes.extend(engine.finish());
    for outcome in outcomes {
        match outcome {
            Outcome::OomKill(kill) => told.kills.push(kill.kill.pid),
            Outcome::Incident(incident) => {
                if incident.complete {
                    assert!(complete.insert(incident.id.clone()), "{} is complete twice", incident.id);
                }
                told.incidents.entry(incident.kind).or_default().insert(incident.id);
            }
            Outcome::Alert(alert) => {
                let key = (alert.alert.to_string(), alert.labels.clone());
                let event = alert.incident.is_some();
                match alert.state {
                    State::Firing => assert!(firing.insert(key.clone()) || event, "{key:?} fires twice"),
                    State::Resolved => assert!(firing.remove(&key), "{key:?} is over, and never was"),
                }
                if event && alert.state == State::Firing {
                    told.events.push(key);
                }
            }
            _ => {}
        }
    }
    let series = series::Told::of(engine.view()).series.into_iter();
    told.counters =
        series.filter(|((name, _), _)| name.starts_with("headroom_host_") && name.ends_with("_total")).collect();
    told
}

#[test]
fn whatever_the_clock_does_what_happened_is_told_once() {
    for path in ["replay", "incident"].into_iter().flat_map(recordings) {
        let all = samples(&path);
        let expected = fold(all.iter().cloned());
        for (jump, back) in
            [(HOUR, false), (-HOUR, false), (i64::MIN, false), (YEARS, false), (HOUR, true), (-HOUR, true)]
        {
            for begin in [all.len() / 3, all.len() * 2 / 3] {
                let set = all.iter().cloned().enumerate().map(|(index, sample)| {
                    // Set once, or set and put right again.
                    let wrong = index >= begin && !(back && index >= begin + all.len() / 6);
                    Sample { time: if wrong { sample.time.saturating_add_signed(jump) } else { sample.time }, ..sample }
                });
                let told = fold(set);
                let what = format!("{} set by {jump} ns at sample {begin}", path.display());
                assert_eq!((&told.kills, &told.counters), (&expected.kills, &expected.counters), "{what}");
                let count = |told: &Told, kind| told.incidents.get(&kind).map_or(0, BTreeSet::len);
                assert_eq!(count(&told, Kind::GpuLost), count(&expected, Kind::GpuLost), "{what}");
                // Kills on both sides of a jump may be taken for one event or for two.
                let (oom, before) = (count(&told, Kind::Oom), count(&expected, Kind::Oom));
                assert!(oom.abs_diff(before) <= 2 && (oom > 0) == (before > 0), "{what}: {oom} for {before}");
                assert!(told.events.len().abs_diff(expected.events.len()) <= 2, "{what}: {:?}", told.events);
            }
        }
    }
}
