//! [`Metric`], a row of the catalogue: a name, the help text, what must be attached for it, and the function that reads its
//! series from the view. A row writes to [`Emit`], which passes the series on to a [`Target`]: a page, or a visitor of numbers.

use std::cell::Cell;
use std::fmt;

pub use super::bucket::Buckets;
pub use super::detail::{Detail, Level};
pub use crate::amount::Unit;
use crate::count::Histogram;
use crate::signal::Need;
use crate::statistic::model::Latency;
use crate::view::View;
use crate::view::workload::Workload;

/// The labels that name a workload: the first labels of every metric about a workload. Their values are
/// [`Workload::labels`](crate::view::workload::Workload::labels).
pub const WORKLOAD: [&str; 4] = ["workload", "namespace", "pod", "container"];

pub(super) const fn workload_and(label: &'static str) -> [&'static str; 5] {
    let [workload, namespace, pod, container] = WORKLOAD;
    [workload, namespace, pod, container, label]
}

/// One family of metrics.
#[derive(Clone, Copy)]
pub struct Metric {
    /// The full name: the unit comes before the suffix, which is `_total` for a counter and `_info` for an info.
    pub name: &'static str,
    pub kind: Kind,
    /// `seconds` or `bytes`, the same as in the name.
    pub unit: Option<Unit>,
    /// What of it is shown at the usual level.
    pub detail: Detail,
    /// What it measures, and from whose viewpoint: the HELP text.
    pub help: &'static str,
    /// In the order in which `read` gives their values.
    pub labels: &'static [&'static str],
    /// What must be attached for it to be known. Each need stands for a part of its series; if none is met, there is no series.
    /// Empty if it does not come from a probe.
    pub needs: &'static [Need],
    /// Reads its series from the view, in an order that depends on the view alone.
    pub read: fn(&View, &mut Emit<'_>) -> fmt::Result,
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, by length.
    Histogram,
    /// Always 1; the labels carry the information.
    Info,
}

impl Metric {
    /// The name without the suffixes of kind and unit: the OpenMetrics family name without its unit.
    pub fn stem(&self) -> &'static str {
        let suffix = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram => "",
        };
        let family = self.name.strip_suffix(suffix).unwrap_or(self.name);
        let unit = self.unit.and_then(|unit| family.strip_suffix(unit.name())?.strip_suffix('_'));
        unit.unwrap_or(family)
    }

    /// Whether its series are about alerts. Rules may not read those.
    pub fn is_about_alerts(&self) -> bool {
        self.labels.contains(&"alert")
    }

    /// Whether the number of its series depends on what runs on the host, so that the cap on series applies.
    pub fn capped(&self) -> bool {
        self.labels.iter().any(|label| matches!(*label, "workload" | "device" | "gpu"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    Int(u64),
    Float(f64),
}

impl Value {
    /// Nanoseconds as seconds.
    pub fn seconds(ns: u64) -> Value {
        Value::Float(seconds(ns))
    }

    pub fn number(self) -> f64 {
        match self {
            Value::Int(value) => value as f64,
            Value::Float(value) => value,
        }
    }

    fn is_zero(self) -> bool {
        self.number() == 0.0
    }
}

/// Nanoseconds as seconds.
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Receives series. `labels` are the values only, in the order of [`Metric::labels`]; an empty value means no label.
/// `created` is the time when a counter started at zero, in nanoseconds since the Unix epoch; zero where that is not known.
pub trait Target {
    fn counter(&mut self, metric: &'static Metric, labels: &[&str], value: Value, created: u64) -> fmt::Result;
    fn gauge(&mut self, metric: &'static Metric, labels: &[&str], value: Value) -> fmt::Result;
    fn histogram(
        &mut self,
        metric: &'static Metric,
        labels: &[&str],
        buckets: Buckets<'_>,
        created: u64,
    ) -> fmt::Result;
    /// The slot of the workload that the next series is about, if its labels begin with those of a workload that `read` has from
    /// [`Emit::workloads`].
    fn about(&mut self, _workload: Option<usize>) {}
    /// A series whose labels carry the information. Most formats write a gauge of 1.
    fn info(&mut self, metric: &'static Metric, labels: &[&str]) -> fmt::Result {
        self.gauge(metric, labels, Value::Int(1))
    }
    /// Number of series left out so far because of the cap.
    fn left_out(&self) -> u64 {
        0
    }
}

pub struct Emit<'a> {
    metric: &'static Metric,
    /// A bit for each of [`Metric::needs`] that is met.
    seen: u32,
    level: Level,
    detail: Detail,
    /// Only the series of workloads that moved.
    moved: bool,
    /// The present workload.
    workload: &'a Cell<Option<Present>>,
    target: &'a mut dyn Target,
}

/// The workload that the next series are about.
#[derive(Clone, Copy)]
struct Present {
    slot: usize,
    /// Whether it is or was busy.
    busy: bool,
}

impl Metric {
    /// Writes the series of the metric that this host can measure, and that are shown at this level, to `target`.
    pub fn write(&'static self, view: &View, level: Level, target: &mut dyn Target) -> fmt::Result {
        self.emit(view, false, level, target)
    }

    /// The same; if `moved`, those of the workloads only that moved since the last tick.
    pub(super) fn emit(&'static self, view: &View, moved: bool, level: Level, target: &mut dyn Target) -> fmt::Result {
        let detail = self.detail.on(&view.coverage);
        if level == Level::Usual && detail.is_full() {
            return Ok(());
        }
        let workload = &Cell::new(None);
        match self.seen(view) {
            Some(seen) => (self.read)(view, &mut Emit { metric: self, seen, level, detail, moved, workload, target }),
            None => Ok(()),
        }
    }

    /// A bit for each of [`Metric::needs`] that is met; `None` if none of them is.
    fn seen(&self, view: &View) -> Option<u32> {
        let bit = |(index, need): (usize, &Need)| u32::from(view.coverage.sees(need)) << index;
        let seen = self.needs.iter().enumerate().map(bit).sum();
        (seen != 0 || self.needs.is_empty()).then_some(seen)
    }
}

impl<'a> Emit<'a> {
    /// The workloads that have series. A series that is emitted for one of them begins with its labels.
    pub fn workloads<'v>(&self, view: &'v View) -> impl Iterator<Item = &'v Workload> + use<'a, 'v> {
        let (mut shown, present) = (view.workloads.shown_slots(self.moved), self.workload);
        std::iter::from_fn(move || {
            let next = shown.next();
            present.set(next.map(|(slot, workload)| Present { slot, busy: workload.is_busy() }));
            next.map(|(_, workload)| workload)
        })
    }

    pub fn metric(&self) -> &'static Metric {
        self.metric
    }

    /// Whether the programs of one of [`Metric::needs`], by its index, are attached.
    pub fn sees(&self, need: usize) -> bool {
        self.seen & 1 << need != 0
    }

    pub fn left_out(&self) -> u64 {
        self.target.left_out()
    }

    pub fn is_full(&self) -> bool {
        self.level == Level::Full
    }

    /// Whether a series with these values of labels is shown; `used` says whether it is or was not zero.
    pub(super) fn shows(&self, labels: &[&str], used: impl FnOnce() -> bool) -> bool {
        // A workload may have the name of a part.
        let own = || if self.metric.labels.starts_with(&WORKLOAD) { &labels[WORKLOAD.len()..] } else { labels };
        self.is_full() || {
            let busy = self.workload.get().is_none_or(|present| present.busy);
            self.detail.of(own).shows(busy, used())
        }
    }

    /// Says which workload the next series is about.
    fn about(&mut self) {
        self.target.about(self.workload.get().map(|present| present.slot));
    }

    /// The time when a counter started is a series of its own for many who read it.
    fn created(&self, created: u64) -> u64 {
        if self.is_full() { created } else { 0 }
    }

    pub fn counter(&mut self, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        self.about();
        match self.shows(labels, || !value.is_zero()) {
            true => self.target.counter(self.metric, labels, value, self.created(created)),
            false => Ok(()),
        }
    }

    /// Writes a counter that stays zero for most workloads, unless it is zero: those series would make the exposition half as
    /// long again, and carry no information.
    pub fn rare(&mut self, labels: &[&str], value: Value, created: u64) -> fmt::Result {
        if value.is_zero() { Ok(()) } else { self.counter(labels, value, created) }
    }

    pub fn gauge(&mut self, labels: &[&str], value: Value) -> fmt::Result {
        self.about();
        // One that goes through zero and back would come and go; one that says which state holds shall.
        let states = self.detail == Detail::Used;
        match self.shows(labels, || !states || !value.is_zero()) {
            true => self.target.gauge(self.metric, labels, value),
            false => Ok(()),
        }
    }

    pub fn info(&mut self, labels: &[&str]) -> fmt::Result {
        self.about();
        self.target.info(self.metric, labels)
    }

    pub fn histogram(&mut self, labels: &[&str], histogram: &Histogram, created: u64) -> fmt::Result {
        self.buckets(labels, Buckets::from(histogram), created)
    }

    /// A histogram with edges of whoever counted. When it started is not known.
    pub fn latency(&mut self, labels: &[&str], latency: &Latency) -> fmt::Result {
        self.buckets(labels, Buckets::from(latency), 0)
    }

    fn buckets(&mut self, labels: &[&str], buckets: Buckets<'_>, created: u64) -> fmt::Result {
        self.about();
        match self.shows(labels, || buckets.count() > 0) {
            true => self.target.histogram(self.metric, labels, buckets, self.created(created)),
            false => Ok(()),
        }
    }

    /// Writes a number, in nanoseconds if the unit of the metric is seconds. When a counter started is not known.
    pub fn number(&mut self, labels: &[&str], number: u64) -> fmt::Result {
        self.number_since(labels, number, 0)
    }

    /// The same for a counter whose start is known.
    pub fn number_since(&mut self, labels: &[&str], number: u64, created: u64) -> fmt::Result {
        match self.metric.kind {
            Kind::Counter => self.counter(labels, self.value(number), created),
            Kind::Gauge | Kind::Histogram | Kind::Info => self.gauge(labels, self.value(number)),
        }
    }

    /// The same for a series of which [`Emit::shows`] was asked already.
    pub(super) fn shown(&mut self, labels: &[&str], number: u64, created: u64) -> fmt::Result {
        let value = self.value(number);
        self.about();
        match self.metric.kind {
            Kind::Counter => self.target.counter(self.metric, labels, value, self.created(created)),
            Kind::Gauge | Kind::Histogram | Kind::Info => self.target.gauge(self.metric, labels, value),
        }
    }

    fn value(&self, number: u64) -> Value {
        match self.metric.unit {
            Some(Unit::Seconds) => Value::seconds(number),
            Some(Unit::Bytes) | None => Value::Int(number),
        }
    }
}
