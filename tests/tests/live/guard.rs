//! `headroom guard` against a real agent and real OOM kills: a second try with less, two programs that do not fit together, and a unit
//! that fails again and again.

use std::process::{Child, Command, Output, Stdio};

use collector_tests::agent::{Agent, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::require::is_root;

const MIB: u64 = 1 << 20;
/// A guard with all debug information has to fit, too.
const ROOM: u64 = 128 * MIB;
const PROVOKE: &str = env!("CARGO_BIN_EXE_provoke");
/// Ticks are short, since nothing here is about time.
const CONFIG: &str = "tick = \"200ms\"\n";

fn guard(agent: &Agent, arguments: &[&str]) -> Command {
    let mut command = headroom("guard");
    command.arg("--config").arg("/dev/null").arg("--socket").arg(agent.directory().join("headroom.sock"));
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn ended(child: Child) -> (i32, String) {
    told(&child.wait_with_output().unwrap())
}

fn told(output: &Output) -> (i32, String) {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap_or_else(|| panic!("{}: {text}", output.status)), text)
}

/// Takes so much memory, and gives it back at once.
fn hog(bytes: u64) -> String {
    format!("{PROVOKE} hog anon={bytes}")
}

#[test]
fn a_killed_command_is_tried_once_more_with_less_and_the_kill_is_explained() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("guard-smaller");
    cgroup.limit(ROOM);
    // Killed below a shell, which then ends as it likes: after a second, so that the guard has seen its process.
    let script = format!("(sleep 1; exec {}); exit 5", hog(4 * ROOM));
    let (less, more) = (hog(8 * MIB), hog(4 * ROOM));
    for (smaller, command, expected, kills) in
        [(&less, &["sh", "-c", &script][..], 0, 1), (&more, &[PROVOKE, "hog", "anon=536870912"], 137, 3)]
    {
        let mut guard = guard(&agent, &["--smaller", smaller, "--"]);
        let (code, text) = ended(cgroup.spawn(guard.args(command)));
        assert_eq!((code, cgroup.kills()), (expected, kills), "{text}");
        assert_eq!(text.matches("trying once more").count(), 1, "{text}");
        let explained = format!(" in {}: its own limit of 128 MiB was hit", cgroup.path);
        let says = ["OOM kill of provoke", &explained, "headroom explain "];
        assert!(says.iter().all(|said| text.contains(said)), "{text}");
    }
    let (code, text) = ended(cgroup.spawn(&mut guard(&agent, &["--", "sh", "-c", "exit 137"])));
    assert_eq!((code, text.contains("OOM kill")), (137, false), "no kill of this one: {text}");
}

#[test]
fn without_an_agent_the_kernels_count_tells_a_kill() {
    needs!(is_root(), "cgroups need root");
    let cgroup = Cgroup::new("guard-alone");
    cgroup.limit(ROOM);
    let (less, more) = (hog(4 * MIB), (4 * ROOM).to_string());
    let mut command = headroom("guard");
    command.args(["--config", "/dev/null", "--socket", "/nowhere/headroom.sock", "--smaller", &less, "--"]);
    command.args(["sh", "-c", &format!("cat /proc/self/oom_score_adj; exec {PROVOKE} hog anon={more}")]);
    let output = cgroup.spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped())).wait_with_output().unwrap();
    let own = std::fs::read("/proc/self/oom_score_adj").unwrap();
    assert_eq!(output.stdout, own, "only the guard is spared");
    let (code, text) = told(&output);
    assert_eq!((code, cgroup.kills()), (0, 1), "{text}");
    let said = format!("the OOM killer killed a process in {} (by the kernel's count)", cgroup.path);
    assert!(text.contains(&said), "{text}");
}

/// Holds so much memory for a second.
fn holds(bytes: u64) -> String {
    format!("sleep 1 | {PROVOKE} sleeper exit=0 anon={bytes}")
}

#[test]
fn two_programs_that_do_not_fit_together_both_finish_if_they_are_guarded() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("guard-two");
    let limit = 200 * MIB;
    cgroup.limit(limit);
    let each = limit * 6 / 10;
    let script = holds(each);
    let plain = || cgroup.spawn(Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let both = [plain(), plain()].map(|child| ended(child).0);
    let kills = cgroup.kills();
    // Or both, if they grow at the same moment.
    assert!(both.contains(&137) && kills > 0, "unguarded one is killed: {both:?}");
    let memory = each.to_string();
    let guarded =
        || cgroup.spawn(&mut guard(&agent, &["--memory", &memory, "--wait", "2m", "--", "sh", "-c", &script]));
    let both = [guarded(), guarded()].map(ended);
    assert_eq!((both[0].0, both[1].0, cgroup.kills()), (0, 0, kills), "guarded both finish: {both:?}");
    assert!(both.iter().any(|(_, text)| text.contains("waiting for room")), "one waited: {both:?}");
}

#[test]
fn a_unit_that_fails_three_times_may_not_start_and_another_may() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(CONFIG);
    let run = |unit: &str, script: &str| {
        told(&guard(&agent, &["--unit", unit, "--memory", "1M", "--", "sh", "-c", script]).output().unwrap())
    };
    for _ in 0..3 {
        assert_eq!(run("bad", "exit 3").0, 3);
    }
    let (code, text) = run("bad", "exit 0");
    assert!(code == 124 && text.contains("bad failed 3 times within 10 min (exit code 3)"), "{code} {text}");
    assert_eq!(run("good", "exit 0").0, 0);
    let status = guard(&agent, &["--status"]).output().unwrap();
    let page = String::from_utf8(status.stdout).unwrap();
    let line = page.lines().find(|line| line.starts_with("bad ")).unwrap_or_else(|| panic!("{page}"));
    assert!(line.contains("open") && line.contains("may start in"), "{page}");
    let labels = [("unit", "bad")];
    let seen = agent.scrape_until("the circuit", |it| it.has("headroom_circuit_state", &labels));
    assert_eq!(seen.values("headroom_circuit_state", &labels), [2.0]);
}
