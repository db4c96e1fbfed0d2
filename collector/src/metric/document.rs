//! The catalogue as documentation.

use std::fmt::Write;

use super::{Kind, METRICS, Metric};

/// The page `docs/metrics.md`.
pub fn document() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         Generated from the catalogue in `collector/src/metric`.\n\n\
         What this host cannot measure has no series at all: a metric is there only if the programs that it needs are\n\
         attached, and `headroom_probe_state` says which are. A counter starts at zero when the agent starts, or when its\n\
         workload is first seen; OpenMetrics carries that time as `_created`. Histogram buckets are powers of two of a\n\
         microsecond, up to 33.6 s. In this version a workload is a cgroup path; `other` is the sum of all that have no\n\
         series of their own. A workload's series leave some time after its death (`workload.grace`). Of the series by\n\
         workload or device, those over `metrics.max_series` are left out, and counted in `headroom_lost_total`.\n\n\
         | metric | type | labels | needs | what it says |\n|---|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Info => "info",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let labels = if labels.is_empty() { "–".into() } else { labels.join(", ") };
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| `{}` | {kind} | {labels} | {} | {} |", metric.name, needs(metric), metric.help);
    }
    page
}

fn needs(metric: &Metric) -> String {
    let programs =
        |programs: &&[&str]| programs.iter().map(|program| format!("`{program}`")).collect::<Vec<_>>().join(" and ");
    let alternatives: Vec<String> = metric.needs.iter().copied().flatten().map(programs).collect();
    if alternatives.is_empty() { "–".into() } else { alternatives.join("; or ") }
}
