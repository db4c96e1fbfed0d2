//! The page's sources: what must not be in them, whether the compiler accepts them, and their own tests. What a browser shows is
//! tested in one.

mod answer;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use collector_core::advice::{Evidence, Origin, Saves, Unit};
use collector_core::amount::{bytes, percent, seconds, span, watts};
use collector_tests::needs;
use collector_tests::require::{installed, tools};
use collector_tests::scratch::scratch;
use serde_json::{Value, json};

use crate::tidy::{assert_none, name, root};

/// Most lines of a file.
const LINES: usize = 400;
const NOT_INSTALLED: &str = "what the page is made of is not installed: cargo xtask test --require";

/// Whether npm's packages of the page are there, and what runs them.
fn ready() -> bool {
    installed("node") && tools().join("page/installed").is_file()
}

fn packages() -> PathBuf {
    tools().join("page/node_modules")
}

/// All files below the folder.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

/// The page's own sources, with their names.
fn sources() -> Vec<(String, String)> {
    let files: Vec<_> = ["web/src", "web/test"].iter().flat_map(|folder| below(&root().join(folder))).collect();
    assert!(files.len() > 30, "{files:?}");
    files.into_iter().map(|path| (name(&path), fs::read_to_string(&path).unwrap())).collect()
}

/// The program, not the script of that name.
fn bundler() -> PathBuf {
    let programs = below(&packages().join("@esbuild"));
    programs.into_iter().find(|path| path.file_name() == Some(OsStr::new("esbuild"))).unwrap()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

/// Names of workloads, of users' files and of what processes call themselves are text, and never markup or code.
#[test]
fn nothing_becomes_markup_or_code() {
    let words = [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "dangerouslySetInnerHTML",
        "document.write",
        "DOMParser",
        "createContextualFragment",
        "srcdoc",
        "eval(",
        "new Function",
        "javascript:",
        "import(",
        "http://",
        "https://",
        "//cdn",
        "url(",
    ];
    let found = sources().into_iter().flat_map(|(file, text)| {
        let lines = text.lines().zip(1..).filter(|(line, _)| words.iter().any(|word| line.contains(word)));
        lines.map(|(line, number)| format!("{file}:{number}: {line}")).collect::<Vec<_>>()
    });
    assert_none("markup, code, or another host", &found.collect::<Vec<_>>());
}

#[test]
fn a_file_has_one_subject_and_says_which() {
    let wrong = sources().into_iter().filter(|(_, text)| {
        text.lines().count() > LINES
            || !(text.starts_with("// ") || text.starts_with("/* ") || text.starts_with("@import"))
    });
    assert_none(
        "files that are too long, or do not say what they are",
        &wrong.map(|(file, _)| file).collect::<Vec<_>>(),
    );
}

/// A package that comes from elsewhere than the registry, or whose content is not fixed, could be anything.
#[test]
fn the_content_of_every_package_is_fixed() {
    let lock: Value = serde_json::from_str(&fs::read_to_string(root().join("web/package-lock.json")).unwrap()).unwrap();
    let packages = lock["packages"].as_object().unwrap().iter().filter(|(path, _)| !path.is_empty());
    let loose =
        packages.filter(|(_, package)| !package["integrity"].as_str().is_some_and(|it| it.starts_with("sha512-")));
    assert_none("packages without a digest", &loose.map(|(path, _)| path.clone()).collect::<Vec<_>>());
    let wanted: Value = serde_json::from_str(&fs::read_to_string(root().join("web/package.json")).unwrap()).unwrap();
    for kind in ["dependencies", "devDependencies"] {
        for (name, version) in wanted[kind].as_object().unwrap() {
            assert_eq!(&lock["packages"][format!("node_modules/{name}")]["version"], version, "{name}");
        }
    }
}

#[test]
fn the_compiler_accepts_the_sources_and_finds_mistakes() {
    needs!(ready(), NOT_INSTALLED);
    let folder = scratch();
    let check = |more: &[&str]| {
        let settings = json!({
            "extends": root().join("web/tsconfig.json"),
            "compilerOptions": {
                "baseUrl": packages().parent().unwrap(),
                "paths": {"*": ["./node_modules/*", "./node_modules/@types/*"]},
            },
            "include": [root().join("web/src")],
            "files": more,
        });
        fs::write(folder.join("tsconfig.json"), settings.to_string()).unwrap();
        Command::new("node").arg(packages().join("typescript/bin/tsc")).arg("--project").arg(&*folder).output().unwrap()
    };
    let output = check(&[]);
    assert!(output.status.success(), "{}", said(&output));
    let types = root().join("web/src/type");
    let mistake = format!(
        "import type {{ Report }} from {types:?};\nexport const used = (report: Report) => report.memory.used_bites;\n\
         export const total = (report: Report): number => report.memory.total_bytes;\n"
    );
    fs::write(folder.join("mistake.ts"), mistake).unwrap();
    let said = said(&check(&["mistake.ts"]));
    assert_eq!(said.matches("error TS").count(), 2, "{said}");
}

#[test]
fn the_pages_own_tests_pass() {
    needs!(ready(), NOT_INSTALLED);
    let folder = scratch();
    let tests = below(&root().join("web/test"));
    let mut bundle = Command::new(bundler());
    bundle.current_dir(root()).env("NODE_PATH", packages()).args(&tests);
    // Sources look for their own address when they are loaded.
    bundle.args([
        "--bundle",
        "--platform=node",
        "--log-level=warning",
        "--banner:js=globalThis.location={pathname:'/'};",
    ]);
    let output = bundle.arg(format!("--outdir={}", folder.display())).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    fs::write(folder.join("cases.json"), cases().to_string()).unwrap();
    let scripts = tests.iter().map(|test| folder.join(test.file_name().unwrap()).with_extension("js"));
    let output = Command::new("node")
        .env("HEADROOM_CASES", folder.join("cases.json"))
        // Newer versions print otherwise.
        .args(["--test", "--test-reporter=tap"])
        .args(scripts)
        .output()
        .unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let passed = said.lines().find_map(|line| line.strip_prefix("# pass ")?.parse::<u32>().ok());
    assert!(passed.is_some_and(|passed| passed >= 10), "{said}");
}

/// What advice would have saved, as the terminal writes it.
fn saves() -> Vec<Value> {
    let day = Saves { over_seconds: 86_400, ..Saves::default() };
    let cases = [
        day.clone(),
        Saves { kills: Some(1.0), ..day.clone() },
        Saves { kills: Some(2.0), stall_seconds: Some(0.25), ..day.clone() },
        Saves { kills: Some(0.4), stall_seconds: Some(119.6), ..day.clone() },
        Saves { stall_seconds: Some(732.5), bytes: Some(5e9), watts: Some(312.5), ..day.clone() },
        Saves { over_seconds: 691_200, kills: Some(123.4), ..day },
    ];
    cases.iter().map(|saves| json!([saves, saves.sentence()])).collect()
}

/// Numbers of evidence, in the same way.
fn evidence() -> Vec<Value> {
    let units = [Unit::Bytes, Unit::BytesPerSecond, Unit::Seconds, Unit::Ratio, Unit::Cpus, Unit::Watts, Unit::Count];
    let values = [0.0, 0.25, 1.5, 7.0, 119.0, 187_200.0, 8_589_934_592.0];
    let one = |unit, value| Evidence { what: String::new(), value, unit, origin: Origin::Measured };
    let all = units.into_iter().flat_map(|unit| values.map(|value| one(unit, value)));
    all.map(|evidence| json!([evidence, evidence.amount()])).collect()
}

/// Amounts as the terminal writes them.
fn cases() -> Value {
    let amounts =
        [0, 1, 512, 999, 1000, 1023, 1024, 10_189, 1152, 10_240, 102_348, 1 << 20, 5 << 29, 999 << 30, 1 << 50];
    let shares = [0.0, 0.0001, 0.0004, 0.0006, 0.004, 0.0994, 0.0996, 0.123, 0.125, 0.5, 0.999, 1.0, 12.0];
    let times = [0.0, 0.0004, 0.012, 0.99, 0.9994, 0.9996, 1.0, 9.9, 9.96, 10.5, 12.3, 119.0, 120.0, 86_400.0];
    let powers = [0.0, 0.4, 0.5, 1.5, 2.5, 70.25, 99.9, 312.4, 312.5, 312.6, 313.5, 700.0];
    let spans = [0_u64, 119, 120, 3599, 7200, 12_000, 86_400, 172_799, 172_800, 187_200, 691_200, 7_776_000];
    json!({
        "spans": spans.map(|time| json!([time, span(time)])),
        "saves": saves(),
        "evidence": evidence(),
        "bytes": amounts.map(|amount: u64| json!([amount, bytes(amount)])),
        "percent": shares.map(|share| json!([share, percent(share)])),
        "seconds": times.map(|time| json!([time, seconds(time)])),
        "watts": powers.map(|drawn| json!([drawn, watts(drawn, None)])),
    })
}
