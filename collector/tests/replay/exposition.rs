//! Samples in, exposition and alerts out: each `tests/fixtures/replay/NAME.jsonl` gives `NAME.prom` and, with the rules that
//! come with the agent, `NAME.alerts`. `BLESS=1` writes these anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::{env, fs};

use collector::engine::Engine;
use collector::exposition::{Format, render};
use collector::outcome::Outcome;
use collector::recording::samples;
use collector::rule::Rules;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn replay(input: &str) -> (Engine, Vec<Outcome>) {
    let mut engine = Engine::new();
    let outcomes = samples(input.as_bytes()).flat_map(|sample| engine.apply(&sample.unwrap()));
    // What is made of the facts has goldens of its own.
    let facts = outcomes.filter(|outcome| !matches!(outcome, Outcome::Incident(_) | Outcome::Alert(_)));
    let facts = facts.collect();
    (engine, facts)
}

fn fixture(name: &str) -> String {
    fs::read_to_string(root().join("tests/fixtures/replay").join(name)).unwrap()
}

fn golden(path: &Path, actual: &str) {
    if env::var_os("BLESS").is_some() {
        fs::write(path, actual).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let difference = expected.lines().zip(actual.lines()).find(|(expected, actual)| expected != actual);
    assert!(expected == actual, "{} differs: {difference:?}; BLESS=1 writes it anew", path.display());
}

#[test]
fn every_recording_gives_its_exposition() {
    let mut names = 0;
    for entry in fs::read_dir(root().join("tests/fixtures/replay")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let (engine, _) = replay(&fs::read_to_string(&path).unwrap());
            let text = render(engine.view(), Format::OpenMetrics, 100_000).text;
            check(&text).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
            golden(&path.with_extension("prom"), &text);
            names += 1;
        }
    }
    assert!(names >= 7, "{names} recordings");
}

/// A line for each alert of a recording: when, whether it holds, and what is said.
#[test]
fn every_recording_gives_its_alerts() {
    let rules = Arc::new(Rules::new(&[]).unwrap());
    let mut fired = BTreeSet::new();
    for entry in fs::read_dir(root().join("tests/fixtures/replay")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let mut engine = Engine::with(rules.clone());
        let mut text = String::new();
        for sample in samples(fs::read(&path).unwrap().as_slice()) {
            let sample = sample.unwrap();
            for outcome in engine.apply(&sample) {
                if let Outcome::Alert(alert) = outcome {
                    fired.insert(alert.alert.clone());
                    let labels: Vec<String> =
                        alert.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    let (state, severity) = (format!("{:?}", alert.state).to_lowercase(), alert.severity.label());
                    let seconds = (sample.time / 1_000_000_000) % 1_000_000;
                    let (name, labels, summary) = (&alert.alert, labels.join(","), &alert.summary);
                    writeln!(text, "{seconds} {state} {severity} {name}{{{labels}}} {summary}").unwrap();
                }
            }
        }
        let alerts = path.with_extension("alerts");
        if !text.is_empty() || alerts.exists() {
            golden(&alerts, &text);
        }
        let metrics = render(engine.view(), Format::OpenMetrics, 100_000).text;
        check(&metrics).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    }
    for name in ["HostMemoryCritical", "WorkloadMemoryNearLimit", "WorkloadMemoryPressure", "SourceStale", "GpuXid"] {
        assert!(fired.contains(name), "{name} never fired");
    }
}

#[test]
fn a_kill_in_a_short_lived_cgroup_is_told_with_its_names() {
    let (_, outcomes) = replay(&fixture("oom.jsonl"));
    let [Outcome::OomKill(kill)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!(kill.workload.as_deref(), Some("/job/worker"));
    assert_eq!(kill.trigger_workload.as_deref(), Some("/job"));
    assert_eq!(kill.limited_workload.as_deref(), Some("/job"));
    assert_eq!(kill.kill.comm, "python");
}

#[test]
fn kills_are_told_with_the_names_that_the_host_has() {
    let (_, outcomes) = replay(&fixture("name.jsonl"));
    let told = outcomes.iter().map(|outcome| match outcome {
        Outcome::OomKill(kill) => (kill.kill.pid, kill.workload.as_deref().unwrap_or_default()),
        other => panic!("{other:?}"),
    });
    let expected = [(100, "docker/web"), (101, "docker/web"), (102, "podman/a1a1a1a1a1a1")];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[test]
fn a_kill_says_what_its_victim_held_of_gpus() {
    let (_, outcomes) = replay(&fixture("gpu.jsonl"));
    let [Outcome::OomKill(kill)] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    let held: Vec<_> = kill.gpus.iter().map(|it| (&*it.gpu, it.process_bytes, it.workload_bytes)).collect();
    assert_eq!(held, [("0", Some(9_000_000_000), Some(10_000_000_000))]);
}

#[test]
fn the_checker_refuses_what_is_wrong() {
    let good = "# HELP a A.\n# TYPE a counter\na_total{b=\"c d\"} 1\na_created{b=\"c d\"} 2.000\n# EOF\n";
    assert_eq!(check(good), Ok(()));
    for (from, to) in [
        ("# EOF\n", ""),
        ("a_created", "a_total"),
        ("a_total", "z_total"),
        ("a_total{b=\"c d\"} 1", "a_total{b=\"c d\"} one"),
        ("a_total{b=\"c d\"}", "a_total{b=\"c"),
        ("# TYPE a counter\n", "# TYPE a counter\n# TYPE a counter\n"),
        ("# TYPE a counter", "# TYPE a gauge"),
    ] {
        assert!(check(&good.replacen(from, to, 1)).is_err(), "{from} → {to}");
    }
}

/// Whether each sample belongs to the family declared last, none comes twice, and the end is marked.
fn check(text: &str) -> Result<(), String> {
    let text = text.strip_suffix("# EOF\n").ok_or("no end")?;
    let mut families = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut current = "";
    for line in text.lines() {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').ok_or(line)?;
            current = name;
            if families.insert(name, kind).is_some() {
                return Err(format!("{name} is declared twice"));
            }
        } else if !line.starts_with("# HELP ") && !line.starts_with("# UNIT ") {
            let (series, value) = line.rsplit_once(' ').ok_or(line)?;
            value.parse::<f64>().map_err(|_| format!("no number: {line}"))?;
            let (name, labels) = series.split_at(series.find('{').unwrap_or(series.len()));
            let suffixes: &[&str] = match families.get(current) {
                Some(&"counter") => &["_total", "_created"],
                Some(&"gauge") => &[""],
                Some(&"info") => &["_info"],
                Some(&"histogram") => &["_bucket", "_sum", "_count", "_created"],
                _ => return Err(format!("no family: {line}")),
            };
            let suffix = name.strip_prefix(current).ok_or_else(|| format!("not of {current}: {line}"))?;
            if !suffixes.contains(&suffix) || !(labels.is_empty() || labels.ends_with("\"}")) {
                return Err(line.to_owned());
            }
            if !seen.insert(series) {
                return Err(format!("twice: {line}"));
            }
        }
    }
    Ok(())
}
