//! The house rules that a test can check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use collector_common::SIGNALS;
use serde_json::Value;

/// Folders with the project's own Rust sources.
const SOURCES: [&str; 14] = [
    "collector-common/src",
    "collector-ebpf/src",
    "collector-core/src",
    "collector-core/tests",
    "collector/src",
    "fuzz/collector/fuzz_targets",
    "fuzz/core/fuzz_targets",
    "fuzz/core/src",
    "tests/cuda/src",
    "tests/kubernetes/tests",
    "tests/src",
    "tests/nvml/src",
    "tests/tests",
    "xtask/src",
];

/// Most lines of a file without tests. The aim is 60 to 300; a longer file has more than one subject.
const LINES: usize = 400;

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Every Rust file in the folder, or the file itself.
pub fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.flat_map(|entry| files(&entry.unwrap().path())).collect();
    }
    let rust = path.is_file() && path.extension().is_some_and(|extension| extension == "rs");
    rust.then(|| path.to_owned()).into_iter().collect()
}

/// Name and text of every source file.
fn sources() -> Vec<(String, String)> {
    let paths = SOURCES.iter().flat_map(|folder| {
        let found = files(&root().join(folder));
        assert!(!found.is_empty(), "{folder} has no Rust file");
        found
    });
    paths.map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

pub fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().display().to_string()
}

/// Packages of the workspace that this manifest belongs to, as cargo describes them.
pub fn packages(manifest: &str) -> Vec<Value> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]).arg(root().join(manifest));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{manifest}: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Fails with all lines that were found, not only the first.
#[track_caller]
pub fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn a_file_has_one_subject_and_says_which() {
    let mut long = Vec::new();
    let mut silent = Vec::new();
    for (file, text) in sources() {
        let lines = text.lines().count();
        if lines > LINES && file.contains("/src/") {
            long.push(format!("{file}: {lines} lines"));
        }
        if !text.starts_with("//!") {
            silent.push(file);
        }
    }
    assert_none("files that are too long", &long);
    assert_none("files without a description (`//!` on the first line)", &silent);
}

/// A file that no module declares is not compiled: its tests would be lost without notice.
#[test]
fn every_file_of_tests_is_a_module() {
    let mut lost = Vec::new();
    for path in ["collector-core/tests", "tests/tests"].iter().flat_map(|folder| files(&root().join(folder))) {
        let (stem, folder) = (path.file_stem().unwrap().to_str().unwrap(), path.parent().unwrap());
        let (module, parent) = match stem {
            "main" => continue,
            "mod" => (folder.file_name().unwrap().to_str().unwrap(), folder.parent().unwrap()),
            _ => (stem, folder),
        };
        let declared = |file: &str| {
            let text = fs::read_to_string(parent.join(file)).unwrap_or_default();
            text.lines().any(|line| line == format!("mod {module};"))
        };
        if !declared("main.rs") && !declared("mod.rs") {
            lost.push(name(&path));
        }
    }
    assert_none("test files that no test program declares as a module", &lost);
}

#[test]
fn a_signal_has_a_file_of_its_name_in_all_three_crates() {
    let mut missing = Vec::new();
    for signal in SIGNALS {
        for folder in ["collector-common/src", "collector-ebpf/src", "collector-core/src/signal"] {
            let path = root().join(folder).join(signal.name).with_extension("rs");
            if !path.is_file() {
                missing.push(name(&path));
            }
        }
    }
    assert_none("files missing for a signal", &missing);
    let meanings = files(&root().join("collector-core/src/signal"));
    let stems: BTreeSet<_> = meanings.iter().filter_map(|path| path.file_stem()?.to_str()).collect();
    let signals: BTreeSet<_> = SIGNALS.iter().map(|signal| signal.name).chain(["counted", "mod", "table"]).collect();
    assert_eq!(
        stems, signals,
        "collector-core/src/signal has a file for each signal, and no other but what serves all"
    );
}

#[test]
fn nothing_is_left_for_later_or_valid_on_one_machine_only() {
    // Written in two halves, since this file is searched as well.
    let later = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("todo", "!("),
        concat!("unimpl", "emented!("),
    ];
    let here = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/Us", "ers/")];
    let found: Vec<_> = lines(&sources(), |line| later.iter().chain(&here).any(|word| line.contains(word)));
    assert_none("lines that should not stay", &found);
}

/// `file:line: text` of the lines that `wanted` selects.
fn lines(sources: &[(String, String)], wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let numbered = sources.iter().flat_map(|(file, text)| text.lines().zip(1..).map(move |line| (file, line)));
    numbered
        .filter(|(_, (line, _))| wanted(line))
        .map(|(file, (line, number))| format!("{file}:{number}: {line}"))
        .collect()
}
