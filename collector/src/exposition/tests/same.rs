//! Pages are byte for byte what prometheus-client makes of the same series: of recordings with and without caps, and of any labels
//! and numbers in every metric.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::golden::{played, recordings};
use super::oracle;
use super::*;
use collector_core::metric::row::{Buckets, Level, Target, Value};
use collector_core::rule::Rules;
use collector_core::statistic::model::{EDGES, Latency, Stage};

const FORMATS: [Format; 2] = [Format::OpenMetrics, Format::Text];

fn assert_same(ours: &Exposition, expected: &Exposition, what: &str) {
    let difference = ours.text.lines().zip(expected.text.lines()).find(|(ours, expected)| ours != expected);
    assert!(ours == expected, "{what}: {difference:?}, {} and {} left out", ours.left_out, expected.left_out);
}

#[test]
fn every_recording_gives_what_prometheus_client_writes() {
    let rules = Arc::new(Rules::new(&[]).unwrap());
    for path in recordings() {
        let engine = played(&path, Engine::with(rules.clone()));
        for format in FORMATS {
            let whole = oracle::render(engine.view(), format, Cap::NONE);
            let length = whole.text.len();
            assert!(length > 1000, "{}", path.display());
            let caps = [
                Cap::NONE,
                Cap { series: 100, ..Cap::NONE },
                Cap { bytes: length, ..Cap::NONE },
                Cap { bytes: length / 2, ..Cap::NONE },
                Cap { bytes: 3000, series: 50, ..Cap::NONE },
                Cap { bytes: 0, series: 0, ..Cap::NONE },
                Cap { level: Level::Usual, ..Cap::NONE },
            ];
            for cap in caps {
                let expected = oracle::render(engine.view(), format, cap);
                assert_same(&render(engine.view(), format, cap), &expected, &format!("{} {cap:?}", path.display()));
            }
        }
    }
}

/// A series that somebody might emit.
#[derive(Clone, Debug)]
struct Given {
    values: Vec<String>,
    value: Value,
    histogram: Box<Histogram>,
    /// With edges of its own.
    latency: Option<Latency>,
    created: u64,
}

fn given() -> impl Strategy<Value = Given> {
    let text = prop_oneof![
        Just(String::new()),
        "[a-z/-]{1,40}",
        "[\\\\\"\n\r{}=, é]{1,9}",
        proptest::collection::vec(any::<char>(), 0..9).prop_map(|chars| chars.into_iter().collect()),
    ];
    let number = prop_oneof![
        any::<u64>().prop_map(Value::Int),
        (0u64..1000).prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        any::<u64>().prop_map(Value::seconds),
        (0u32..1_000_000).prop_map(|number| Value::Float(f64::from(number) / 1e4)),
        Just(Value::Float(f64::NAN)),
        Just(Value::Float(f64::NEG_INFINITY)),
    ];
    let created = prop_oneof![Just(0), any::<u64>(), Just(1_700_000_000_007_999_999)];
    let words = proptest::collection::vec(0..1u64 << 40, Histogram::default().len());
    let series = (proptest::collection::vec(text, 60), number, words, created, proptest::option::of(latency()));
    series.prop_map(|(values, value, words, created, latency)| {
        let mut histogram = Box::new(Histogram::default());
        histogram.copy_from_slice(&words);
        Given { values, value, histogram, latency, created }
    })
}

/// From nanoseconds to centuries.
fn latency() -> impl Strategy<Value = Latency> {
    let edge = prop_oneof![1..1_000_000u64, 1..1u64 << 40, any::<u64>(), (1..5000u64).prop_map(|ms| ms * 1_000_000)];
    let edges = proptest::collection::btree_set(edge, 0..EDGES);
    (edges, proptest::collection::vec(0..1u64 << 40, EDGES + 1), any::<u64>()).prop_map(|(edges, mut counts, sum)| {
        counts.truncate(edges.len() + 1);
        Latency { stage: Stage::FirstToken, edges: edges.into_iter().collect(), counts, sum }
    })
}

impl Given {
    fn write(&self, metric: &'static Metric, target: &mut dyn Target) -> std::fmt::Result {
        let values: Vec<&str> = self.values.iter().take(metric.labels.len()).map(String::as_str).collect();
        match metric.kind {
            Kind::Counter => target.counter(metric, &values, self.value, self.created),
            Kind::Gauge => target.gauge(metric, &values, self.value),
            Kind::Histogram => {
                let common = Buckets::from(&*self.histogram);
                let buckets = self.latency.as_ref().map_or(common, Buckets::from);
                target.histogram(metric, &values, buckets, self.created)
            }
            Kind::Info => target.info(metric, &values),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_series_of_any_metric_is_what_prometheus_client_writes(given in proptest::collection::vec(given(), 1..4)) {
        for format in FORMATS {
            let mut page = Page::new(format, Cap::NONE, Fit::ALL);
            for metric in METRICS {
                page.begin();
                given.iter().try_for_each(|it| it.write(metric, &mut page)).unwrap();
            }
            let all = given.clone();
            let families = move |family: &mut oracle::Take<'_>| {
                METRICS.iter().try_for_each(|metric| family(&mut |target| all.iter().try_for_each(|it| it.write(metric, target))))
            };
            let expected = oracle::encode(Box::new(families), format, Cap::NONE, Fit::ALL).unwrap();
            prop_assert!(expected.text.starts_with(&page.text), "{}", page.text);
            let rest = &expected.text[page.text.len()..];
            prop_assert!(rest.starts_with("# HELP headroom_series "), "{}", rest);
        }
    }
}

/// The copied labels of a workload are those that it has.
#[test]
fn the_labels_of_a_workload_are_the_same_in_every_family() {
    let engine = engine(["/a", "/b\"\\", "/c"]);
    let text = text(&engine, Format::OpenMetrics);
    let names: BTreeSet<&str> =
        text.lines().filter_map(|line| line.split_once("{workload=\"/b\\\"\\\\\"").map(|(name, _)| name)).collect();
    assert!(names.len() > 10, "{names:?}");
    for format in FORMATS {
        assert_same(
            &render(engine.view(), format, Cap::NONE),
            &oracle::render(engine.view(), format, Cap::NONE),
            "workloads with labels that are escaped",
        );
    }
}
