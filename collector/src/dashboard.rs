//! Generates the Grafana dashboard: one panel for each family of the catalogue that the usual level of detail shows. Knows panels and queries; knows metrics only
//! through their catalogue rows.

use collector_core::metric::METRICS;
use collector_core::metric::row::{Kind, Metric, Unit, WORKLOAD};
use serde_json::{Value, json};

use crate::exposition::SERIES;

/// Rows of the dashboard: prefix of metric names, and title. The first match wins.
const ROWS: [(&str, &str); 11] = [
    ("headroom_alerts", "Alerts"),
    ("headroom_oom_", "OOM kills"),
    ("headroom_host_disk_", "Disks"),
    ("headroom_host_filesystem_", "Filesystems"),
    ("headroom_host_", "Host"),
    ("headroom_major_fault_", "Host"),
    ("headroom_block_", "Block IO"),
    ("headroom_gpu_", "GPUs"),
    ("headroom_workload_gpu_", "GPUs"),
    ("headroom_workload_", "Workloads"),
    ("", "Headroom itself"),
];

/// Units other than bytes and seconds, by suffix of the metric name: Grafana's unit for the value and for its rate.
const UNITS: [(&str, &str, &str); 4] = [
    ("_ratio", "percentunit", "percentunit"),
    ("_celsius", "celsius", "celsius"),
    ("_watts", "watt", "watt"),
    ("_joules_total", "joule", "watt"),
];

/// Grafana's grid: columns, and the size of a panel.
const COLUMNS: usize = 24;
const WIDTH: usize = 8;
const HEIGHT: usize = 8;

/// Label matchers with dashboard variables.
const INSTANCE: &str = "instance=~\"$instance\"";
const CHOSEN: &str = "workload=~\"$workload\"";

/// The page `deploy/grafana/headroom.json`.
pub fn document() -> String {
    let dashboard = json!({
        "title": "Headroom",
        "uid": "headroom",
        "description": "How much headroom each host has, who is eating it, and what it costs them. \
            Generated from the catalogue of metrics by `BLESS=1 cargo test -p collector docs`.",
        "tags": ["headroom"],
        "schemaVersion": 39,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": variables() },
        "panels": panels(),
    });
    // `#` pretty-prints.
    format!("{dashboard:#}\n")
}

fn variables() -> Value {
    let of = |name: &str, label: &str, query: &str| {
        json!({
            "name": name, "label": label, "type": "query", "datasource": datasource(), "definition": query,
            "query": { "query": query, "refId": "variable" }, "refresh": 2, "sort": 1,
            "multi": true, "includeAll": true, "allValue": ".*", "current": { "text": "All", "value": "$__all" },
        })
    };
    json!([
        { "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus" },
        of("instance", "Host", "label_values(headroom_build_info, instance)"),
        of("workload", "Workload", "label_values(headroom_workload_info{instance=~\"$instance\"}, workload)"),
        {
            "name": "top", "label": "Largest", "type": "custom", "query": "5,10,20,50",
            "current": { "text": "10", "value": "10" },
        },
    ])
}

fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn panels() -> Vec<Value> {
    let mut panels = Vec::new();
    let mut y = 0;
    let titles = ROWS.iter().map(|(_, title)| *title);
    let mut seen = Vec::new();
    for title in titles {
        if seen.contains(&title) {
            continue;
        }
        seen.push(title);
        let members: Vec<_> = shown().filter(|metric| row(metric) == title).collect();
        if members.is_empty() {
            continue;
        }
        panels.push(json!({
            "id": panels.len() + 1, "type": "row", "title": title, "collapsed": false,
            "gridPos": { "x": 0, "y": y, "w": COLUMNS, "h": 1 },
        }));
        y += 1;
        for (place, metric) in members.iter().enumerate() {
            let (x, below) = (place * WIDTH % COLUMNS, place * WIDTH / COLUMNS * HEIGHT);
            let id = panels.len() + 1;
            panels.push(panel(metric, id, json!({ "x": x, "y": y + below, "w": WIDTH, "h": HEIGHT })));
        }
        y += (members.len() * WIDTH).div_ceil(COLUMNS) * HEIGHT;
    }
    panels
}

/// The families that have panels: one of the level `full` would be empty for most.
fn shown() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().chain([&SERIES]).filter(|metric| !metric.detail.is_full())
}

fn row(metric: &Metric) -> &'static str {
    ROWS.iter().find(|(prefix, _)| metric.name.starts_with(prefix)).map_or("", |(_, title)| title)
}

fn panel(metric: &Metric, id: usize, place: Value) -> Value {
    let info = metric.kind == Kind::Info;
    let queries = queries(metric).into_iter().enumerate().map(|(index, (query, legend))| {
        json!({
            "refId": format!("Q{index}"), "datasource": datasource(), "expr": query, "legendFormat": legend,
            "instant": info, "range": !info, "format": if info { "table" } else { "time_series" },
        })
    });
    json!({
        "id": id,
        "type": if info { "table" } else { "timeseries" },
        "title": title(metric),
        "description": metric.help,
        "datasource": datasource(),
        "gridPos": place,
        "fieldConfig": {
            "defaults": { "unit": unit(metric), "min": if unsigned(metric) { json!(0) } else { Value::Null } },
            "overrides": [],
        },
        "options": if info { json!({}) } else { json!({ "tooltip": { "mode": "multi", "sort": "desc" } }) },
        "targets": queries.collect::<Vec<_>>(),
    })
}

/// The queries of a metric's panel, each with its legend.
fn queries(metric: &Metric) -> Vec<(String, String)> {
    let (name, workload) = (metric.name, metric.labels.starts_with(&WORKLOAD));
    let chosen = if workload { format!("{INSTANCE},{CHOSEN}") } else { INSTANCE.to_owned() };
    let legend: Vec<String> = legend(metric).map(|label| format!("{{{{{label}}}}}")).collect();
    let legend = legend.join(" ");
    // A panel with a thousand workloads is unreadable.
    let largest = |query: String| if workload { format!("topk($top, {query})") } else { query };
    match metric.kind {
        Kind::Counter => vec![(largest(format!("rate({name}{{{chosen}}}[$__rate_interval])")), legend)],
        Kind::Gauge => vec![(largest(format!("{name}{{{chosen}}}")), legend)],
        Kind::Info => vec![(format!("{name}{{{chosen}}}"), legend)],
        Kind::Histogram => {
            let by: Vec<&str> = self::legend(metric).chain(["le"]).collect();
            let by = by.join(", ");
            let quantile = |share: f64| {
                let buckets = format!("sum by ({by}) (rate({name}_bucket{{{chosen}}}[$__rate_interval]))");
                (largest(format!("histogram_quantile({share}, {buckets})")), format!("{legend} p{:.0}", share * 100.0))
            };
            vec![quantile(0.5), quantile(0.99)]
        }
    }
}

/// The labels in a panel's legend.
fn legend(metric: &Metric) -> impl Iterator<Item = &'static str> {
    // A workload's name includes namespace, pod and container; a GPU's index is shorter than its UUID.
    let shown = |label: &&str| !["namespace", "pod", "container", "uuid"].contains(label);
    std::iter::once("instance").chain(metric.labels.iter().copied().filter(shown))
}

/// `headroom_host_memory_used_ratio` → `host memory used ratio`.
fn title(metric: &Metric) -> String {
    let name = metric.name.strip_prefix("headroom_").unwrap_or(metric.name);
    let name = name.strip_suffix("_total").unwrap_or(name).replace('_', " ");
    match metric.kind {
        Kind::Counter => format!("{name} per second"),
        Kind::Gauge | Kind::Histogram | Kind::Info => name,
    }
}

fn unit(metric: &Metric) -> &'static str {
    let rate = metric.kind == Kind::Counter;
    match metric.unit {
        Some(Unit::Bytes) if rate => "Bps",
        Some(Unit::Bytes) => "bytes",
        // Seconds per second are a share of time.
        Some(Unit::Seconds) if rate => "percentunit",
        Some(Unit::Seconds) => "s",
        None => match UNITS.iter().find(|(suffix, ..)| metric.name.ends_with(suffix)) {
            Some((_, value, per_second)) => {
                if rate {
                    per_second
                } else {
                    value
                }
            }
            None if metric.name.ends_with("_bytes_per_second") => "Bps",
            None if rate => "cps",
            None => "short",
        },
    }
}

/// Whether the value is never negative, so the axis starts at zero.
fn unsigned(metric: &Metric) -> bool {
    !metric.name.ends_with("_celsius")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str) -> &'static Metric {
        METRICS.iter().find(|metric| metric.name == name).unwrap()
    }

    #[test]
    fn each_family_has_one_panel_and_panels_do_not_overlap() {
        let panels = panels();
        let shown: Vec<&Value> = panels.iter().filter(|panel| panel["type"] != "row").collect();
        assert_eq!(shown.len(), super::shown().count());
        let full = METRICS.iter().filter(|metric| metric.detail.is_full()).count();
        assert_eq!(shown.len(), METRICS.len() + 1 - full);
        let mut cells = std::collections::BTreeSet::new();
        let mut ids = std::collections::BTreeSet::new();
        for panel in &panels {
            assert!(ids.insert(panel["id"].as_u64().unwrap()));
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
            assert!(x + w <= COLUMNS as u64);
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(cells.insert(cell), "{} overlaps another panel", panel["title"]);
            }
        }
    }

    #[test]
    fn queries_fit_the_kind_of_metric() {
        let query = |name| queries(of(name)).swap_remove(0);
        let (expr, legend) = query("headroom_workload_page_faults_total");
        let wanted = "topk($top, rate(headroom_workload_page_faults_total\
                      {instance=~\"$instance\",workload=~\"$workload\"}[$__rate_interval]))";
        assert_eq!((expr.as_str(), legend.as_str()), (wanted, "{{instance}} {{workload}} {{mode}} {{access}}"));
        assert_eq!(
            query("headroom_host_memory_used_ratio").0,
            "headroom_host_memory_used_ratio{instance=~\"$instance\"}"
        );
        let (expr, _) = query("headroom_block_io_service_seconds");
        assert_eq!(
            expr,
            "histogram_quantile(0.5, sum by (instance, device, operation, le) \
             (rate(headroom_block_io_service_seconds_bucket{instance=~\"$instance\"}[$__rate_interval])))"
        );
    }

    #[test]
    fn units_fit_the_value_or_its_rate() {
        for (name, wanted) in [
            ("headroom_host_memory_used_ratio", "percentunit"),
            ("headroom_gpu_energy_joules_total", "watt"),
            ("headroom_gpu_pcie_bytes_total", "Bps"),
            ("headroom_gpu_pcie_link_bytes_per_second", "Bps"),
            ("headroom_workload_cpu_seconds_total", "percentunit"),
            ("headroom_oom_kills_total", "cps"),
        ] {
            assert_eq!(unit(of(name)), wanted, "{name}");
        }
    }
}
