//! Samples in, series out: each `tests/fixtures/replay/NAME.jsonl` gives the series of `NAME.prom`. Here the catalogue writes them
//! to a target without a format. The collector's tests compare the same files byte for byte, and write them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use collector_core::engine::Engine;
use collector_core::metric::METRICS;
use collector_core::metric::row::{Buckets, Kind, Level, Metric, Target, Value};
use collector_core::view::View;

use crate::fixture::{recordings, samples};
use crate::golden::{Family, Page, Series};

/// Written by the exposition itself, which alone knows the number of series.
const SERIES: &str = "headroom_series";

/// The series and metadata that the catalogue writes for a view.
#[derive(Debug, Default)]
pub struct Collected {
    pub families: BTreeMap<String, Family>,
    pub series: BTreeMap<Series, f64>,
}

impl Collected {
    pub fn of(view: &View) -> Collected {
        let mut collected = Collected::default();
        for metric in METRICS {
            metric.write(view, Level::Full, &mut collected).unwrap();
        }
        collected
    }

    fn add(&mut self, metric: &'static Metric, suffix: &str, labels: &[&str], edge: Option<f64>, value: f64) {
        assert_eq!(labels.len(), metric.labels.len(), "{}", metric.name);
        let (kind, end) = match metric.kind {
            Kind::Counter => ("counter", "_total"),
            Kind::Gauge => ("gauge", ""),
            Kind::Histogram => ("histogram", ""),
            Kind::Info => ("info", "_info"),
        };
        let family = metric.name.strip_suffix(end).unwrap();
        let head = Family {
            kind: kind.to_owned(),
            unit: metric.unit.map(|unit| unit.name().to_owned()),
            help: metric.help.to_owned(),
        };
        self.families.insert(family.to_owned(), head);
        // A label without a value is absent.
        let present = metric.labels.iter().zip(labels).filter(|(_, value)| !value.is_empty());
        let mut labels: BTreeMap<String, String> =
            present.map(|(name, it)| (name.to_string(), it.to_string())).collect();
        labels.extend(edge.map(|edge| ("le".to_owned(), edge.to_string())));
        let series = (format!("{family}{suffix}"), labels);
        assert!(self.series.insert(series.clone(), value).is_none(), "{series:?} twice");
    }

    fn begun(&mut self, metric: &'static Metric, labels: &[&str], created: u64) {
        if created > 0 {
            // Pages have milliseconds.
            self.add(metric, "_created", labels, None, (created / 1_000_000) as f64 / 1e3);
        }
    }
}

impl Target for Collected {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        self.add(metric, "_total", labels, None, value.number());
        self.begun(metric, labels, created);
        Ok(())
    }

    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: Value) -> fmt::Result {
        self.add(metric, "", labels, None, value.number());
        Ok(())
    }

    fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        buckets: Buckets<'_>,
        created: u64,
    ) -> fmt::Result {
        let mut count = 0;
        for (index, bucket) in buckets.counts().iter().enumerate() {
            count += bucket;
            let edge = buckets.edge_ns(index).map_or(f64::INFINITY, |edge| edge as f64 / 1e9);
            self.add(metric, "_bucket", labels, Some(edge), count as f64);
        }
        self.add(metric, "_count", labels, None, count as f64);
        self.add(metric, "_sum", labels, None, buckets.sum_ns() as f64 / 1e9);
        self.begun(metric, labels, created);
        Ok(())
    }

    fn info(&mut self, metric: &'static Metric, labels: &[&str]) -> fmt::Result {
        self.add(metric, "_info", labels, None, 1.0);
        Ok(())
    }
}

#[test]
fn every_recording_gives_its_series() {
    let recordings = recordings("replay");
    assert!(recordings.len() >= 7, "{recordings:?}");
    for path in recordings {
        let mut engine = Engine::new();
        samples(&path).iter().for_each(|sample| drop(engine.apply(sample)));
        let collected = Collected::of(engine.view());

        let path = path.with_extension("prom");
        let mut golden = Page::read(&fs::read_to_string(&path).unwrap());
        let samples = golden.series.keys().filter(|(name, _)| !name.ends_with("_created")).count();
        let counted = golden.series.remove(&(SERIES.to_owned(), BTreeMap::new()));
        assert_eq!(counted, Some(samples as f64), "{}", path.display());
        assert!(golden.families.remove(SERIES).is_some());

        assert_eq!(collected.families, golden.families, "{}", path.display());
        // The format decides how an edge is written.
        let expected = golden.series.into_iter().map(|((name, mut labels), value)| {
            if let Some(edge) = labels.get_mut("le") {
                *edge = edge.parse::<f64>().unwrap().to_string();
            }
            ((name, labels), value)
        });
        let expected: BTreeMap<_, _> = expected.collect();
        let missing: Vec<_> = expected.keys().filter(|series| !collected.series.contains_key(series)).collect();
        let extra: Vec<_> = collected.series.keys().filter(|series| !expected.contains_key(series)).collect();
        assert!(missing.is_empty() && extra.is_empty(), "{}: lacks {missing:?}, has {extra:?}", path.display());
        for (series, value) in &expected {
            assert_eq!(collected.series[series], *value, "{}: {series:?}", path.display());
        }
    }
}
