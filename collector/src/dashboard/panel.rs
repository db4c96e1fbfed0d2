//! Panels in Grafana's format: unit, thresholds and description from the catalogue and the rules, the rest from the layout.

use collector_core::alert::Severity;
use collector_core::metric::row::{Kind, Metric, Unit};
use collector_core::rule::{Change, Condition, Rules, Side, Threshold};
use serde_json::{Value, json};

use super::layout::{Form, Panel};
use super::query::{self, Query};

/// Units other than bytes and seconds, by suffix of the metric name: Grafana's unit for the value and for its rate.
const UNITS: [(&str, &str, &str); 5] = [
    ("_ratio", "percentunit", "percentunit"),
    ("_celsius", "celsius", "celsius"),
    ("_watts", "watt", "watt"),
    ("_hertz", "rothz", "rothz"),
    ("_joules_total", "joule", "watt"),
];

/// Height of a panel in Grafana's grid.
pub fn height(form: Form) -> usize {
    if form == Form::Stat { 4 } else { 8 }
}

pub fn datasource() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

pub fn panel(metric: &Metric, wanted: &Panel, queries: &[Query], rules: &Rules, id: usize, place: Value) -> Value {
    let form = form(metric, wanted);
    let instant = form.is_instant();
    let targets = queries.iter().enumerate().map(|(index, (query, legend))| {
        json!({
            "refId": format!("Q{index}"), "datasource": datasource(), "expr": query, "legendFormat": legend,
            "instant": instant, "range": !instant, "format": if form == Form::Table { "table" } else { "time_series" },
        })
    });
    let steps = steps(metric, wanted, rules);
    let mut defaults = json!({
        "unit": wanted.unit.clone().unwrap_or_else(|| unit(metric).to_owned()),
        "custom": custom(form, steps.len() > 1),
        "thresholds": { "mode": "absolute", "steps": steps },
    });
    if metric.kind == Kind::Counter || unsigned(metric) {
        defaults["min"] = json!(0);
    }
    // Without an end of the scale, Grafana draws the fullest as full.
    if metric.name.ends_with("_ratio") && form == Form::Bars {
        defaults["max"] = json!(1);
    }
    if query::about_workloads(metric) {
        let url = "/d/headroom-workloads?var-workload=${__field.labels.workload}&${__url_time_range}";
        defaults["links"] = json!([{ "title": "This workload", "url": url }]);
    }
    json!({
        "id": id,
        "type": kind(form),
        "title": wanted.title.clone().unwrap_or_else(|| title(metric)),
        "description": metric.help,
        "datasource": datasource(),
        "gridPos": place,
        "fieldConfig": { "defaults": defaults, "overrides": [] },
        "options": options(form),
        "targets": targets.collect::<Vec<_>>(),
    })
}

/// The labels of an info are its contents.
fn form(metric: &Metric, wanted: &Panel) -> Form {
    match (metric.kind, wanted.form) {
        (Kind::Info, Form::Graph) => Form::Table,
        (_, form) => form,
    }
}

fn kind(form: Form) -> &'static str {
    match form {
        Form::Graph | Form::Stack | Form::Points => "timeseries",
        Form::Stat => "stat",
        Form::Bars => "bargauge",
        Form::Table => "table",
    }
}

fn custom(form: Form, thresholds: bool) -> Value {
    let style = json!({ "mode": if thresholds { "dashed" } else { "off" } });
    match form {
        Form::Graph => json!({ "thresholdsStyle": style }),
        Form::Points => json!({ "drawStyle": "points", "pointSize": 8, "thresholdsStyle": style }),
        Form::Stack => json!({
            "drawStyle": "line", "lineWidth": 0, "fillOpacity": 60, "stacking": { "mode": "normal", "group": "A" },
        }),
        Form::Stat | Form::Bars | Form::Table => json!({}),
    }
}

fn options(form: Form) -> Value {
    let last = json!({ "values": false, "calcs": ["lastNotNull"], "fields": "" });
    match form {
        Form::Graph | Form::Stack | Form::Points => json!({
            "tooltip": { "mode": "multi", "sort": "desc" },
            "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": [] },
        }),
        Form::Stat => json!({
            "reduceOptions": last, "colorMode": "background", "graphMode": "none", "textMode": "value",
            "justifyMode": "center", "orientation": "auto",
        }),
        Form::Bars => json!({
            "reduceOptions": last, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": true,
            "valueMode": "color",
        }),
        Form::Table => json!({ "showHeader": true, "cellHeight": "sm" }),
    }
}

/// Colours by value: of the rules on this metric, else of the layout.
fn steps(metric: &Metric, wanted: &Panel, rules: &Rules) -> Vec<Value> {
    let of_rules = rules.enabled().filter_map(|rule| match &rule.condition {
        Condition::Threshold(threshold) if applies(threshold, metric, wanted) => {
            Some((threshold.side, threshold.threshold, colour(rule.severity)))
        }
        _ => None,
    });
    let mut bounds: Vec<(Side, f64, &str)> = of_rules.collect();
    let own = [(wanted.warning, Severity::Warning), (wanted.critical, Severity::Critical)];
    bounds.extend(own.into_iter().filter_map(|(at, severity)| Some((Side::Above, at?, colour(severity)))));
    bounds.sort_by(|one, other| one.1.total_cmp(&other.1));
    // From low to high: below the lowest threshold is worst, or above the highest is.
    let below = bounds.first().is_some_and(|(side, ..)| *side == Side::Below);
    if bounds.iter().any(|(side, ..)| (*side == Side::Below) != below) {
        bounds.clear();
    }
    let lowest = if below { bounds[0].2 } else { "green" };
    let mut steps = vec![json!({ "color": lowest, "value": null })];
    for (index, (_, at, above)) in bounds.iter().enumerate() {
        let next = bounds.get(index + 1).map_or("green", |next| next.2);
        let color = if below { next } else { above };
        steps.push(json!({ "color": color, "value": at }));
    }
    steps
}

/// Whether a rule judges what the panel shows.
fn applies(threshold: &Threshold, metric: &Metric, wanted: &Panel) -> bool {
    let same = threshold.metric.name == metric.name;
    let shown = match threshold.change {
        None => metric.kind == Kind::Gauge,
        Some(Change::Rate(_)) => metric.kind == Kind::Counter && wanted.unit.is_none(),
        Some(Change::Slope(_)) => false,
    };
    let matched = threshold.matches.iter().all(|(label, pattern)| {
        wanted.matches.get(threshold.metric.labels[*label]).is_some_and(|value| pattern.matches(value))
    });
    same && shown && matched
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "yellow",
        Severity::Warning => "orange",
        Severity::Critical => "red",
    }
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
    use collector_core::metric::METRICS;

    fn of(name: &str) -> &'static Metric {
        METRICS.iter().find(|metric| metric.name == name).unwrap()
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

    #[test]
    fn thresholds_are_those_of_the_rules_about_what_the_panel_shows() {
        let rules = Rules::new(&[]).unwrap();
        let colours = |name: &str, matches: &[(&str, &str)]| {
            let matches = matches.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect();
            let wanted = Panel { matches, ..Panel::default() };
            let steps = steps(of(name), &wanted, &rules);
            steps
                .iter()
                .map(|step| (step["value"].as_f64(), step["color"].as_str().unwrap().to_owned()))
                .collect::<Vec<_>>()
        };
        let step = |at: Option<f64>, colour: &str| (at, colour.to_owned());
        let memory = [step(None, "green"), step(Some(0.85), "yellow"), step(Some(0.9), "orange")];
        assert_eq!(colours("headroom_host_memory_used_ratio", &[]), memory);
        // Worse the lower it is.
        let link = [step(None, "orange"), step(Some(0.9), "green")];
        assert_eq!(colours("headroom_gpu_pcie_busy_link_ratio", &[]), link);
        // A rule about one resource says nothing of a panel about all.
        let pressure = "headroom_workload_pressure_waiting_seconds_total";
        assert_eq!(colours(pressure, &[]), [step(None, "green")]);
        assert_eq!(colours(pressure, &[("resource", "memory")]), [step(None, "green"), step(Some(0.25), "orange")]);
    }
}
