//! The whole exposition encoded by prometheus-client, and its text corrected where that lacks something: what pages are compared with.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use collector_core::metric::METRICS;
use collector_core::metric::row::{Buckets, Kind, Metric, Target, Value, seconds};
use collector_core::view::View;

use super::super::fit::{self, Cap, Fit};
use super::super::own::{Labels, Number, unit};
use super::super::{Exposition, Format, SERIES};

pub fn render(view: &Arc<View>, format: Format, cap: Cap) -> Exposition {
    if let Some(whole) = write(view, format, cap, Fit::ALL) {
        return whole;
    }
    let fit = Fit::of(view, format, cap).unwrap_or(Fit::NONE);
    write(view, format, Cap { bytes: usize::MAX, ..cap }, fit).unwrap_or_default()
}

fn write(view: &Arc<View>, format: Format, cap: Cap, fit: Fit) -> Option<Exposition> {
    let view = view.clone();
    let families = move |target: &mut Take<'_>| {
        METRICS.iter().try_for_each(|metric| target(&mut |target| metric.write(&view, cap.level, target)))
    };
    encode(Box::new(families), format, cap, fit)
}

/// Takes what writes the series of one family.
pub type Take<'a> = dyn FnMut(&mut dyn FnMut(&mut dyn Target) -> fmt::Result) -> fmt::Result + 'a;
/// Calls its argument once a family.
pub type Families = Box<dyn Fn(&mut Take<'_>) -> fmt::Result + Send + Sync>;

/// Encodes these families, and the number of series.
pub fn encode(families: Families, format: Format, cap: Cap, fit: Fit) -> Option<Exposition> {
    let created = Arc::new(AtomicU64::new(0));
    let left_out = Arc::new(AtomicU64::new(0));
    let length = Arc::new(AtomicUsize::new(0));
    let page = Page {
        families,
        format,
        cap,
        fit,
        created: created.clone(),
        left_out: left_out.clone(),
        length: length.clone(),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(page));
    let mut sheet = Sheet { text: String::new(), line: 0, format, created, length };
    let written = match format {
        Format::OpenMetrics => text::encode(&mut sheet, &registry),
        Format::Text => text::encode_registry(&mut sheet, &registry),
    };
    written.ok()?;
    Some(Exposition { text: sheet.text, left_out: left_out.load(Ordering::Relaxed) })
}

/// A family's header is written with its first series.
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

#[derive(Clone, Copy)]
struct Tally {
    series: u64,
    left_out: u64,
    full: bool,
    fit: Fit,
}

struct Page {
    families: Families,
    format: Format,
    cap: Cap,
    fit: Fit,
    created: Arc<AtomicU64>,
    left_out: Arc<AtomicU64>,
    /// Bytes written so far.
    length: Arc<AtomicUsize>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("page")
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut tally = Tally { series: 0, left_out: 0, full: false, fit: self.fit };
        (self.families)(&mut |write| {
            let mut writer = Writer { page: self, family: Family::Closed(&mut encoder), tally };
            write(&mut writer)?;
            tally = writer.tally;
            Ok(())
        })?;
        let mut writer = Writer { page: self, family: Family::Closed(&mut encoder), tally };
        writer.gauge(&SERIES, &[], Value::Int(tally.series + 1))?;
        self.left_out.store(tally.left_out, Ordering::Relaxed);
        // Nothing after the last family gets a `_created` line.
        self.created.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// Encodes the series of one family.
struct Writer<'a, 'b> {
    page: &'a Page,
    family: Family<'a, 'b>,
    tally: Tally,
}

impl Target for Writer<'_, '_> {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        let text = self.page.format == Format::Text;
        self.write(metric, labels, 1, created, |encoder| match text {
            // As a counter it would get a second `_total`: in this format the family's name has it already.
            true => encoder.encode_gauge(&Number(value)),
            false => encoder.encode_counter::<NoLabelSet, _, u64>(&Number(value), None),
        })
    }

    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: Value) -> fmt::Result {
        self.write(metric, labels, 1, 0, |encoder| encoder.encode_gauge(&Number(value)))
    }

    fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        buckets: Buckets<'_>,
        created: u64,
    ) -> fmt::Result {
        let edge = |index| buckets.edge_ns(index).map_or(f64::INFINITY, seconds);
        let counts = buckets.counts().iter().enumerate();
        let pairs: Vec<(f64, u64)> = counts.map(|(index, count)| (edge(index), *count)).collect();
        let sum = seconds(buckets.sum_ns());
        self.write(metric, labels, pairs.len() as u64 + 2, created, |encoder| {
            encoder.encode_histogram::<NoLabelSet>(sum, buckets.count(), &pairs, None)
        })
    }

    fn info(&mut self, metric: &'static Metric, labels: &[&str]) -> fmt::Result {
        let set = Labels { names: metric.labels, values: labels };
        match self.page.format {
            Format::OpenMetrics => match self.admits(metric, labels, 1, 0)? {
                true => self.family.open(metric, Format::OpenMetrics)?.encode_info(&set),
                false => Ok(()),
            },
            Format::Text => self.gauge(metric, labels, Value::Int(1)),
        }
    }

    fn left_out(&self) -> u64 {
        self.tally.left_out
    }
}

impl Writer<'_, '_> {
    /// Whether the caps leave room for these series, which it counts either way; an error above the cap on bytes.
    fn admits(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        series: u64,
        created: u64,
    ) -> Result<bool, fmt::Error> {
        if self.page.length.load(Ordering::Relaxed) > self.page.cap.bytes {
            return Err(fmt::Error);
        }
        if metric.capped() && !self.tally.fit.takes(metric, labels, fit::lines(series, created, self.page.format)) {
            self.tally.left_out += series;
            return Ok(false);
        }
        let over = self.tally.full || self.tally.series + series > self.page.cap.series as u64;
        if over && metric.capped() {
            // Once full, leave out everything after, even if it would fit: so the cut is predictable.
            self.tally.full = true;
            self.tally.left_out += series;
            return Ok(false);
        }
        self.tally.series += series;
        self.page.created.store(created, Ordering::Relaxed);
        Ok(true)
    }

    fn write(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        series: u64,
        created: u64,
        encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        if !self.admits(metric, labels, series, created)? {
            return Ok(());
        }
        let encoder = self.family.open(metric, self.page.format)?;
        if labels.is_empty() {
            return encode(encoder);
        }
        debug_assert_eq!(labels.len(), metric.labels.len(), "labels of {}", metric.name);
        let labels = Labels { names: metric.labels, values: labels };
        encode(&mut encoder.encode_family(&labels)?)
    }
}

/// Receives the encoder's text; adjusts bucket edges and adds `_created` lines.
struct Sheet {
    text: String,
    /// Offset of the current line.
    line: usize,
    format: Format,
    created: Arc<AtomicU64>,
    /// Bytes of whole lines.
    length: Arc<AtomicUsize>,
}

impl Write for Sheet {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        if part == "\n" {
            return self.end_line();
        }
        // Quotes within label values are escaped, so this can only be a bucket edge.
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
        self.length.store(self.line, Ordering::Relaxed);
        Ok(())
    }
}

/// Writes an edge in OpenMetrics' canonical form, like Go's `%g`: a scraper may compare edges as text.
fn canonical(text: &mut String, edge: f64) -> fmt::Result {
    if edge == 0.0 || (1e-4..1e6).contains(&edge) {
        return write!(text, "{edge:?}");
    }
    // Go writes the sign, and two digits of exponent.
    let plain = format!("{edge:e}");
    let (number, exponent) = plain.split_once('e').ok_or(fmt::Error)?;
    let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    write!(text, "{number}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}
