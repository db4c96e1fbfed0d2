//! The exposition: prometheus-client writes it, row by row of the catalogue. What its text encoder lacks is added here:
//! `_created`, edges of buckets as the standard wants them, Prometheus' own text format, and the cap on series.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use collector_common::histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    CounterValueEncoder, DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabel, EncodeLabelSet,
    GaugeValueEncoder, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use super::{Format, Kind, METRICS, Metric, Unit};
use crate::signal::Histogram;
use crate::view::View;
use crate::view::host::count;

mod visit;

pub use visit::{Part, visit};

/// The stage of `headroom_lost_total` that counts series over the cap.
pub const STAGE: &str = "series";

/// Samples of one histogram: its buckets, sum and count.
const HISTOGRAM_SERIES: u64 = histogram::BUCKETS as u64 + 2;

/// What a scraper gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    /// The text, in the format that was asked for.
    pub text: String,
    /// Series over the cap. The text counts them already; to be counted from now on, they go to the engine as lost,
    /// stage [`STAGE`].
    pub left_out: u64,
}

/// Renders the view. Over `max_series`, families and workloads at the end of their order are left out.
pub fn render(view: &Arc<View>, format: Format, max_series: usize) -> Exposition {
    let created = Arc::new(AtomicU64::new(0));
    let left_out = Arc::new(AtomicU64::new(0));
    let page = Page { view: view.clone(), format, max_series, created: created.clone(), left_out: left_out.clone() };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(page));
    let mut sheet = Sheet { text: String::new(), line: 0, format, created };
    let written = match format {
        Format::OpenMetrics => text::encode(&mut sheet, &registry),
        Format::Text => text::encode_registry(&mut sheet, &registry),
    };
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
    Exposition { text: sheet.text, left_out: left_out.load(Ordering::Relaxed) }
}

/// The number of one series.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// A whole number.
    Int(u64),
    /// Any other.
    Float(f64),
}

impl Value {
    /// Nanoseconds as seconds.
    pub fn seconds(ns: u64) -> Value {
        Value::Float(seconds(ns))
    }

    fn number(self) -> f64 {
        match self {
            Value::Int(value) => value as f64,
            Value::Float(value) => value,
        }
    }

    fn is_zero(self) -> bool {
        matches!(self, Value::Int(0)) || matches!(self, Value::Float(value) if value == 0.0)
    }
}

/// What a row of the catalogue writes its series to. Labels are values only, in the order of [`Metric::labels`]; one
/// with an empty value is left out.
pub struct Emit<'a, 'b> {
    metric: &'static Metric,
    /// A bit for each of [`Metric::needs`] that is met.
    seen: u32,
    target: Target<'a, 'b>,
}

enum Target<'a, 'b> {
    Page(Sink<'a, 'b>),
    /// See [`visit`].
    Visitor(Part, &'a mut dyn FnMut(&[&str], f64, u64)),
}

/// Where series become text.
struct Sink<'a, 'b> {
    page: &'a Page,
    family: Family<'a, 'b>,
    tally: Tally,
}

impl Emit<'_, '_> {
    /// What is being written.
    pub fn metric(&self) -> &'static Metric {
        self.metric
    }

    /// Whether the programs of one of [`Metric::needs`], by its index, are attached.
    pub fn sees(&self, need: usize) -> bool {
        self.seen & 1 << need != 0
    }

    /// Series written so far, in all families; none to a visitor, who sees one family alone.
    pub fn series(&self) -> u64 {
        self.tally().series
    }

    /// Series left out so far.
    pub fn left_out(&self) -> u64 {
        self.tally().left_out
    }

    fn tally(&self) -> Tally {
        match &self.target {
            Target::Page(sink) => sink.tally,
            Target::Visitor(..) => Tally::default(),
        }
    }

    /// Writes one counter; `created` is when it began at zero, in nanoseconds since the Unix epoch.
    pub fn counter(&mut self, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        match &mut self.target {
            Target::Visitor(_, visit) => visit(labels, value.number(), created),
            Target::Page(sink) => {
                let text = sink.page.format == Format::Text;
                sink.write(self.metric, labels, 1, created, |encoder| match text {
                    // The encoder would add a second `_total`: in this format it is part of the family's name.
                    true => encoder.encode_gauge(&value),
                    false => encoder.encode_counter::<NoLabelSet, _, u64>(&value, None),
                })?;
            }
        }
        Ok(())
    }

    /// Writes one counter of something that most workloads never see, once it has happened: a zero for each would make
    /// the exposition half as long again, and tell nobody anything.
    pub fn rare(&mut self, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        if value.is_zero() { Ok(()) } else { self.counter(labels, value, created) }
    }

    /// Writes one gauge.
    pub fn gauge(&mut self, labels: &[&str], value: Value) -> fmt::Result {
        match &mut self.target {
            Target::Visitor(_, visit) => visit(labels, value.number(), 0),
            Target::Page(sink) => sink.write(self.metric, labels, 1, 0, |encoder| encoder.encode_gauge(&value))?,
        }
        Ok(())
    }

    /// Writes one info.
    pub fn info(&mut self, labels: &[&str]) -> fmt::Result {
        let set = Labels { names: self.metric.labels, values: labels };
        match &mut self.target {
            Target::Page(sink) if sink.page.format == Format::OpenMetrics => {
                sink.write(self.metric, &[], 1, 0, |encoder| encoder.encode_info(&set))
            }
            _ => self.gauge(labels, Value::Int(1)),
        }
    }

    /// Writes one histogram; `created` as for a counter.
    pub fn histogram(&mut self, labels: &[&str], histogram: &Histogram, created: u64) -> fmt::Result {
        let (sum, count) = (seconds(histogram[histogram::SUM]), count(histogram));
        match &mut self.target {
            Target::Visitor(Part::Sum, visit) => visit(labels, sum, created),
            Target::Visitor(_, visit) => visit(labels, count as f64, created),
            Target::Page(sink) => {
                let edge = |index| histogram::edge_ns(index).map_or(f64::INFINITY, seconds);
                let buckets: [(f64, u64); histogram::BUCKETS] =
                    std::array::from_fn(|index| (edge(index), histogram[index]));
                sink.write(self.metric, labels, HISTOGRAM_SERIES, created, |encoder| {
                    encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
                })?;
            }
        }
        Ok(())
    }
}

impl Sink<'_, '_> {
    fn write(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        series: u64,
        created: u64,
        encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let over = self.tally.full || self.tally.series + series > self.page.max_series as u64;
        if over && metric.capped() {
            // Nothing small slips in after something big was cut: which series are there stays easy to foretell.
            self.tally.full = true;
            self.tally.left_out += series;
            return Ok(());
        }
        self.tally.series += series;
        self.page.created.store(created, Ordering::Relaxed);
        let encoder = self.family.open(metric, self.page.format)?;
        if labels.is_empty() {
            return encode(encoder);
        }
        debug_assert_eq!(labels.len(), metric.labels.len(), "labels of {}", metric.name);
        let labels = Labels { names: metric.labels, values: labels };
        encode(&mut encoder.encode_family(&labels)?)
    }
}

/// A family is opened, and so its head written, with its first series.
enum Family<'a, 'b> {
    Closed(&'a mut DescriptorEncoder<'b>),
    Open(MetricEncoder<'a>),
    Failed,
}

impl<'a> Family<'a, '_> {
    fn open(&mut self, metric: &'static Metric, format: Format) -> Result<&mut MetricEncoder<'a>, fmt::Error> {
        if let Family::Closed(_) = self
            && let Family::Closed(encoder) = std::mem::replace(self, Family::Failed)
        {
            let kind = match (metric.kind, format) {
                (Kind::Counter, _) => MetricType::Counter,
                (Kind::Info, Format::OpenMetrics) => MetricType::Info,
                (Kind::Gauge | Kind::Info, _) => MetricType::Gauge,
                (Kind::Histogram, _) => MetricType::Histogram,
            };
            let (name, unit) = match format {
                Format::OpenMetrics => (metric.stem(), metric.unit.map(unit)),
                Format::Text => (metric.name, None),
            };
            *self = Family::Open(encoder.encode_descriptor(name, metric.help, unit, kind)?);
        }
        match self {
            Family::Open(encoder) => Ok(encoder),
            Family::Closed(_) | Family::Failed => Err(fmt::Error),
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Tally {
    series: u64,
    left_out: u64,
    full: bool,
}

#[derive(Debug)]
struct Page {
    view: Arc<View>,
    format: Format,
    max_series: usize,
    created: Arc<AtomicU64>,
    left_out: Arc<AtomicU64>,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut tally = Tally::default();
        for metric in METRICS {
            let Some(seen) = visit::seen(&self.view, metric) else { continue };
            let sink = Sink { page: self, family: Family::Closed(&mut encoder), tally };
            let mut emit = Emit { metric, seen, target: Target::Page(sink) };
            (metric.read)(&self.view, &mut emit)?;
            tally = emit.tally();
        }
        self.left_out.store(tally.left_out, Ordering::Relaxed);
        // What comes after the last family belongs to none.
        self.created.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// Takes the encoder's text and sees to each line as it ends.
struct Sheet {
    text: String,
    /// Where the line began.
    line: usize,
    format: Format,
    created: Arc<AtomicU64>,
}

impl Write for Sheet {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if part == "\n" {
            return self.end_line();
        }
        // A quote within a label's value is escaped, so that this can only be the edge of a bucket.
        if self.text.ends_with("{le=\"")
            && let Ok(edge) = part.parse::<f64>()
            && edge.is_finite()
        {
            return canonical(&mut self.text, edge);
        }
        self.text.push_str(part);
        Ok(())
    }
}

impl Sheet {
    fn end_line(&mut self) -> fmt::Result {
        let line = self.line..self.text.len();
        self.text.push('\n');
        let created = self.created.load(Ordering::Relaxed);
        if created > 0 && self.format == Format::OpenMetrics && !self.text[line.clone()].starts_with('#') {
            let name = self.text[line.clone()].find(['{', ' ']).map_or(line.end, |end| line.start + end);
            let value = self.text[line.clone()].rfind(' ').map_or(line.end, |end| line.start + end);
            let family = self.text[line.start..name].strip_suffix("_total");
            let family = family.or_else(|| self.text[line.start..name].strip_suffix("_count")).map(str::len);
            if let Some(length) = family {
                self.text.extend_from_within(line.start..line.start + length);
                self.text.push_str("_created");
                self.text.extend_from_within(name..value);
                writeln!(self.text, " {}.{:03}", created / 1_000_000_000, created / 1_000_000 % 1000)?;
            }
        }
        self.line = self.text.len();
        Ok(())
    }
}

struct Labels<'a> {
    names: &'static [&'static str],
    values: &'a [&'a str],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        // To Prometheus a label with an empty value and none are the same.
        let present = self.names.iter().zip(self.values).filter(|(_, value)| !value.is_empty());
        present.map(|(name, value)| (*name, *value)).try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

impl EncodeCounterValue for Value {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => EncodeCounterValue::encode(value, encoder),
            Value::Float(value) => EncodeCounterValue::encode(value, encoder),
        }
    }
}

impl EncodeGaugeValue for Value {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Value::Int(value) => EncodeGaugeValue::encode(value, encoder),
            Value::Float(value) => EncodeGaugeValue::encode(value, encoder),
        }
    }
}

fn unit(unit: Unit) -> &'static registry::Unit {
    match unit {
        Unit::Seconds => &registry::Unit::Seconds,
        Unit::Bytes => &registry::Unit::Bytes,
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Writes an edge as OpenMetrics wants it, which is as Go's `%g` does: a scraper may compare edges as text.
fn canonical(text: &mut String, edge: f64) -> fmt::Result {
    if edge >= 1e-4 {
        return write!(text, "{edge:?}");
    }
    let start = text.len();
    write!(text, "{edge:e}")?;
    // Go writes two digits of exponent.
    if let Some(exponent) = text[start..].find("e-").map(|at| start + at + 2)
        && text.len() - exponent == 1
    {
        text.insert(exponent, '0');
    }
    Ok(())
}

#[cfg(test)]
mod tests;
