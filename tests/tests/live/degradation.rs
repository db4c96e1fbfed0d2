//! The level of the host: a filesystem that is named in the configuration is filled for real. The witness is df.

use std::fs;
use std::process::Command;

use collector_tests::agent::{Agent, headroom};
use collector_tests::mount::Mount;
use collector_tests::needs;
use collector_tests::require::is_root;
use serde_json::Value;

/// The used share of a filesystem, as df says.
fn df(mount: &Mount) -> f64 {
    let output = Command::new("df").args(["--output=used,avail"]).arg(&*mount.0).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<f64> = text.lines().last().unwrap().split_whitespace().map(|it| it.parse().unwrap()).collect();
    numbers[0] / (numbers[0] + numbers[1])
}

/// What `headroom level` prints as JSON, and its exit code.
fn level(agent: &Agent) -> (Value, i32) {
    let mut command = headroom("level");
    command.args(["--json", "--exit-code", "--config"]).arg(agent.directory().join("headroom.toml"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"));
    (json, output.status.code().unwrap())
}

/// The line of the filesystem.
fn line<'a>(level: &'a Value, mountpoint: &str) -> &'a Value {
    let lines = level["resources"].as_array().unwrap();
    lines.iter().find(|line| line["mountpoint"] == mountpoint).unwrap()
}

#[test]
fn a_filesystem_that_fills_up_raises_the_level_at_once_and_it_holds() {
    needs!(is_root(), "mounting needs root");
    let mount = Mount::tmpfs("size=4m").unwrap();
    let mountpoint = mount.0.to_str().unwrap().to_owned();
    // Neither this machine's memory nor its load counts here.
    let config = format!(
        "filesystem.interval = \"500ms\"\n[level]\nmemory_limit = 1.0\nfilesystems = [{mountpoint:?}]\n[[rule]]\n\
         alert = \"LevelCritical\"\nmetric = \"headroom_degradation_level\"\nabove = 3\nseverity = \"critical\"\n\
         summary = \"the level is {{value}}\"\naction = \"Free something.\"\n"
    );
    let agent = Agent::start(&config);
    let known = |page: &collector_tests::exposition::Exposition| {
        let labels = [("resource", "filesystem"), ("mountpoint", &*mountpoint)];
        page.values("headroom_limit_used_ratio", &labels).first().copied()
    };
    agent.scrape_until("the filesystem", |page| known(page).is_some());
    let (before, _) = level(&agent);
    assert_eq!(
        (before["not_known"].as_array().unwrap().len() < 3, line(&before, &mountpoint)["level"].as_u64()),
        (true, Some(0))
    );

    fs::write(mount.0.join("ballast"), vec![7; (4 << 20) * 97 / 100]).unwrap();
    let full = df(&mount);
    assert!(full > 0.95, "{full}");
    let critical = |page: &collector_tests::exposition::Exposition| {
        page.values("headroom_degradation_level", &[]).first() == Some(&4.0)
    };
    let page = agent.scrape_until("level 4", critical);
    assert!((known(&page).unwrap() - full / 0.95).abs() < 0.01, "{full}");
    let (now, code) = level(&agent);
    assert_eq!(
        (code, now["level"].as_u64(), now["factor"].as_f64(), now["admits_priority"].as_u64()),
        (14, Some(4), Some(0.0), Some(4))
    );
    assert!(now["reasons"][0].as_str().unwrap().starts_with(&mountpoint), "{now}");
    agent.await_log(&["the level of the host is 4 (critical)", &mountpoint]);
    agent.await_log(&["the level is 4", "Firing"]);

    fs::remove_file(mount.0.join("ballast")).unwrap();
    agent.scrape_until("it is empty again", |page| known(page).is_some_and(|used| used < 0.1));
    let (held, code) = level(&agent);
    assert_eq!(
        (code, held["level"].as_u64(), line(&held, &mountpoint)["level"].as_u64()),
        (14, Some(4), Some(0)),
        "{held}"
    );
    let reasons = held["reasons"].as_array().unwrap();
    assert!(reasons.last().unwrap().as_str().unwrap().starts_with("held for 10 s"), "{reasons:?}");
}
