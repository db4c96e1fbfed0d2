//! `headroom report`, of what a real agent left on disk: against the kernel's own peak, and what the test did.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use collector_tests::agent::{Agent, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use serde_json::Value;

const LIMIT: u64 = 48 << 20;
const HELD: u64 = 16 << 20;

fn report(journal: &Path, arguments: &[&str]) -> Output {
    headroom("report").arg("--journal-dir").arg(journal).args(arguments).output().unwrap()
}

fn said(journal: &Path, arguments: &[&str]) -> String {
    let output = report(journal, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_report_has_the_kill_the_peak_and_the_alert_and_needs_no_agent() {
    needs!(is_root(), "loading eBPF programs needs root");
    let journal = scratch();
    let text = said(&journal, &[]);
    assert!(text.contains("There is no journal and no history in"), "{text}");

    let mut agent = Agent::spawn_unrecorded("tick = \"200ms\"\n", |command| {
        command.env("HEADROOM_JOURNAL_DIR", &*journal);
    });
    agent.await_ready();
    // A name that would be HTML.
    let cgroup = Cgroup::new("report<b>");
    cgroup.limit(LIMIT);
    let provoke = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Killed(cgroup.spawn(&mut command))
    };
    let file = journal.join("empty");
    let _stays = provoke(&["hold", &HELD.to_string(), "0", file.to_str().unwrap(), "0", "-", "0"]);
    let ours = [("workload", cgroup.path.as_str())];
    agent.scrape_until("the memory", |it| it.sum("headroom_workload_memory_current_bytes", &ours) >= HELD as f64);
    let mut hog = provoke(&["hog", "anon=134217728", "comm=hog"]);
    assert_eq!(hog.0.wait().unwrap().signal(), Some(libc::SIGKILL));
    agent.scrape_until("the alert", |it| it.sum("headroom_alerts", &[ours[0], ("alert", "OomKill")]) == 1.0);
    agent.stop();

    let digest: Value = serde_json::from_str(&said(&journal, &["--days", "1", "--json"])).unwrap();
    assert_eq!(digest["kills"], 1, "{digest}");
    assert_eq!(digest["incidents"].as_array().unwrap().len(), 1, "{digest}");
    let alerts = digest["alerts"].as_array().unwrap();
    assert!(alerts.iter().any(|it| it["name"] == "OomKill" && it["of"] == "critical" && it["count"] == 1), "{digest}");
    assert!((1..600).contains(&digest["known_seconds"].as_u64().unwrap()), "{digest}");
    let workloads = digest["workloads"].as_array().unwrap();
    let ours = workloads.iter().find(|it| it["workload"] == cgroup.path.as_str()).unwrap();
    assert_eq!(ours["memory_limit_bytes"], LIMIT, "{ours}");
    assert_eq!(ours["incidents"], 1, "{ours}");
    assert!(ours["limit_used_ratio"].as_f64().unwrap() >= HELD as f64 / LIMIT as f64 * 0.99, "{ours}");
    assert_eq!(digest["record"]["starts"], 1, "{digest}");
    // By the kernel: it never held more than its limit. Between two ticks it may have held more than was read.
    let peak = ours["memory_bytes"]["max"].as_f64().unwrap();
    assert!(peak >= HELD as f64 && peak <= cgroup.peak().unwrap() as f64 * 1.001, "{ours}");

    let text = said(&journal, &["--days", "1"]);
    assert!(text.contains("1 incident, 1 OOM kill, ") && text.contains("48.0 MiB"), "{text}");
    let page = said(&journal, &["--days", "1", "--markdown"]);
    assert!(page.contains("| OomKill | critical | 1 |") && !page.contains("<b>"), "{page}");
    let file = journal.join("report.html");
    said(&journal, &["--days", "1", "--html", file.to_str().unwrap()]);
    let page = fs::read_to_string(&file).unwrap();
    assert!(page.contains("report&lt;b&gt;") && page.contains("<path class="), "{page}");
    assert!(!page.contains("<b>") && !page.contains("<script") && !page.contains("http:") && !page.contains("src="));
    // A day on which there was nothing, beside today.
    let today = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
    let pair = format!("2020-01-01..{}", &today[..10]);
    let text = said(&journal, &["--days", "1", "--compare", &pair]);
    assert!(text.contains("Nothing is recorded of this period") && text.contains("PEAK AFTER"), "{text}");
    assert_eq!(report(&journal, &["--compare", "2999-01-01..2999-02-01"]).status.code(), Some(2));
}

#[test]
fn a_report_counts_starts_waits_refusals_and_levels_over_a_restart() {
    needs!(is_root(), "loading eBPF programs needs root");
    let journal = scratch();
    let start = || {
        let mut agent = Agent::spawn("tick = \"200ms\"\n", |command| {
            command.env("HEADROOM_JOURNAL_DIR", &*journal);
        });
        agent.await_ready();
        agent
    };
    let sleeper = Killed(Command::new("sleep").arg("600").stdin(Stdio::null()).spawn().unwrap());
    let pid = sleeper.0.id().to_string();
    let verb = |agent: &Agent, name: &str, arguments: &[&str]| {
        let mut command = headroom(name);
        command.arg("--socket").arg(agent.directory().join("headroom.sock")).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let agent = start();
    let reserve = |agent: &Agent, more: &[&str]| verb(agent, "reserve", &[&["--pid", &pid], more].concat());
    let first = reserve(&agent, &["--slot", "a", "--memory", "64M"]).output().unwrap();
    assert!(first.status.success(), "{first:?}");
    let id = String::from_utf8(first.stdout).unwrap().trim().to_owned();
    // The next ticks see it.
    agent.await_rounds();
    let refused = reserve(&agent, &["--slot", "a"]).output().unwrap();
    assert!(matches!(refused.status.code(), Some(21 | 22)), "{refused:?}");
    let mut waits = Killed(reserve(&agent, &["--slot", "a", "--wait", "5m"]).spawn().unwrap());
    agent.await_rounds();
    assert!(verb(&agent, "release", &[&id]).status().unwrap().success());
    assert!(waits.0.wait().unwrap().success());
    agent.stop();
    let starts = || {
        let digest: Value = serde_json::from_str(&said(&journal, &["--days", "1", "--json"])).unwrap();
        digest["starts"].clone()
    };
    let one = starts();
    assert_eq!((&one["granted"], &one["waited"]), (&2.into(), &1.into()), "{one}");
    assert!((0.1..600.0).contains(&one["wait_seconds_p99"].as_f64().unwrap()), "{one}");
    assert_eq!(one["refused"], serde_json::json!({"slot": 1}), "{one}");
    assert_eq!(
        (&one["reserved_peak"]["host memory"], &one["reserved_peak"]["reservations"]),
        (&(64 << 20).into(), &1.into())
    );
    let seconds = |starts: &Value| {
        let levels = starts["level_seconds"].as_array().unwrap();
        levels.iter().chain([&starts["level_unknown_seconds"]]).map(|it| it.as_u64().unwrap()).sum::<u64>()
    };

    let agent = start();
    let other = reserve(&agent, &["--memory", "32M"]).output().unwrap();
    assert!(other.status.success(), "{other:?}");
    agent.await_rounds();
    agent.stop();
    let both = starts();
    assert_eq!(both["granted"], 3, "{both}");
    assert_eq!(both["reserved_peak"]["host memory"], 64 << 20, "the most is no sum: {both}");
    assert!(seconds(&both) >= seconds(&one) && seconds(&both) < 600, "{one} {both}");
    let text = said(&journal, &["--days", "1"]);
    assert!(text.contains("3 claims granted, 1 of them after a wait") && text.contains("1 refused"), "{text}");
    drop(sleeper);
}
