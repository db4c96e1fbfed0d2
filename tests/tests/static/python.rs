//! The Python package, by its own tests: without an agent, against a stand-in that speaks its protocol, and its types against the API's
//! description of itself.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use collector_core::api::openapi;
use collector_tests::needs;
use collector_tests::python;
use collector_tests::require::{self, installed};
use collector_tests::scratch::scratch;

use crate::tidy::root;

const LINES: usize = 400;

#[test]
fn the_package_passes_its_own_tests() {
    needs!(installed("python3"), "python3 is not installed");
    let folder = scratch();
    let description = folder.join("openapi.json");
    fs::write(&description, openapi::json()).unwrap();
    let mut tests = python::tests("static");
    python::passed(&tests.env("HEADROOM_OPENAPI", &description).output().unwrap());
}

#[test]
fn what_is_not_so_fails() {
    needs!(installed("python3"), "python3 is not installed");
    let folder = scratch();
    let description = folder.join("openapi.json");
    let other = String::from_utf8_lossy(openapi::json()).replace("\"short\"", "\"missing\"");
    fs::write(&description, other).unwrap();
    let mut tests = python::tests("static");
    let output = tests.args(["-k", "test_type"]).env("HEADROOM_OPENAPI", &description).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("VerdictLine has fields that the agent does not know"), "{said}");
}

/// Python, with what builds the package and checks its types.
fn tools() -> Option<PathBuf> {
    let folder = require::tools().join("client");
    folder.join("installed").is_file().then(|| folder.join("venv/bin/python"))
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn its_types_are_right() {
    needs!(tools().is_some(), "mypy is not installed: cargo xtask test --require");
    let mut mypy = Command::new(tools().unwrap());
    mypy.current_dir(root().join("clients/python")).args(["-m", "mypy", "--cache-dir=/dev/null", "src", "tests"]);
    run(&mut mypy);
}

#[test]
fn its_wheel_has_all_of_it_and_runs_alone() {
    needs!(tools().is_some(), "hatchling is not installed: cargo xtask test --require");
    let (package, folder) = (root().join("clients/python"), scratch());
    let mut build = Command::new(tools().unwrap());
    build.current_dir(&package).args(["-m", "hatchling", "build", "--target", "wheel", "--directory"]);
    run(build.arg(&*folder).env("PYTHONDONTWRITEBYTECODE", "1"));
    let wheel = fs::read_dir(&*folder).unwrap().next().unwrap().unwrap().path();
    let name = format!("headroom_guard-{}-py3-none-any.whl", env!("CARGO_PKG_VERSION"));
    assert_eq!(wheel.file_name().unwrap().to_str(), Some(&*name), "its version is that of the agent");
    let listed = run(Command::new("python3").args(["-m", "zipfile", "--list"]).arg(&wheel));
    for path in files(&package.join("src")) {
        let file = path.strip_prefix(package.join("src")).unwrap().to_str().unwrap();
        assert!(listed.contains(file), "{file} is not in\n{listed}");
    }
    assert!(listed.contains("/LICENSE"), "{listed}");
    // A wheel without compiled code can be imported as it is; -I leaves out everything else.
    let code = "import sys; sys.path.insert(0, sys.argv[1]); import headroom_guard as g; print(g.__file__, g.__version__, g.can_proceed())";
    let mut python = Command::new("python3");
    python.args(["-I", "-c", code]).arg(&wheel).env("HEADROOM_NO_AGENT", "deny");
    let said = run(python.env("HEADROOM_SOCKET", folder.join("none")));
    assert!(said.contains(&name) && said.ends_with(&format!("{} False\n", env!("CARGO_PKG_VERSION"))), "{said}");
}

/// All files of a folder and below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn its_files_are_short_and_say_what_they_know() {
    let mut seen = 0;
    for path in files(&root().join("clients/python")) {
        if path.extension() == Some(OsStr::new("py")) {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("\"\"\""), "{} does not say what it knows", path.display());
            assert!(text.lines().count() <= LINES, "{} is too long", path.display());
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen}");
}
