//! The exposition: every catalogue row as OpenMetrics or Prometheus text, within the caps on series and bytes. `page.rs` writes the
//! families whose series depend on the host, prometheus-client those about the agent itself, and a test compares the whole page with
//! what prometheus-client makes of it. Knows the view only through the catalogue's rows.

mod fit;
mod own;
mod page;

use std::sync::Arc;

use collector_core::metric::METRICS;
use collector_core::metric::row::{Detail, Kind, Metric};
use collector_core::view::View;

pub use fit::Cap;
use fit::Fit;
use page::Page;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// OpenMetrics 1.0
    OpenMetrics,
    /// Prometheus text format 0.0.4
    Text,
}

impl Format {
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Number of series. Known only after all other rows are written, so no rule can use it.
pub const SERIES: Metric = Metric {
    name: "headroom_series",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Series in this exposition, this one included.",
    labels: &[],
    needs: &[],
    read: |_, _| Ok(()),
};

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    pub text: String,
    /// Series above the cap. The text includes them in its loss counter already; later expositions do so only if the engine
    /// gets them as lost, [`Stage::Series`](collector_core::stage::Stage::Series).
    pub left_out: u64,
}

/// Renders the view. Above the cap on series, the last families and workloads in order are left out; above the cap on bytes, the series
/// with the longest labels, and of those that are as long the last in order.
pub fn render(view: &Arc<View>, format: Format, cap: Cap) -> Exposition {
    if let Some(whole) = write(view, format, cap, Fit::ALL) {
        return whole;
    }
    let fit = Fit::of(view, format, cap).unwrap_or(Fit::NONE);
    // The measure is no more than near, so this one is not refused for a little more.
    write(view, format, Cap { bytes: usize::MAX, ..cap }, fit).unwrap_or_default()
}

/// The series that fit; none if they have more bytes than the cap.
fn write(view: &Arc<View>, format: Format, cap: Cap, fit: Fit) -> Option<Exposition> {
    let mut page = Page::new(format, cap, fit);
    let (host, own) = METRICS.split_at(METRICS.iter().rposition(Metric::capped)? + 1);
    // Writing to a string cannot fail, so an error is the cap.
    for metric in host {
        page.begin();
        metric.write(view, cap.level, &mut page).ok()?;
    }
    let mut page = own::write(page, own, view).ok()?;
    page.text.shrink_to_fit();
    Some(Exposition { text: page.text, left_out: page.left_out })
}

#[cfg(test)]
mod tests;
