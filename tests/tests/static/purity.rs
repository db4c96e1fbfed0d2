//! Code that decides is pure: the core's sources name neither IO nor a clock, and no dependency provides one.

use std::env;
use std::fs;
use std::process::Command;

use crate::tidy::{assert_none, files, name, root};

/// Refused, with everything below them. `std` and `std::time` themselves are refused only under a name that hides the part used.
const PATHS: [&str; 10] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::os",
    "std::*",
    "std::self",
    "std::time::*",
    "std::time::self",
];

/// Refused whatever they are imported from.
const NAMES: [&str; 2] = ["Instant", "SystemTime"];

/// Packages that do IO, run tasks, or write a format.
const PACKAGES: [&str; 15] = [
    "aya",
    "aya-log",
    "aya-obj",
    "axum",
    "collector",
    "hyper",
    "libc",
    "nvml-wrapper",
    "nvml-wrapper-sys",
    "prometheus-client",
    "reqwest",
    "rusqlite",
    "rustix",
    "tokio",
    "tracing",
];

/// Manifests whose direct dependencies, including those of tests, must not be one of these.
const MANIFESTS: [&str; 2] = ["collector-core/Cargo.toml", "fuzz/core/Cargo.toml"];

#[test]
fn the_core_names_neither_io_nor_a_clock() {
    let sources = files(&root().join("collector-core/src"));
    assert!(sources.len() > 100, "{sources:?}");
    let mut found = Vec::new();
    for path in sources {
        for (line, impure) in impure(&fs::read_to_string(&path).unwrap()) {
            found.push(format!("{}:{line}: {impure}", name(&path)));
        }
    }
    assert_none("the core must do without IO and clocks", &found);
}

#[test]
fn the_core_has_no_dependency_that_does_io() {
    let mut found = Vec::new();
    for manifest in MANIFESTS {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"]).arg(root().join(manifest));
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{manifest}: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let mut packages = metadata["packages"].as_array().unwrap().iter();
        let package = packages.find(|it| it["manifest_path"].as_str().unwrap().ends_with(manifest)).unwrap();
        let dependencies = package["dependencies"].as_array().unwrap();
        assert!(!dependencies.is_empty(), "{manifest}");
        let names = dependencies.iter().map(|dependency| dependency["name"].as_str().unwrap());
        found.extend(names.filter(|name| PACKAGES.contains(name)).map(|name| format!("{manifest}: {name}")));
    }
    assert_none("the core must do without IO, runtimes and formats", &found);
}

/// Line and path of everything impure in a source file.
fn impure(text: &str) -> Vec<(usize, String)> {
    let mut paths = paths(text);
    paths.retain(|(_, path)| {
        let within = |impure: &str| {
            let rest = path.strip_prefix(impure);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        };
        PATHS.into_iter().any(within) || path.split("::").any(|part| NAMES.contains(&part))
    });
    paths
}

/// Every path in the code with its line; for one with braces, over any number of lines, each path that it stands for. A rename of
/// `std` counts as `std::self`.
fn paths(text: &str) -> Vec<(usize, String)> {
    let mut words = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let code = if line.trim_start().starts_with("//") { "" } else { line.split(" // ").next().unwrap_or(line) };
        words.extend(split(code).into_iter().map(|word| (number, word)));
    }
    let mut paths = Vec::new();
    let mut at = 0;
    while at < words.len() {
        at = path(&words, at, "", &mut paths);
    }
    paths
}

/// Names, `::`, and every other character by itself.
fn split(code: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut words = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            _ if is_name(first) => rest.find(|c| !is_name(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (word, tail) = rest.split_at(length);
        words.push(word);
        rest = tail.trim_start();
    }
    words
}

/// Adds the path that begins at a word, and returns where to continue.
fn path(words: &[(usize, &str)], mut at: usize, prefix: &str, paths: &mut Vec<(usize, String)>) -> usize {
    let word = |at: usize| words.get(at).map_or("", |(_, word)| *word);
    let is_name = |word: &str| word == "*" || word.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let mut path = prefix.to_owned();
    let line = words[at].0;
    if word(at) == "::" {
        at += 1;
    }
    while is_name(word(at)) {
        if !path.is_empty() {
            path += "::";
        }
        path += word(at);
        at += 1;
        if word(at) != "::" {
            break;
        }
        if word(at + 1) == "{" {
            at += 2;
            while !matches!(word(at), "}" | "") {
                at = self::path(words, at, &path, paths);
            }
            return at + 1;
        }
        at += 1;
    }
    if path == "std" && word(at) == "as" {
        path += "::self";
    }
    if path.len() > prefix.len() {
        paths.push((line, path));
        return at;
    }
    at + 1
}

#[test]
fn an_impure_line_is_recognised_by_what_it_names() {
    for code in [
        "use std::fs::File;",
        "use std::{collections, fs};",
        "use std::{\n    collections::{BTreeMap,\n        BTreeSet},\n    net,\n};",
        "use {serde::Serialize, std::process};",
        "let now = std::time::Instant::now();",
        "use std::time::{Duration, SystemTime as Clock};",
        "use std::time::{self, Duration};",
        "use std::time::*;",
        "use std as other;",
        "fn wait() { ::std::thread::sleep(LONG) }",
        "let name = \"https://example.org\"; std::fs::read(name)",
    ] {
        assert_eq!(impure(code).len(), 1, "{code}: {:?}", paths(code));
    }
    for code in [
        "use std::sync::Arc;",
        "use std::time::Duration;",
        "// std::fs is not for us",
        "let instant = 1; // not an Instant",
        "use crate::view::{layaway, process};",
        "fn fs() -> std::fmt::Result { fs::<u8>() }",
    ] {
        assert_eq!(impure(code), [], "{code}");
    }
}

#[test]
fn a_path_has_the_line_where_it_ends() {
    assert_eq!(impure("use a::b;\nuse std::{\n    fmt,\n    fs,\n};\n"), [(4, "std::fs".to_owned())]);
}
