//! Clock jumps in the middle of a recording: by an hour in both directions, to the beginning of time, far ahead. The fold knows
//! only the times of samples, so this is what setting the clock of a host does. Every event is still reported exactly once.

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

/// The results of a recording.
#[derive(Debug, Default, PartialEq)]
struct Results {
    /// Killed processes, in order.
    kills: Vec<u32>,
    /// Alerts of events, in the order in which they fired.
    events: Vec<(String, BTreeMap<String, String>)>,
    /// Incidents, by kind.
    incidents: BTreeMap<Kind, BTreeSet<String>>,
    /// Counters of the host.
    counters: BTreeMap<Series, f64>,
}

fn fold(samples: impl Iterator<Item = Sample>) -> Results {
    let mut engine = Engine::with(Arc::new(Rules::new(&[]).unwrap()));
    let (mut results, mut firing, mut complete) = (Results::default(), BTreeSet::new(), BTreeSet::new());
    let mut outcomes = Vec::new();
    for sample in samples {
        // An alert that fired before the start may resolve, too.
        if let Reading::Restored(alert) = &sample.reading {
            firing.insert((alert.alert.to_string(), alert.labels.clone()));
        }
        outcomes.extend(engine.apply(&sample));
    }
    outcomes.extend(engine.finish());
    for outcome in outcomes {
        match outcome {
            Outcome::OomKill(kill) => results.kills.push(kill.kill.pid),
            Outcome::Incident(incident) => {
                if incident.complete {
                    assert!(complete.insert(incident.id.clone()), "{} is complete twice", incident.id);
                }
                results.incidents.entry(incident.kind).or_default().insert(incident.id);
            }
            Outcome::Alert(alert) => {
                let key = (alert.alert.to_string(), alert.labels.clone());
                let event = alert.incident.is_some();
                if alert.updated.is_some() {
                    assert!(firing.contains(&key), "{key:?} is corrected without firing");
                    continue;
                }
                match alert.state {
                    State::Firing => assert!(firing.insert(key.clone()) || event, "{key:?} fires twice"),
                    State::Resolved => assert!(firing.remove(&key), "{key:?} resolved without firing"),
                }
                if event && alert.state == State::Firing {
                    results.events.push(key);
                }
            }
            _ => {}
        }
    }
    let series = series::Collected::of(engine.view()).series.into_iter();
    results.counters =
        series.filter(|((name, _), _)| name.starts_with("headroom_host_") && name.ends_with("_total")).collect();
    results
}

#[test]
fn events_are_reported_once_whatever_the_clock_does() {
    for path in ["replay", "incident"].into_iter().flat_map(recordings) {
        let all = samples(&path);
        let expected = fold(all.iter().cloned());
        for (jump, back) in
            [(HOUR, false), (-HOUR, false), (i64::MIN, false), (YEARS, false), (HOUR, true), (-HOUR, true)]
        {
            for begin in [all.len() / 3, all.len() * 2 / 3] {
                let set = all.iter().cloned().enumerate().map(|(index, sample)| {
                    // Set once, or set and corrected.
                    let wrong = index >= begin && !(back && index >= begin + all.len() / 6);
                    Sample { time: if wrong { sample.time.saturating_add_signed(jump) } else { sample.time }, ..sample }
                });
                let results = fold(set);
                let what = format!("{} set by {jump} ns at sample {begin}", path.display());
                assert_eq!((&results.kills, &results.counters), (&expected.kills, &expected.counters), "{what}");
                let count = |results: &Results, kind| results.incidents.get(&kind).map_or(0, BTreeSet::len);
                assert_eq!(count(&results, Kind::GpuLost), count(&expected, Kind::GpuLost), "{what}");
                // Kills on both sides of a jump may count as one event or as two.
                let (oom, before) = (count(&results, Kind::Oom), count(&expected, Kind::Oom));
                assert!(oom.abs_diff(before) <= 2 && (oom > 0) == (before > 0), "{what}: {oom} for {before}");
                assert!(results.events.len().abs_diff(expected.events.len()) <= 2, "{what}: {:?}", results.events);
            }
        }
    }
}
