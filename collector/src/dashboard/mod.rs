//! Generates the Grafana dashboards from the catalogue of metrics, the rules and `layout.toml`. Each family that is shown by
//! default has a panel in one of them.

mod layout;
mod panel;
mod query;

use collector_core::metric::METRICS;
use collector_core::metric::row::Metric;
use collector_core::rule::Rules;
use serde_json::{Value, json};

use crate::exposition::SERIES;
use layout::{Dashboard, Layout, Panel};
use panel::{datasource, height};
use query::Query;

/// Columns of Grafana's grid, and the usual width of a panel.
const COLUMNS: usize = 24;
const WIDTH: usize = 8;

/// A generated file: its path in the repository, and the function that generates its text.
pub type Page = (&'static str, fn() -> String);

/// Each dashboard of the layout.
pub const PAGES: [Page; 6] = [
    ("deploy/grafana/headroom-overview.json", || document("overview")),
    ("deploy/grafana/headroom-host.json", || document("host")),
    ("deploy/grafana/headroom-workloads.json", || document("workloads")),
    ("deploy/grafana/headroom-gpus.json", || document("gpus")),
    ("deploy/grafana/headroom-models.json", || document("models")),
    ("deploy/grafana/headroom-agent.json", || document("agent")),
];

fn document(name: &str) -> String {
    // Tests check that the layout and the built-in rules are valid.
    let (layout, rules) = (layout::layout().unwrap_or_default(), Rules::new(&[]).unwrap_or_default());
    let dashboard = layout.dashboard.iter().find(|dashboard| dashboard.name == name);
    let dashboard = dashboard.map_or(Value::Null, |dashboard| Writer::new(&layout, &rules, dashboard).write());
    // `#` pretty-prints.
    format!("{dashboard:#}\n")
}

fn variables(names: &[String]) -> Value {
    let of = |name: &str, label: &str, query: &str| {
        json!({
            "name": name, "label": label, "type": "query", "datasource": datasource(), "definition": query,
            "query": { "query": query, "refId": "variable" }, "refresh": 2, "sort": 1,
            "multi": true, "includeAll": true, "allValue": ".*", "current": { "text": "All", "value": "$__all" },
        })
    };
    let mut list = vec![
        json!({ "name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus" }),
        of("instance", "Host", "label_values(headroom_build_info, instance)"),
    ];
    for name in names {
        list.push(match name.as_str() {
            "gpu" => of("gpu", "GPU", "label_values(headroom_gpu_info{instance=~\"$instance\"}, gpu)"),
            "server" => of(
                "server",
                "Model server",
                "label_values(headroom_model_server_info{instance=~\"$instance\"}, server)",
            ),
            _ => of("workload", "Workload", "label_values(headroom_workload_info{instance=~\"$instance\"}, workload)"),
        });
    }
    list.push(json!({
        "name": "top", "label": "Largest", "type": "custom", "query": "5,10,20,50",
        "current": { "text": "10", "value": "10" },
    }));
    json!(list)
}

/// The families that have panels: one of the level `full` would be empty for most.
fn shown() -> impl Iterator<Item = &'static Metric> {
    METRICS.iter().chain([&SERIES]).filter(|metric| !metric.detail.is_full())
}

/// A family by its name, or by that of a histogram's buckets, sum or count.
fn find(name: &str) -> Option<&'static Metric> {
    let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
    METRICS.iter().chain([&SERIES]).find(|metric| metric.name == name || Some(metric.name) == stem)
}

/// Whether a panel of the layout shows this family.
fn has(layout: &Layout, metric: &Metric) -> bool {
    let names = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        words.filter_map(find).any(|found| found.name == metric.name)
    };
    let panels = layout.dashboard.iter().flat_map(|dashboard| &dashboard.row).flat_map(|row| &row.panels);
    panels.into_iter().any(|panel| {
        let own = panel.query.iter().chain(panel.queries.iter().map(|[query, _]| query));
        match panel.query.is_none() && panel.queries.is_empty() {
            true => panel.metric == metric.name,
            false => own.into_iter().any(|query| names(query)),
        }
    })
}

struct Writer<'a> {
    layout: &'a Layout,
    rules: &'a Rules,
    dashboard: &'a Dashboard,
    panels: Vec<Value>,
    id: usize,
    y: usize,
}

impl<'a> Writer<'a> {
    fn new(layout: &'a Layout, rules: &'a Rules, dashboard: &'a Dashboard) -> Writer<'a> {
        Writer { layout, rules, dashboard, panels: Vec::new(), id: 0, y: 0 }
    }

    fn write(mut self) -> Value {
        for row in &self.dashboard.row {
            let panels: Vec<(&Metric, &Panel)> =
                row.panels.iter().filter_map(|panel| Some((find(&panel.metric)?, panel))).collect();
            self.row(&row.title, &panels, false);
        }
        let rest: Vec<&Metric> = self.rest().collect();
        let usual = Panel::default();
        let rest: Vec<(&Metric, &Panel)> = rest.into_iter().map(|metric| (metric, &usual)).collect();
        if !rest.is_empty() {
            self.row("All other metrics", &rest, true);
        }
        json!({
            "title": self.dashboard.title,
            "uid": format!("headroom-{}", self.dashboard.name),
            "description": format!("{} Generated by `BLESS=1 cargo test -p collector docs`.", self.dashboard.about),
            "tags": ["headroom"],
            "schemaVersion": 39,
            "editable": true,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": { "from": "now-1h", "to": "now" },
            "links": [{
                "type": "dashboards", "tags": ["headroom"], "title": "Headroom", "icon": "external link", "tooltip": "",
                "url": "", "asDropdown": false, "targetBlank": false, "includeVars": true, "keepTime": true,
            }],
            "annotations": { "list": [kills()] },
            "templating": { "list": variables(&self.dashboard.variables) },
            "panels": self.panels,
        })
    }

    /// Families that have no panel otherwise and belong to this dashboard: the longest prefix decides.
    fn rest(&self) -> impl Iterator<Item = &'static Metric> {
        let mine = |metric: &&'static Metric| {
            let prefixes = |dashboard: &'a Dashboard| {
                let matching = dashboard.rest.iter().filter(|prefix| metric.name.starts_with(prefix.as_str()));
                matching.map(move |prefix| (prefix.len(), dashboard.name.as_str()))
            };
            let best = self.layout.dashboard.iter().flat_map(prefixes).max_by_key(|(length, _)| *length);
            best.is_some_and(|(_, name)| name == self.dashboard.name) && !has(self.layout, metric)
        };
        shown().filter(mine)
    }

    fn row(&mut self, title: &str, panels: &[(&Metric, &Panel)], closed: bool) {
        self.id += 1;
        let header = json!({
            "id": self.id, "type": "row", "title": title, "collapsed": closed,
            "gridPos": { "x": 0, "y": self.y, "w": COLUMNS, "h": 1 }, "panels": [],
        });
        self.y += 1;
        let (mut x, mut tallest) = (0, 0);
        let mut placed = Vec::new();
        for (metric, wanted) in panels {
            let (width, height) = (wanted.width.unwrap_or(WIDTH), height(wanted.form));
            if x + width > COLUMNS {
                (x, self.y, tallest) = (0, self.y + tallest, 0);
            }
            self.id += 1;
            let place = json!({ "x": x, "y": self.y, "w": width, "h": height });
            placed.push(panel::panel(metric, wanted, &self.queries(metric, wanted), self.rules, self.id, place));
            (x, tallest) = (x + width, tallest.max(height));
        }
        self.y += tallest;
        self.panels.push(header);
        match (closed, self.panels.last_mut()) {
            // Grafana keeps the panels of a closed row inside it.
            (true, Some(header)) => header["panels"] = Value::Array(placed),
            _ => self.panels.append(&mut placed),
        }
    }

    fn queries(&self, metric: &Metric, wanted: &Panel) -> Vec<Query> {
        // A test checks that each can be limited.
        let limited = |query: &str| query::limited(query, &self.dashboard.variables, find).unwrap_or_default();
        let usual = || query::usual(metric, &wanted.matches, &self.dashboard.variables);
        let mut queries = match &wanted.query {
            Some(query) => {
                let legend: Vec<String> = query::legend(metric).map(|label| format!("{{{{{label}}}}}")).collect();
                vec![(limited(query), legend.join(" "))]
            }
            None if wanted.queries.is_empty() => usual(),
            None => wanted.queries.iter().map(|[query, legend]| (limited(query), legend.clone())).collect(),
        };
        if let (Some(legend), [(_, of)]) = (&wanted.legend, &mut queries[..]) {
            of.clone_from(legend);
        }
        queries
    }
}

/// A mark at each OOM kill, in every panel over time.
fn kills() -> Value {
    let query =
        "sum by (instance, workload) (increase(headroom_oom_kills_total{instance=~\"$instance\"}[$__interval])) > 0";
    json!({
        "name": "OOM kills", "enable": true, "iconColor": "red", "datasource": datasource(),
        "target": { "refId": "Anno", "expr": query }, "titleFormat": "OOM kill", "textFormat": "{{instance}} {{workload}}",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn dashboards() -> Vec<Value> {
        PAGES.iter().map(|(_, document)| serde_json::from_str(&document()).unwrap()).collect()
    }

    /// All panels but the headers of rows.
    fn panels(dashboard: &Value) -> Vec<&Value> {
        let all = dashboard["panels"].as_array().unwrap().iter();
        let inner =
            all.flat_map(|panel| std::iter::once(panel).chain(panel["panels"].as_array().into_iter().flatten()));
        inner.filter(|panel| panel["type"] != "row").collect()
    }

    #[test]
    fn the_layout_names_metrics_and_every_dashboard_is_a_page() {
        let layout = layout::layout().unwrap();
        let names: Vec<&str> = layout.dashboard.iter().map(|dashboard| dashboard.name.as_str()).collect();
        let pages =
            PAGES.map(|(file, _)| file.trim_start_matches("deploy/grafana/headroom-").trim_end_matches(".json"));
        assert_eq!(names, pages);
        for panel in layout.dashboard.iter().flat_map(|dashboard| &dashboard.row).flat_map(|row| &row.panels) {
            let metric = find(&panel.metric).unwrap_or_else(|| panic!("{}", panel.metric));
            assert!(!metric.detail.is_full(), "{} is not shown by default", metric.name);
            assert!(panel.matches.keys().all(|label| metric.labels.contains(&label.as_str())), "{panel:?}");
            for query in panel.query.iter().chain(panel.queries.iter().map(|[query, _]| query)) {
                query::limited(query, &[], find).unwrap();
            }
        }
    }

    #[test]
    fn each_family_that_is_shown_by_default_has_a_panel() {
        let text: String = PAGES.iter().map(|(_, document)| document()).collect();
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        let missing: Vec<&str> = shown()
            .map(|metric| metric.name)
            .filter(|name| !words.contains(name) && !words.contains(format!("{name}_bucket").as_str()))
            .collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn panels_do_not_overlap_and_have_ids_of_their_own() {
        for dashboard in dashboards() {
            let title = &dashboard["title"];
            assert!(panels(&dashboard).len() >= 9, "{title}");
            let headers = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] == "row");
            let (mut cells, mut ids) = (BTreeSet::new(), BTreeSet::new());
            for panel in headers.chain(panels(&dashboard)) {
                assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
                let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
                assert!(x + w <= COLUMNS as u64, "{title}: {}", panel["title"]);
                for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                    assert!(cells.insert(cell), "{title}: {} overlaps another panel", panel["title"]);
                }
            }
        }
    }
}
