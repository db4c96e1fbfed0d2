//! The families about the agent itself: probes, sources, losses, deliveries, the process. They are few and the same everywhere,
//! and prometheus-client encodes them, into the same text. Adds what its text encoder lacks, `_created`.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    CounterValueEncoder, DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabel, EncodeLabelSet,
    GaugeValueEncoder, LabelSetEncoder, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{self, Registry};

use collector_core::metric::row::{Buckets, Kind, Level, Metric, Target, Unit, Value};
use collector_core::view::View;

use super::page::Page;
use super::{Format, SERIES};
use crate::mutex::lock;

/// Adds these families, the number of series, and the end of the page.
pub fn write(mut page: Page, metrics: &'static [Metric], view: &Arc<View>) -> Result<Page, fmt::Error> {
    page.begin();
    let (format, level) = (page.format, page.cap.level);
    let page = Arc::new(Mutex::new(page));
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Own { metrics, view: view.clone(), format, level, page: page.clone() }));
    let mut sheet = Sheet(page.clone());
    match format {
        Format::OpenMetrics => text::encode(&mut sheet, &registry)?,
        Format::Text => text::encode_registry(&mut sheet, &registry)?,
    }
    drop((sheet, registry));
    Mutex::into_inner(Arc::into_inner(page).ok_or(fmt::Error)?).map_err(|_| fmt::Error)
}

/// Receives the encoder's text.
struct Sheet(Arc<Mutex<Page>>);

impl Write for Sheet {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        lock(&self.0).text.push_str(part);
        Ok(())
    }
}

#[derive(Debug)]
struct Own {
    metrics: &'static [Metric],
    view: Arc<View>,
    format: Format,
    level: Level,
    page: Arc<Mutex<Page>>,
}

impl Collector for Own {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in self.metrics {
            metric.write(&self.view, self.level, &mut self.writer(&mut encoder))?;
        }
        let series = lock(&self.page).series;
        self.writer(&mut encoder).gauge(&SERIES, &[], Value::Int(series + 1))
    }
}

impl Own {
    fn writer<'a, 'b>(&'a self, encoder: &'a mut DescriptorEncoder<'b>) -> Writer<'a, 'b> {
        Writer { page: &self.page, format: self.format, family: Family::Closed(encoder) }
    }
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

/// Encodes the series of one family.
struct Writer<'a, 'b> {
    page: &'a Mutex<Page>,
    format: Format,
    family: Family<'a, 'b>,
}

impl Target for Writer<'_, '_> {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        let text = self.format == Format::Text;
        self.write(metric, labels, created, |encoder| match text {
            // As a counter it would get a second `_total`: in this format the family's name has it already.
            true => encoder.encode_gauge(&Number(value)),
            false => encoder.encode_counter::<NoLabelSet, _, u64>(&Number(value), None),
        })
    }

    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: Value) -> fmt::Result {
        self.write(metric, labels, 0, |encoder| encoder.encode_gauge(&Number(value)))
    }

    fn histogram(&mut self, metric: &'static Metric, labels: &[&str], value: Buckets<'_>, created: u64) -> fmt::Result {
        lock(self.page).histogram(metric, labels, value, created)
    }

    fn info(&mut self, metric: &'static Metric, labels: &[&str]) -> fmt::Result {
        if self.format == Format::Text {
            return self.gauge(metric, labels, Value::Int(1));
        }
        // Not in a condition that lasts: the encoder's text needs the same lock.
        let admitted = lock(self.page).admits(metric, labels, 1, 0)?;
        if admitted {
            let labels = Labels { names: metric.labels, values: labels };
            self.family.open(metric, self.format)?.encode_info(&labels)?;
        }
        Ok(())
    }

    fn left_out(&self) -> u64 {
        lock(self.page).left_out
    }
}

impl Writer<'_, '_> {
    fn write(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        created: u64,
        encode: impl FnOnce(&mut MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        let admitted = lock(self.page).admits(metric, labels, 1, created)?;
        if !admitted {
            return Ok(());
        }
        let encoder = self.family.open(metric, self.format)?;
        match labels.is_empty() {
            true => encode(encoder)?,
            false => encode(&mut encoder.encode_family(&Labels { names: metric.labels, values: labels })?)?,
        }
        lock(self.page).created_after(metric, labels, created);
        Ok(())
    }
}

pub(super) struct Labels<'a> {
    pub names: &'static [&'static str],
    pub values: &'a [&'a str],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        // For Prometheus an empty label equals a missing one.
        let present = self.names.iter().zip(self.values).filter(|(_, value)| !value.is_empty());
        present.map(|(name, value)| (*name, *value)).try_for_each(|label| label.encode(encoder.encode_label()))
    }
}

#[derive(Debug)]
pub(super) struct Number(pub Value);

impl EncodeCounterValue for Number {
    fn encode(&self, encoder: &mut CounterValueEncoder<'_>) -> fmt::Result {
        match &self.0 {
            Value::Int(value) => EncodeCounterValue::encode(value, encoder),
            Value::Float(value) => EncodeCounterValue::encode(value, encoder),
        }
    }
}

impl EncodeGaugeValue for Number {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match &self.0 {
            Value::Int(value) => EncodeGaugeValue::encode(value, encoder),
            Value::Float(value) => EncodeGaugeValue::encode(value, encoder),
        }
    }
}

pub(super) fn unit(unit: Unit) -> &'static registry::Unit {
    match unit {
        Unit::Seconds => &registry::Unit::Seconds,
        Unit::Bytes => &registry::Unit::Bytes,
    }
}
