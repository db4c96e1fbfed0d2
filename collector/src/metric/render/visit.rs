//! A family's series as numbers: what rules look at. The same rows as are rendered, and no text is made.

use super::super::{Kind, METRICS, Metric, Need};
use super::{Emit, Target};
use crate::view::View;

/// What of a family is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The number.
    Whole,
    /// A histogram's sum.
    Sum,
    /// A histogram's count.
    Count,
}

impl Part {
    /// The metric, and the part of it, that a name stands for: of a histogram it ends in `_sum` or `_count`.
    pub fn find(name: &str) -> Option<(&'static Metric, Part)> {
        let named = |name: &str| METRICS.iter().find(|metric| metric.name == name);
        let part = |suffix, part| {
            let metric = named(name.strip_suffix(suffix)?).filter(|metric| metric.kind == Kind::Histogram)?;
            Some((metric, part))
        };
        let whole = named(name).filter(|metric| metric.kind != Kind::Histogram).map(|metric| (metric, Part::Whole));
        whole.or_else(|| part("_sum", Part::Sum)).or_else(|| part("_count", Part::Count))
    }

    /// Whether it only ever grows.
    pub fn grows(self, metric: &Metric) -> bool {
        matches!(metric.kind, Kind::Counter | Kind::Histogram)
    }
}

/// Hands each series of a metric to `visit`: the values of its labels, its number, and when it began at zero in
/// nanoseconds since the Unix epoch (zero if that is not known, or is no matter). What this host cannot see has none.
pub fn visit(view: &View, metric: &'static Metric, part: Part, visit: &mut dyn FnMut(&[&str], f64, u64)) {
    let Some(seen) = seen(view, metric) else { return };
    let mut emit = Emit { metric, seen, target: Target::Visitor(part, visit) };
    // A visitor cannot fail.
    let _ = (metric.read)(view, &mut emit);
}

/// A bit for each of [`Metric::needs`] that is met; `None` if none of them is.
pub(super) fn seen(view: &View, metric: &Metric) -> Option<u32> {
    let bit = |(index, need): (usize, &Need)| u32::from(view.coverage.sees(need)) << index;
    let seen = metric.needs.iter().enumerate().map(bit).sum();
    (seen != 0 || metric.needs.is_empty()).then_some(seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::metric::{Format, render};
    use crate::source::replay::samples;

    /// Every series of some recordings, as the exposition has them and as a visitor does.
    #[test]
    fn a_visitor_is_told_what_a_page_says() {
        let mut series = 0;
        for recording in [
            include_str!("../../../../tests/fixtures/replay/everything.jsonl"),
            include_str!("../../../../tests/fixtures/replay/statistic.jsonl"),
            include_str!("../../../../tests/fixtures/replay/gpu.jsonl"),
            include_str!("../../../../tests/fixtures/replay/transfer.jsonl"),
        ] {
            let mut engine = Engine::new();
            samples(recording.as_bytes()).for_each(|sample| drop(engine.apply(&sample.unwrap())));
            let page = render(engine.view(), Format::Text, usize::MAX).text;
            for metric in METRICS.iter().filter(|metric| metric.name != "headroom_series") {
                for part in [Part::Whole, Part::Sum, Part::Count] {
                    let suffix = match (metric.kind, part) {
                        (Kind::Histogram, Part::Sum) => "_sum",
                        (Kind::Histogram, Part::Count) => "_count",
                        (Kind::Histogram, Part::Whole) | (_, Part::Sum | Part::Count) => continue,
                        (_, Part::Whole) => "",
                    };
                    let name = format!("{}{suffix}", metric.name);
                    let mut wanted: Vec<_> = page
                        .lines()
                        .filter_map(|line| line.strip_prefix(&name)?.rsplit_once(' '))
                        .filter(|(labels, _)| labels.is_empty() || labels.starts_with('{'))
                        .map(|(labels, value)| (labels.to_owned(), value.parse::<f64>().unwrap()))
                        .collect();
                    let mut told = Vec::new();
                    assert_eq!(Part::find(&name).map(|(found, part)| (found.name, part)), Some((metric.name, part)));
                    visit(engine.view(), metric, part, &mut |values, number, _| {
                        let labels = metric.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
                        let escape = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                        let labels: Vec<_> =
                            labels.map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
                        let labels =
                            if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                        told.push((labels, number));
                    });
                    let order = |a: &(String, f64), b: &(String, f64)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
                    wanted.sort_by(order);
                    told.sort_by(order);
                    assert_eq!(told, wanted, "{name}");
                    series += told.len();
                }
            }
        }
        assert!(series > 300, "{series}");
    }
}
