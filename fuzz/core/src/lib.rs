//! Checks that several targets share: of a sample, of an outcome, and of everything that reads the view. Knows nothing about
//! the inputs.

use std::collections::BTreeSet;
use std::fmt;

use collector_core::api::workloads::Summary;
use collector_core::engine::Engine;
use collector_core::incident::page;
use collector_core::metric::METRICS;
use collector_core::metric::row::{Buckets, Level, Metric, Target, Value};
use collector_core::outcome::Outcome;
use collector_core::sample::Sample;
use collector_core::text::is_shown;

/// A recorded sample is read back unchanged.
pub fn check_record(sample: &Sample) {
    let line = serde_json::to_string(sample).expect("a sample can be written");
    assert!(!line.contains('\n'), "a sample is one line: {line}");
    let again: Sample = serde_json::from_str(&line).unwrap_or_else(|why| panic!("{why}: {line}"));
    assert_eq!(&again, sample, "{line}");
}

/// An outcome can be sent as JSON. The page of an incident can be shown on a terminal.
pub fn check_outcome(outcome: &Outcome) {
    serde_json::to_string(outcome).expect("an outcome can be written");
    if let Outcome::Incident(incident) = outcome {
        let page = page::page(incident, &[], 100, false);
        assert!(page.chars().all(|c| is_shown(c) || c == '\n'), "{page:?}");
    }
}

/// No metric writes the same series twice, each series has a value for every label, and the summary survives JSON.
pub fn check_view(engine: &Engine) {
    for metric in METRICS {
        for level in [Level::Usual, Level::Full] {
            metric.write(engine.view(), level, &mut Seen::default()).expect("a set takes everything");
        }
    }
    let summary = Summary::of(engine.view());
    let json = serde_json::to_vec(&summary).expect("a summary can be written");
    assert_eq!(serde_json::from_slice::<Summary>(&json).expect("a summary can be read"), summary);
}

/// The labels of one metric's series.
#[derive(Default)]
struct Seen(BTreeSet<Vec<String>>);

impl Seen {
    fn add(&mut self, metric: &'static Metric, labels: &[&str]) -> fmt::Result {
        assert_eq!(labels.len(), metric.labels.len(), "{metric:?}: {labels:?}");
        let labels: Vec<_> = labels.iter().map(|label| label.to_string()).collect();
        assert!(self.0.insert(labels.clone()), "{metric:?} has this series twice: {labels:?}");
        Ok(())
    }
}

impl Target for Seen {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], _: Value, _: u64) -> fmt::Result {
        self.add(metric, labels)
    }

    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], _: Value) -> fmt::Result {
        self.add(metric, labels)
    }

    fn histogram(&mut self, metric: &'static Metric, labels: &[&str], _: Buckets<'_>, _: u64) -> fmt::Result {
        self.add(metric, labels)
    }
}
