//! Expositions of recordings, byte for byte: each `tests/fixtures/replay/NAME.jsonl` gives `NAME.prom`. `BLESS=1` rewrites them.
//! The core's tests compare them with the catalogue's rows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fs};

use collector_core::engine::Engine;
use collector_core::recording::samples;
use collector_core::rule::Rules;

use crate::exposition::{Cap, Format, render};

pub fn recordings() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/replay");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl")).collect()
}

/// The page at the end of a recording.
fn page(path: &Path, engine: Engine) -> String {
    render(played(path, engine).view(), Format::OpenMetrics, Cap::NONE).text
}

/// The engine at the end of a recording.
pub fn played(path: &Path, mut engine: Engine) -> Engine {
    for sample in samples(fs::read(path).unwrap().as_slice()) {
        engine.apply(&sample.unwrap());
    }
    engine
}

#[test]
fn every_recording_gives_its_page() {
    let recordings = recordings();
    assert!(recordings.len() >= 7, "{recordings:?}");
    for recording in recordings {
        let actual = page(&recording, Engine::new());
        check(&actual).unwrap_or_else(|why| panic!("{}: {why}", recording.display()));
        let path = recording.with_extension("prom");
        if env::var_os("BLESS").is_some() {
            fs::write(&path, &actual).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        let difference = expected.lines().zip(actual.lines()).find(|(expected, actual)| expected != actual);
        assert!(expected == actual, "{} differs: {difference:?}; BLESS=1 rewrites it", path.display());
    }
}

#[test]
fn a_page_with_alerts_is_valid_too() {
    let rules = Arc::new(Rules::new(&[]).unwrap());
    let mut alerts = 0;
    for recording in recordings() {
        let text = page(&recording, Engine::with(rules.clone()));
        check(&text).unwrap_or_else(|why| panic!("{}: {why}", recording.display()));
        alerts += text.lines().filter(|line| line.starts_with("headroom_alerts_fired_total{")).count();
    }
    assert!(alerts > 0);
}

#[test]
fn the_checker_rejects_invalid_pages() {
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

/// Checks that each sample belongs to the last declared family, that none is repeated, and that the page ends with `# EOF`.
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
                return Err(format!("duplicate: {line}"));
            }
        }
    }
    Ok(())
}
