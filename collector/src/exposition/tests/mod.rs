//! Tests of rendering: formats, escaping, and the cap on series.

use std::collections::BTreeSet;

use collector_core::cgroup::Id;
use collector_core::engine::Engine;
use collector_core::metric::visit::{Part, visit};
use collector_core::recording::samples;
use collector_core::sample::{Probe, ProbeState, Reading, Sample, Start};
use collector_core::signal::cgroup;
use collector_core::signal::{block, reclaim};

use collector_common::histogram;
use collector_core::count::Histogram;

use super::*;

mod golden;
mod oracle;
mod same;

/// An engine with all programs attached and a workload at each path.
fn engine<'a>(paths: impl IntoIterator<Item = &'a str>) -> Engine {
    let mut engine = Engine::new();
    let mut apply = |reading| {
        engine.apply(&Sample { time: 1_700_000_000_250_000_000, reading });
    };
    apply(Reading::Start(Start {
        version: "0.1.0".into(),
        kernel: "6.18.0".into(),
        memory_hierarchy: 0,
        io_hierarchy: 0,
        workload_max: 100_000,
        workload_grace: 0,
        own: None,
        history: None,
        level: None,
        starved: None,
        leak: None,
        controllers: None,
    }));
    for probe in collector_common::SIGNALS.iter().flat_map(|signal| signal.probes) {
        let program = probe.program.into();
        apply(Reading::Probe(Probe { program, state: ProbeState::Attached, reason: None }));
    }
    for (id, path) in paths.into_iter().enumerate() {
        let id = Id { hierarchy: 0, id: id as u64 + 1 };
        apply(Reading::Cgroup(cgroup::Reading::Born { id, path: path.into() }));
    }
    engine
}

fn stalled(engine: &mut Engine, histogram: Histogram) {
    let reading = Reading::Reclaim(reclaim::Reading::Time { kind: reclaim::Kind::Direct, histogram });
    engine.apply(&Sample { time: 0, reading });
}

fn text(engine: &Engine, format: Format) -> String {
    render(engine.view(), format, Cap::NONE).text
}

fn lines<'a>(text: &'a str, containing: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(containing)).collect()
}

#[test]
fn a_counter_has_its_header_and_created_time() {
    let text = text(&engine(["/a"]), Format::OpenMetrics);
    let family = "headroom_workload_reclaim_stall_seconds";
    assert!(text.contains(&format!("# TYPE {family} counter\n# UNIT {family} seconds\n{family}_total{{")));
    let series = r#"{workload="/a",kind="direct"}"#;
    assert!(text.contains(&format!("\n{family}_total{series} 0.0\n{family}_created{series} 1700000000.250\n")));
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn the_text_format_has_full_names_and_no_openmetrics_syntax() {
    let text = text(&engine(["/a"]), Format::Text);
    let name = "headroom_workload_reclaim_stall_seconds_total";
    assert!(text.contains(&format!("# TYPE {name} counter\n{name}{{workload=\"other\",kind=\"direct\"}} 0.0\n")));
    assert!(text.contains(
        "# TYPE headroom_workload_info gauge\nheadroom_workload_info{workload=\"/a\",kind=\"cgroup\",cgroup=\"/a\"} 1\n"
    ));
    for unknown in ["# EOF", "# UNIT", "_created", " info\n"] {
        assert!(!text.contains(unknown), "{unknown}");
    }
}

#[test]
fn both_formats_have_the_same_samples() {
    let mut engine = engine(["/a", "/b"]);
    stalled(&mut engine, std::array::from_fn(|word| word as u64));
    let samples = |format| -> BTreeSet<String> {
        let text = text(&engine, format);
        text.lines().filter(|line| !line.starts_with('#') && !line.contains("_created")).map(str::to_owned).collect()
    };
    assert_eq!(samples(Format::Text), samples(Format::OpenMetrics));
}

#[test]
fn a_histogram_is_cumulative_with_canonical_edges() {
    let mut engine = engine([]);
    let mut histogram = Histogram::default();
    histogram[0] = 1;
    histogram[histogram::EDGES] = 2;
    histogram[histogram::SUM] = 1_500_000_000;
    stalled(&mut engine, histogram);
    let text = text(&engine, Format::OpenMetrics);
    let name = "headroom_host_reclaim_stall_seconds";
    let buckets = lines(&text, &format!("{name}_bucket"));
    let direct: Vec<_> = buckets.iter().filter(|line| line.contains("direct")).collect();
    assert_eq!(direct.len(), histogram::BUCKETS);
    assert_eq!(*direct[0], format!(r#"{name}_bucket{{le="1e-06",kind="direct"}} 1"#));
    assert_eq!(*direct[6], format!(r#"{name}_bucket{{le="6.4e-05",kind="direct"}} 1"#));
    assert_eq!(*direct[7], format!(r#"{name}_bucket{{le="0.000128",kind="direct"}} 1"#));
    assert_eq!(*direct[25], format!(r#"{name}_bucket{{le="33.554432",kind="direct"}} 1"#));
    assert_eq!(*direct[26], format!(r#"{name}_bucket{{le="+Inf",kind="direct"}} 3"#));
    assert!(text.contains(&format!("{name}_sum{{kind=\"direct\"}} 1.5\n{name}_count{{kind=\"direct\"}} 3\n")));
    assert_eq!(lines(&text, &format!("{name}_created")).len(), 2);
}

#[test]
fn a_hostile_path_is_escaped() {
    let path = collector_core::cgroup::path(b"/a b\\c\"d\ne{le=\"1e-9\"} 7 \xc3\xa9_total{");
    let text = text(&engine([&*path]), Format::OpenMetrics);
    let escaped = r#"{workload="/a b\\c\"d\\x0ae{le=\"1e-9\"} 7 é_total{"}"#;
    let cgroup = r#"cgroup="/a b\\c\"d\\x0ae{le=\"1e-9\"} 7 é_total{""#;
    assert_eq!(lines(&text, cgroup).len(), 1);
    let series = lines(&text, "headroom_workload_compaction_stalls_");
    assert!(series.contains(&format!("headroom_workload_compaction_stalls_total{escaped} 0").as_str()), "{series:?}");
    let created = format!("headroom_workload_compaction_stalls_created{escaped} 1700000000.250");
    assert!(series.contains(&created.as_str()), "{series:?}");
}

#[test]
fn metrics_without_a_probe_or_a_reading_are_absent() {
    let mut engine = engine(["/a"]);
    let family = "headroom_workload_compaction_stalls";
    assert!(text(&engine, Format::OpenMetrics).contains(family));
    assert!(!text(&engine, Format::OpenMetrics).contains("headroom_workload_reclaim_target_bytes"));
    let off = |program: &str| {
        let probe = Probe { program: program.into(), state: ProbeState::Failed, reason: Some("no".into()) };
        Sample { time: 0, reading: Reading::Probe(probe) }
    };
    for program in
        ["compaction_begin", "reclaim_direct_end", "block_rq_complete", "block_rq_complete_raw", "fault_user"]
    {
        engine.apply(&off(program));
    }
    let text = text(&engine, Format::OpenMetrics);
    assert!(!text.contains("compaction_stall"));
    assert!(!text.contains(r#"kind="direct""#) && text.contains(r#"kind="memcg""#));
    assert!(!text.contains("service_seconds") && !text.contains("headroom_workload_block_ios_total"));
    assert!(!text.contains(r#"mode="user""#) && text.contains(r#"mode="kernel""#));
}

#[test]
fn above_the_cap_the_last_series_are_cut_and_counted_but_coverage_stays() {
    let mut engine = engine(["/a", "/b", "/c"]);
    let name = block::Reading::Name { device: block::Device { major: 8, minor: 0 }, name: "sda".into() };
    engine.apply(&Sample { time: 0, reading: Reading::Block(name) });
    let whole = render(engine.view(), Format::Text, Cap::NONE);
    assert_eq!(whole.left_out, 0);
    let series = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count() as u64;
    assert!(whole.text.ends_with(&format!("\nheadroom_series {}\n", series(&whole.text))));

    let cut = render(engine.view(), Format::Text, Cap { series: 130, ..Cap::NONE });
    assert!(cut.left_out > 0);
    assert_eq!(series(&cut.text) + cut.left_out, series(&whole.text));
    assert!(cut.text.contains(&format!("headroom_lost_total{{stage=\"series\"}} {}\n", cut.left_out)));
    assert!(cut.text.contains("headroom_probe_state") && cut.text.contains("headroom_oom_kills_total"));
    assert!(!cut.text.contains("headroom_workload_block_service_seconds_total"));
    assert_eq!(
        render(engine.view(), Format::Text, Cap { series: 130, ..Cap::NONE }),
        cut,
        "the same view, the same cut"
    );
}

#[test]
fn above_the_cap_on_bytes_long_names_are_left_out_and_no_short_one_pays() {
    let long: Vec<String> = (0..200).map(|number| format!("/a{number:03}{}", "x".repeat(250))).collect();
    let with = engine(["/b", "/z"].into_iter().chain(long.iter().map(String::as_str)));
    let without = engine(["/b", "/z"]);
    let short = |text: &str| {
        let is_short = |line: &&str| line.contains("workload=\"/b\"") || line.contains("workload=\"/z\"");
        text.lines().filter(is_short).map(str::to_owned).collect::<Vec<_>>()
    };
    for format in [Format::Text, Format::OpenMetrics] {
        let whole = render(with.view(), format, Cap::NONE).text;
        let alone = render(without.view(), format, Cap::NONE).text;
        assert!(!short(&alone).is_empty() && whole.len() > 4 * alone.len(), "{} {}", whole.len(), alone.len());
        let bytes = whole.len() / 2;
        let cut = render(with.view(), format, Cap { bytes, ..Cap::NONE });
        // They are all as long: room is left for the first.
        let range = bytes - bytes / 4..=bytes + bytes / 4;
        assert!(range.contains(&cut.text.len()), "{} of {bytes}", cut.text.len());
        assert!(cut.text.contains("/a000x") && !cut.text.contains("headroom_workload_info{workload=\"/a199x"));
        assert_eq!(short(&cut.text), short(&alone));
        assert!(cut.left_out > 0);
        assert!(cut.text.contains(&format!("headroom_lost_total{{stage=\"series\"}} {}\n", cut.left_out)));
        let exact = render(with.view(), format, Cap { bytes: whole.len(), ..Cap::NONE });
        assert_eq!((exact.text, exact.left_out), (whole, 0));
    }
}

/// Compares every series of some recordings in the exposition and through a visitor.
#[test]
fn a_visitor_sees_the_same_series_as_a_page() {
    let mut series = 0;
    for recording in [
        include_str!("../../../../tests/fixtures/replay/everything.jsonl"),
        include_str!("../../../../tests/fixtures/replay/statistic.jsonl"),
        include_str!("../../../../tests/fixtures/replay/gpu.jsonl"),
        include_str!("../../../../tests/fixtures/replay/transfer.jsonl"),
    ] {
        let mut engine = Engine::new();
        samples(recording.as_bytes()).for_each(|sample| drop(engine.apply(&sample.unwrap())));
        let page = render(engine.view(), Format::Text, Cap::NONE).text;
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
                let mut visited = Vec::new();
                assert_eq!(Part::find(&name).map(|(found, part)| (found.name, part)), Some((metric.name, part)));
                visit(engine.view(), metric, part, &mut |values, number, _| {
                    let labels = metric.labels.iter().zip(values).filter(|(_, value)| !value.is_empty());
                    let escape = |value: &str| value.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
                    let labels: Vec<_> = labels.map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
                    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                    visited.push((labels, number));
                });
                let order = |a: &(String, f64), b: &(String, f64)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1));
                wanted.sort_by(order);
                visited.sort_by(order);
                assert_eq!(visited, wanted, "{name}");
                series += visited.len();
            }
        }
    }
    assert!(series > 300, "{series}");
}
