//! Tests that `docs/coming-from.md` names only what exists: metrics with their labels, verbs with their flags, paths, settings, rules;
//! and that the commands of runbooks and rules can be run as they stand.

use collector_core::api::read::Route;
use collector_core::metric::METRICS;
use collector_core::rule::Rules;
use collector_core::rule::runbook::runbooks;
use collector_core::stage::Stage;

use crate::config::catalogue::TABLES;
use crate::config::setting;

const PAGE: &str = include_str!("../../../docs/coming-from.md");

/// The code in the cells of a column, by line number.
fn code(column: usize) -> impl Iterator<Item = (usize, &'static str)> {
    let rows = PAGE.lines().enumerate().filter(|(_, line)| line.starts_with('|') && !line.starts_with("|---"));
    rows.flat_map(move |(number, line)| {
        // A bar within code would need an escape, and there is none.
        let cell = line.split('|').nth(column).unwrap_or_default();
        cell.split('`').skip(1).step_by(2).map(move |code| (number + 1, code))
    })
}

/// The Python package, which begins like a metric.
const PACKAGE: &str = "headroom_guard";

/// The metrics that a text names, each with the labels in braces after it.
fn metrics(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    text.match_indices("headroom_").filter(|(at, _)| !text[*at..].starts_with(PACKAGE)).map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let labels = rest[end..].strip_prefix('{').and_then(|rest| rest.split('}').next());
        (&rest[..end], labels.map(|labels| labels.split(',').collect()).unwrap_or_default())
    })
}

#[test]
fn every_metric_of_the_page_exists_with_its_labels() {
    let mut count = 0;
    for (name, labels) in metrics(PAGE) {
        count += 1;
        let metric = METRICS.iter().find(|metric| metric.name == name);
        let metric = metric.unwrap_or_else(|| panic!("there is no metric {name}"));
        let missing: Vec<_> = labels.iter().filter(|label| !metric.labels.contains(label)).collect();
        assert!(missing.is_empty(), "{name} has no labels {missing:?}");
    }
    assert!(count > 100, "{count}");
}

#[test]
fn whatever_else_is_told_as_ours_exists() {
    let rules = Rules::new(&[]).unwrap();
    // Also what a remark names.
    let all = code(2).chain(code(3).filter(|(_, code)| code.starts_with("headroom ") || code.contains('.')));
    let mut count = 0;
    for (line, code) in all {
        count += 1;
        let exists = if code.contains("headroom_") {
            true
        } else if code.starts_with("headroom ") {
            super::command().try_get_matches_from(code.split(' ')).is_ok()
        } else if let Some(path) = code.strip_prefix("/api/v1/") {
            Route::find(path).is_some()
        } else if let Some(table) = code.strip_prefix("[[") {
            TABLES.iter().any(|known| table.strip_suffix("]]") == Some(known.name()))
        } else if code.contains('.') {
            setting::find(code).is_some()
        } else {
            rules.find(code).is_some()
        };
        assert!(exists, "docs/coming-from.md:{line}: there is no {code}");
    }
    assert!(count > 100, "{count}");
}

/// What teams wrote down for their own hosts.
const THEIRS: [&str; 32] = [
    "--collect",
    "--display",
    "--json",
    "--prometheus",
    "--alerts",
    "host_ram_total_bytes",
    "host_ram_used_bytes",
    "host_ram_available_bytes",
    "host_ram_utilization_percent",
    "vllm_swap_space_allocated_bytes",
    "vllm_swap_space_used_bytes",
    "host_ram_warnings_total",
    "host_ram_critical_total",
    "pcie_bandwidth_used_gbps",
    "pcie_h2d_transfers_total",
    "pcie_d2h_transfers_total",
    "pcie_saturation_events_total",
    "pcie_transfer_latency_seconds",
    "HOST_RAM_WARNING_THRESHOLD",
    "HOST_RAM_CRITICAL_THRESHOLD",
    "PCIE_BANDWIDTH_THRESHOLD",
    "/api/v1/monitoring/status",
    "/api/v1/monitoring/report",
    "/api/v1/monitoring/alerts?severity=",
    "/api/v1/monitoring/history?window_seconds=",
    "/api/v1/monitoring/optimization-suggestions",
    "/api/v1/monitoring/cleanup?force=false",
    "ringrift_resource_degradation_level",
    "ringrift_resource_disk_used_percent",
    "ringrift_resource_memory_used_percent",
    "ringrift_resource_cpu_used_percent",
    "ringrift_resource_gpu_used_percent",
];

#[test]
fn nothing_that_they_wrote_down_is_left_out() {
    let known: Vec<&str> =
        code(1).map(|(_, code)| code.strip_prefix("GET ").or(code.strip_prefix("POST ")).unwrap_or(code)).collect();
    let missing: Vec<&&str> = THEIRS.iter().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_command_of_a_runbook_is_one_as_it_stands() {
    let mut count = 0;
    for (name, runbook) in runbooks().unwrap() {
        for [command, _] in runbook.check.iter().filter(|[what, _]| what.starts_with("headroom ")) {
            count += 1;
            let parsed = super::command().try_get_matches_from(command.split(' '));
            assert!(parsed.is_ok(), "{name}: {command}: {}", parsed.unwrap_err());
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn what_rules_losses_and_errors_say_to_run_are_verbs() {
    let rules = Rules::new(&[]).unwrap();
    let mut texts: Vec<String> = rules.0.iter().map(|rule| rule.action.to_string()).collect();
    texts.extend(runbooks().unwrap().into_values().map(|runbook| runbook.why));
    texts.extend(Stage::ALL.into_iter().map(|stage| stage.texts().1.to_owned()));
    let cli = super::command();
    let mut count = 0;
    for text in &texts {
        for rest in text.split("headroom ").skip(1) {
            count += 1;
            let verb = rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next().unwrap_or_default();
            assert!(cli.find_subcommand(verb).is_some(), "{verb:?} in {text}");
        }
    }
    assert!(count > 10, "{count}");
}
