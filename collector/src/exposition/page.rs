//! Writes series as text, one catalogue row after the other: what prometheus-client would write, and `_created` lines, canonical
//! bucket edges and the caps. A workload's labels are made into text once a page, and copied from there; nothing is allocated for
//! a series.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::LazyLock;

use collector_common::histogram;
use collector_core::metric::row::{Buckets, Kind, Metric, Target, Unit, Value, WORKLOAD, seconds};

use super::Format;
use super::fit::{self, Cap, Fit};

/// A page that is being written.
#[derive(Debug)]
pub struct Page {
    pub text: String,
    pub format: Format,
    pub cap: Cap,
    fit: Fit,
    pub series: u64,
    pub left_out: u64,
    /// No more series fit.
    full: bool,
    /// The header of the present family is written.
    open: bool,
    /// The slot of the workload that the next series is about.
    workload: Option<usize>,
    /// Where in the text the labels of each workload are, by slot; empty before they are written.
    workloads: Vec<Range<usize>>,
}

impl Page {
    pub fn new(format: Format, cap: Cap, fit: Fit) -> Page {
        Page {
            text: String::new(),
            format,
            cap,
            fit,
            series: 0,
            left_out: 0,
            full: false,
            open: false,
            workload: None,
            workloads: Vec::new(),
        }
    }

    /// Begins a family. Its header is written with its first series.
    pub fn begin(&mut self) {
        (self.open, self.workload) = (false, None);
    }

    /// Whether the caps leave room for these series, which it counts either way; an error above the cap on bytes.
    pub fn admits(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        series: u64,
        created: u64,
    ) -> Result<bool, fmt::Error> {
        if self.text.len() > self.cap.bytes {
            return Err(fmt::Error);
        }
        if metric.capped() && !self.fit.takes(metric, labels, fit::lines(series, created, self.format)) {
            self.left_out += series;
            return Ok(false);
        }
        let over = self.full || self.series + series > self.cap.series as u64;
        if over && metric.capped() {
            // Once full, leave out everything after, even if it would fit: so the cut is predictable.
            self.full = true;
            self.left_out += series;
            return Ok(false);
        }
        self.series += series;
        Ok(true)
    }

    fn header(&mut self, metric: &Metric) {
        if std::mem::replace(&mut self.open, true) {
            return;
        }
        let openmetrics = self.format == Format::OpenMetrics;
        let family = if openmetrics { family(metric) } else { metric.name };
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Info if openmetrics => "info",
            Kind::Gauge | Kind::Info => "gauge",
            Kind::Histogram => "histogram",
        };
        self.push(&["# HELP ", family, " ", metric.help, "\n# TYPE ", family, " ", kind, "\n"]);
        if let Some(unit) = metric.unit.filter(|_| openmetrics).map(Unit::name) {
            self.push(&["# UNIT ", family, " ", unit, "\n"]);
        }
    }

    fn push(&mut self, parts: &[&str]) {
        parts.iter().for_each(|part| self.text.push_str(part));
    }

    /// Writes the labels in braces, if the metric has any. Returns where they are, with the braces.
    fn labels(&mut self, metric: &Metric, values: &[&str]) -> Range<usize> {
        let begin = self.text.len();
        if !values.is_empty() {
            self.text.push('{');
            self.inner(metric, values);
            self.text.push('}');
        }
        begin..self.text.len()
    }

    fn inner(&mut self, metric: &Metric, values: &[&str]) {
        debug_assert_eq!(values.len(), metric.labels.len(), "labels of {}", metric.name);
        let start = self.text.len();
        let named = match self.workload {
            Some(slot) => {
                self.copy_workload(slot, values);
                WORKLOAD.len()
            }
            None => 0,
        };
        for (name, value) in metric.labels.iter().zip(values).skip(named) {
            self.label(start, name, value);
        }
    }

    /// Writes the labels that name a workload.
    fn copy_workload(&mut self, slot: usize, values: &[&str]) {
        if self.workloads.len() <= slot {
            self.workloads.resize(slot + 1, 0..0);
        }
        let written = self.workloads[slot].clone();
        if !written.is_empty() {
            return self.text.extend_from_within(written);
        }
        let start = self.text.len();
        for (name, value) in WORKLOAD.iter().zip(values) {
            self.label(start, name, value);
        }
        self.workloads[slot] = start..self.text.len();
    }

    /// Writes one of the labels that begin at `start`. For Prometheus an empty label equals a missing one.
    fn label(&mut self, start: usize, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        if self.text.len() > start {
            self.text.push(',');
        }
        self.push(&[name, "=\""]);
        let mut rest = value;
        while let Some(at) = rest.bytes().position(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
            let (plain, special) = rest.split_at(at);
            let escaped = match special.as_bytes()[0] {
                b'\\' => "\\\\",
                b'"' => "\\\"",
                _ => "\\n",
            };
            self.push(&[plain, escaped]);
            rest = &special[1..];
        }
        self.push(&[rest, "\""]);
    }

    /// Ends a line with its value.
    fn value(&mut self, value: Value) {
        self.text.push(' ');
        match value {
            Value::Int(value) => self.text.push_str(itoa::Buffer::new().format(value)),
            Value::Float(value) => self.text.push_str(dtoa::Buffer::new().format(value)),
        }
        self.text.push('\n');
    }

    /// Writes when a counter or histogram started, if that is known and the format has it. Labels are where they stand in the text,
    /// with their braces.
    fn created(&mut self, family: &str, labels: Range<usize>, created: u64) {
        if created == 0 || self.format != Format::OpenMetrics {
            return;
        }
        self.push(&[family, "_created"]);
        self.text.extend_from_within(labels);
        self.time(created);
    }

    /// The same after a line that somebody else wrote.
    pub fn created_after(&mut self, metric: &Metric, labels: &[&str], created: u64) {
        if created == 0 || self.format != Format::OpenMetrics {
            return;
        }
        self.push(&[family(metric), "_created"]);
        self.labels(metric, labels);
        self.time(created);
    }

    /// Ends a line with a time, in seconds with milliseconds.
    fn time(&mut self, ns: u64) {
        // The leading one keeps the zeros.
        let milliseconds = 1000 + ns / 1_000_000 % 1000;
        self.push(&[" ", itoa::Buffer::new().format(ns / 1_000_000_000), "."]);
        self.push(&[&itoa::Buffer::new().format(milliseconds)[1..], "\n"]);
    }

    /// Writes a line. Returns where its labels are.
    fn sample(&mut self, metric: &Metric, suffix: &str, labels: &[&str], value: Value) -> Range<usize> {
        self.header(metric);
        self.push(&[metric.name, suffix]);
        let labels = self.labels(metric, labels);
        self.value(value);
        labels
    }

    /// Writes the lines of the buckets. The labels are where they stand in the text, with their braces.
    fn buckets(&mut self, metric: &Metric, labels: Range<usize>, buckets: Buckets<'_>) {
        let inner = labels.start + 1..labels.end.saturating_sub(1);
        let mut below = 0_u64;
        for (index, count) in buckets.counts().iter().enumerate() {
            below = below.saturating_add(*count);
            self.push(&[metric.name, "_bucket{le=\""]);
            match (buckets.has_common_edges(), buckets.edge_ns(index)) {
                (true, _) => self.text.push_str(&EDGES[index]),
                (false, Some(edge)) => canonical(&mut self.text, seconds(edge)),
                (false, None) => self.text.push_str(INFINITE),
            }
            self.text.push('"');
            if !inner.is_empty() {
                self.text.push(',');
                self.text.extend_from_within(inner.clone());
            }
            self.text.push('}');
            self.value(Value::Int(below));
        }
    }
}

impl Target for Page {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        if self.admits(metric, labels, 1, created)? {
            let labels = self.sample(metric, "", labels, value);
            self.created(family(metric), labels, created);
        }
        Ok(())
    }

    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: Value) -> fmt::Result {
        if self.admits(metric, labels, 1, 0)? {
            self.sample(metric, "", labels, value);
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        buckets: Buckets<'_>,
        created: u64,
    ) -> fmt::Result {
        if self.admits(metric, labels, buckets.series(), created)? {
            self.sample(metric, "_sum", labels, Value::seconds(buckets.sum_ns()));
            let labels = self.sample(metric, "_count", labels, Value::Int(buckets.count()));
            self.created(metric.name, labels.clone(), created);
            self.buckets(metric, labels, buckets);
        }
        Ok(())
    }

    fn left_out(&self) -> u64 {
        self.left_out
    }

    fn about(&mut self, workload: Option<usize>) {
        self.workload = workload;
    }
}

/// The OpenMetrics name of the family.
fn family(metric: &Metric) -> &'static str {
    let suffix = match metric.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    };
    metric.name.strip_suffix(suffix).unwrap_or(metric.name)
}

const INFINITE: &str = "+Inf";

/// The upper edges of the programs' buckets.
static EDGES: LazyLock<[String; histogram::BUCKETS]> = LazyLock::new(|| {
    std::array::from_fn(|index| {
        let mut text = String::new();
        match histogram::edge_ns(index) {
            Some(ns) => canonical(&mut text, seconds(ns)),
            None => text.push_str(INFINITE),
        }
        text
    })
});

/// Writes an edge in OpenMetrics' canonical form, like Go's `%g`: a scraper may compare edges as text.
fn canonical(text: &mut String, edge: f64) {
    let start = text.len();
    // Writing to a string cannot fail.
    if edge == 0.0 || (1e-4..1e6).contains(&edge) {
        let _ = write!(text, "{edge:?}");
        return;
    }
    let _ = write!(text, "{edge:e}");
    // Go writes the sign, and two digits of exponent.
    let Some(exponent) = text[start..].find('e').map(|at| start + at + 1) else { return };
    if !text[exponent..].starts_with('-') {
        text.insert(exponent, '+');
    }
    if text.len() - exponent == 2 {
        text.insert(exponent + 1, '0');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_edges_match_those_of_go() {
        let same = [
            (1e-6, "1e-06"),
            (1.28e-4, "0.000128"),
            (2.0, "2.0"),
            (1e-12, "1e-12"),
            (0.0, "0.0"),
            (2560.0, "2560.0"),
            (1e6, "1e+06"),
            (1.5e10, "1.5e+10"),
        ];
        for (edge, expected) in same {
            let mut text = "x".to_owned();
            canonical(&mut text, edge);
            assert_eq!(text, format!("x{expected}"));
        }
        assert_eq!(*EDGES[histogram::BUCKETS - 1], *"+Inf");
    }
}
