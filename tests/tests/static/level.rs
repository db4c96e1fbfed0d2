//! Whatever the shipped rules and dashboards query, and whatever the documentation names, is shown at the usual level of detail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use collector_core::metric::METRICS;
use collector_core::metric::row::{Detail, Metric};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Words of a text that can be names of series.
fn words(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("headroom_") || word.starts_with("process_")).collect()
}

/// The metric that a series is of.
fn find(series: &str) -> Option<&'static Metric> {
    let named = |name: &str| METRICS.iter().find(|metric| metric.name == name);
    let histogram = || ["_bucket", "_sum", "_count"].iter().find_map(|end| named(series.strip_suffix(end)?));
    named(series).or_else(histogram)
}

/// The expressions of a page of rules or a dashboard.
fn expressions(text: &str) -> String {
    let is_query =
        |line: &&str| ["expr:", "\"expr\":", "\"query\":", "\"definition\":"].iter().any(|key| line.contains(key));
    text.lines().filter(is_query).collect::<Vec<_>>().join("\n")
}

#[test]
fn shipped_queries_miss_nothing() {
    let dashboards: String = collector_tests::dashboard::files().into_iter().map(|(_, text)| text).collect();
    let pages = [("the rules", read("deploy/prometheus/rules.yml"), 40), ("the dashboards", dashboards, 120)];
    for (path, text, least) in pages {
        let text = expressions(&text);
        let names = words(&text);
        assert!(names.len() >= least, "{path}: {}", names.len());
        for name in names.into_iter().filter(|name| *name != "headroom_series") {
            let metric = find(name).unwrap_or_else(|| panic!("{path}: {name} is no metric"));
            assert!(!metric.detail.is_full(), "{path}: {name}");
        }
    }
}

/// What the exported rules rate is there from the start, unless the query itself sees a series that is new.
#[test]
fn what_shipped_rules_rate_counts_from_the_start() {
    let text = read("deploy/prometheus/rules.yml");
    let mut rated = 0;
    for line in
        text.lines().filter(|line| line.contains("expr:") && line.contains("rate(") && !line.contains(" unless "))
    {
        for name in words(line) {
            let metric = find(name).unwrap();
            // Those of one resource, kind or event are named by the query.
            let label = line.split("=~\\\"").nth(1).and_then(|rest| rest.split('\\').next());
            let detail = metric.detail.of(|| label.as_slice());
            // One that a limit or a quota makes grow is there from when there is one, as the core's tests say.
            let limited = ["headroom_workload_memory_events_total", "headroom_workload_cpu_throttled_seconds_total"];
            assert!(detail == Detail::Always || limited.contains(&name), "{name} {label:?}: {detail:?}");
            rated += 1;
        }
    }
    assert!(rated > 10, "{rated}");
}

#[test]
fn documented_names_are_shown() {
    let pages = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let pages = pages.map(|name| format!("docs/{}", name.to_string_lossy()));
    // The list of all metrics says which are not.
    let pages = pages.filter(|page| page.ends_with(".md") && page != "docs/metrics.md");
    let mut named = 0;
    for page in pages.chain(["README.md".to_owned(), "deploy/headroom.toml".to_owned()]) {
        for line in read(&page).lines() {
            for name in words(line) {
                let Some(metric) = find(name) else { continue };
                // Unless the line says what shows it.
                assert!(!metric.detail.is_full() || line.contains("`metrics.detail` full"), "{page}: {name}");
                named += 1;
            }
        }
    }
    assert!(named > 40, "{named}");
}
