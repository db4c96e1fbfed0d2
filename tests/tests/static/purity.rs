//! Code that decides is pure: the sources of the core and of what it shares with the eBPF programs name neither IO nor a clock,
//! and no dependency provides one.

use std::fs;

use crate::tidy::{assert_none, files, name, packages, root};

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

/// Refused whatever they are imported from: clocks, and the streams of a process with the macros that write to them.
const NAMES: [&str; 10] =
    ["Instant", "SystemTime", "stdin", "stdout", "stderr", "print", "println", "eprint", "eprintln", "dbg"];

/// Dependencies that do no IO, know no clock, and run no tasks; the last two only serve tests. All others are refused.
const PACKAGES: [&str; 14] = [
    "collector-common",
    "collector-core",
    "humantime",
    "itoa",
    "regex",
    "serde",
    "serde_json",
    "shlex",
    "strsim",
    "toml",
    "utoipa",
    "zerocopy",
    "libfuzzer-sys",
    "proptest",
];

/// Manifests whose direct dependencies, including those of tests, are all among these.
const MANIFESTS: [&str; 3] = ["collector-common/Cargo.toml", "collector-core/Cargo.toml", "fuzz/core/Cargo.toml"];

#[test]
fn the_core_names_neither_io_nor_a_clock() {
    let mut found = Vec::new();
    for (folder, least) in [("collector-common/src", 10), ("collector-core/src", 100)] {
        let sources = files(&root().join(folder));
        assert!(sources.len() > least, "{sources:?}");
        for path in sources {
            for (line, impure) in impure(&fs::read_to_string(&path).unwrap()) {
                found.push(format!("{}:{line}: {impure}", name(&path)));
            }
        }
    }
    assert_none("the core must do without IO and clocks", &found);
}

#[test]
fn the_core_has_no_dependency_that_does_io() {
    let mut found = Vec::new();
    for manifest in MANIFESTS {
        let packages = packages(manifest);
        let package = packages.iter().find(|it| it["manifest_path"].as_str().unwrap().ends_with(manifest)).unwrap();
        let dependencies = package["dependencies"].as_array().unwrap();
        assert!(!dependencies.is_empty(), "{manifest}");
        let names = dependencies.iter().map(|dependency| dependency["name"].as_str().unwrap());
        found.extend(names.filter(|name| !PACKAGES.contains(name)).map(|name| format!("{manifest}: {name}")));
    }
    assert_none("dependencies that are not known to do without IO, runtimes and clocks", &found);
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
pub fn paths(text: &str) -> Vec<(usize, String)> {
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
        "use std::io::{self, Read, stdin};",
        "std::io::stdout().write_all(b\"text\")",
        "println!(\"{value}\");",
        "std::eprint!(\"{value}\");",
        "let value = dbg!(value);",
        "let name = \"https://example.org\"; std::fs::read(name)",
    ] {
        assert_eq!(impure(code).len(), 1, "{code}: {:?}", paths(code));
    }
    for code in [
        "use std::sync::Arc;",
        "use std::time::Duration;",
        "use std::io::{self, Read};",
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
