//! `headroom level` without an agent, and profiles on the command line.

use std::process::{Command, Output};

use collector_tests::agent::headroom;
use collector_tests::needs;
use collector_tests::require::installed;
use collector_tests::scratch::scratch;

const PROFILES: [&str; 5] = ["vllm-two-tier", "ollama-isolation", "musicgen", "warmup", "ringrift"];

/// Runs a verb with this configuration, on a socket and a port where no agent is.
fn run(verb: &str, config: &str, arguments: &[&str]) -> Output {
    let folder = scratch();
    let (file, socket) = (folder.join("headroom.toml"), folder.join("socket"));
    let head = format!("listen = \"127.0.0.1:1\"\nsocket = {socket:?}\n");
    std::fs::write(&file, head + config).unwrap();
    headroom(verb).arg("--config").arg(&file).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn without_an_agent_the_host_is_read_once_and_what_that_cannot_know_is_said() {
    let output = run("level", "level.memory_limit = 1.0\n", &[]);
    assert!(output.status.success(), "{output:?}");
    let page = text(&output);
    assert!(page.starts_with("level ") && page.contains("\nmemory "), "{page}");
    assert!(page.contains("not known: use of the CPUs"), "{page}");
    let output = run("level", "level.memory_limit = 1.0\n", &["--exit-code", "--json"]);
    let level: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(10 + level["level"].as_i64().unwrap() as i32), "{level}");
}

#[test]
fn a_filesystem_that_is_not_there_makes_the_level_unknown() {
    let output =
        run("level", "level.filesystems = [\"/nowhere/at/all\"]\nlevel.memory_limit = 1.0\n", &["--exit-code"]);
    assert_eq!(output.status.code(), Some(23), "{output:?}");
    let page = text(&output);
    assert!(page.starts_with("level not known, "), "{page}");
    assert!(page.contains("not known: filesystem /nowhere/at/all: it is not mounted"), "{page}");
}

#[test]
fn a_profile_is_checked_and_shown_with_the_place_of_each_value() {
    let output = run("check-config", "level.cpu_limit = 0.5\n", &["--profile", "ringrift"]);
    let page = text(&output);
    let line =
        |name: &str| page.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {page}"));
    assert!(line("memory_limit = 0.8 ").contains("# profile ringrift:"), "{page}");
    assert!(line("cpu_limit = 0.5 ").contains("headroom.toml:3:"), "{page}");
    assert!(line("# profile = \"ringrift\"").ends_with("# --profile"), "{page}");
    assert!(!page.contains("# WARNING: "), "{page}");
    let output = run("check-config", "need.reserved = \"900P\"\n", &["--profile", "ollama-isolation"]);
    let page = text(&output);
    assert!(
        page.contains("# WARNING: ") && page.contains("need.reserved is 900 PiB, more than this host's memory"),
        "{page}"
    );
    assert!(page.contains("# WARNING: [isolation] of profile ollama-isolation has no effect"), "{page}");
    let output = run("check-config", "", &["--profile", "ringrfit"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("did you mean \"ringrift\"?"), "{said}");
}

#[test]
fn the_rules_of_every_profile_are_rules_for_prometheus() {
    needs!(installed("promtool"), "promtool (Debian: prometheus) checks the rules");
    let folder = scratch();
    for profile in PROFILES {
        let output = run("rules", "", &["--profile", profile, "--format", "prometheus"]);
        let file = folder.join(format!("{profile}.yml"));
        std::fs::write(&file, &output.stdout).unwrap();
        let checked = Command::new("promtool").args(["check", "rules"]).arg(&file).output().unwrap();
        assert!(checked.status.success(), "{profile}: {}", String::from_utf8_lossy(&checked.stderr));
    }
    let rules = text(&run("rules", "", &["--profile", "ringrift", "--format", "prometheus"]));
    assert!(
        rules.contains("- alert: GracefulDegradationActive") && rules.contains("headroom_degradation_level > 1"),
        "{rules}"
    );
}
