//! The agent as a process: its privileges, its endpoint, its configuration, and how it handles disturbances.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use caps::{CapSet, Capability, CapsHashSet};
use collector_tests::agent::{Agent, get};
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::provocation::Provocation;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::process::Signal;

const CONFIG: &str = "tick = \"100ms\"\n";
const RUNS: &str = "headroom_bpf_runs_total";

/// CAP_DAC_READ_SEARCH, CAP_PERFMON and CAP_BPF, with their numbers in include/uapi/linux/capability.h.
const KEPT: u64 = 1 << 2 | 1 << 38 | 1 << 39;
const CAP_SYS_RESOURCE: u64 = 1 << 24;

/// A line of a process's status.
fn status(process: &str, name: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').trim().to_owned()
}

/// A set of capabilities of a process, from /proc.
fn capabilities(process: &str, set: &str) -> u64 {
    u64::from_str_radix(&status(process, set), 16).unwrap()
}

fn score(pid: u32) -> i32 {
    fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap().trim().parse().unwrap()
}

#[test]
fn once_attached_it_keeps_only_the_capabilities_it_needs() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(CONFIG);
    let pid = agent.pid().to_string();
    // Capabilities that this test does not have cannot be passed on.
    let expected = KEPT & capabilities("self", "CapEff");
    for set in ["CapEff", "CapPrm"] {
        assert_eq!(capabilities(&pid, set), expected, "{set}");
    }
    for set in ["CapInh", "CapAmb"] {
        assert_eq!(capabilities(&pid, set), 0, "{set}");
    }
    // Every thread, not only the first.
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let thread = thread.unwrap().file_name().into_string().unwrap();
        assert_eq!(capabilities(&format!("{pid}/task/{thread}"), "CapEff"), expected, "thread {thread}");
    }
    // With these, everything still works.
    let exposition = agent.settle();
    assert_eq!(exposition.sum("headroom_source_up", &[("source", "kernel")]), 1.0, "{}", exposition.text);
}

/// Tries forbidden operations in another program, with the agent's sets of capabilities if one is given. Returns the remaining
/// capabilities, and for each attempt its name, the capability that it needs, and the errno.
fn attempts(file: &Path, other: u32, agent: Option<&Agent>) -> (u64, Vec<(String, Capability, i32)>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
    let node = file.with_extension("node");
    command.arg("forbidden").arg(file).arg(other.to_string()).arg(&node);
    if let Some(agent) = agent {
        let pid = agent.pid().to_string();
        let of = |set| -> CapsHashSet {
            let bits = capabilities(&pid, set);
            caps::all().into_iter().filter(|capability| bits & capability.bitmask() != 0).collect()
        };
        let (bounding, effective, permitted) = (of("CapBnd"), of("CapEff"), of("CapPrm"));
        let gone: Vec<_> = caps::read(None, CapSet::Bounding).unwrap().difference(&bounding).copied().collect();
        let bound = status(&pid, "NoNewPrivs") == "1";
        let enter = move || {
            let all = gone.iter().try_for_each(|capability| caps::drop(None, CapSet::Bounding, *capability));
            all.and_then(|()| caps::clear(None, CapSet::Inheritable))
                .and_then(|()| caps::set(None, CapSet::Effective, &effective))
                .and_then(|()| caps::set(None, CapSet::Permitted, &permitted))
                .map_err(std::io::Error::other)?;
            Ok(rustix::thread::set_no_new_privs(bound)?)
        };
        // SAFETY: between fork and exec there are system calls, and memory is allocated by one thread alone.
        unsafe { command.pre_exec(enter) };
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let _ = fs::remove_file(node);
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let left = u64::from_str_radix(lines.next().unwrap()[1], 16).unwrap();
    let tried = lines.map(|line| (line[0].to_owned(), line[1].parse().unwrap(), line[2].parse().unwrap()));
    (left, tried.collect())
}

#[test]
fn with_the_agents_capabilities_nothing_else_can_be_done() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(CONFIG);
    let pid = agent.pid().to_string();
    let expected = KEPT & capabilities("self", "CapEff");
    assert_eq!(capabilities(&pid, "CapBnd") & capabilities("self", "CapEff"), expected);
    assert_eq!(status(&pid, "NoNewPrivs"), "1");

    // A file and a process of another user.
    let file = agent.directory().join("others");
    fs::write(&file, "secret").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    std::os::unix::fs::chown(&file, Some(65534), Some(65534)).unwrap();
    let mut other = Command::new(env!("CARGO_BIN_EXE_provoke"));
    // The cgroup kills it, however the test ends.
    let cgroup = Cgroup::new("other");
    let mut other = cgroup.spawn(other.args(["sleeper", "uid=65534"]).stdout(Stdio::piped()));
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");

    let (left, tried) = attempts(&file, other.id(), Some(&agent));
    // Running another program as root adds none.
    assert_eq!(left, expected);
    let refused = |errno: i32| [libc::EPERM, libc::EACCES].contains(&errno);
    for (name, capability, errno) in &tried {
        // A kernel without modules loads none for anybody.
        let held = expected & capability.bitmask() != 0;
        assert!(if held { *errno == 0 } else { refused(*errno) || *errno == libc::ENOSYS }, "{name}: {errno}");
    }
    // The proof that the capability is missing: with it, the same operation is not refused.
    let (left, tried) = attempts(&file, other.id(), None);
    let mut proven = 0;
    for (name, capability, errno) in tried.iter().filter(|(_, capability, _)| left & capability.bitmask() != 0) {
        assert!(!refused(*errno), "{name} with {capability}: {errno}");
        proven += 1;
    }
    eprintln!("{proven} of {} attempts are not refused to those with their capabilities", tried.len());
    assert!(proven >= 5, "root itself can do next to nothing here");
    other.kill().unwrap();
    other.wait().unwrap();
}

#[test]
fn its_oom_score_is_as_configured_or_it_logs_why_not() {
    needs!(is_root(), "programs need root");
    // Every process may raise its own score.
    let agent = Agent::start(&format!("{CONFIG}oom_score_adj = 100\n"));
    assert_eq!(score(agent.pid()), 100);
    agent.stop();

    let agent = Agent::start(CONFIG);
    if capabilities("self", "CapEff") & CAP_SYS_RESOURCE != 0 {
        assert_eq!(score(agent.pid()), -999);
    } else {
        assert_eq!(score(agent.pid()), score(std::process::id()));
        assert!(agent.log().contains("CAP_SYS_RESOURCE"), "{}", agent.log());
    }
}

#[test]
fn the_environment_configures_it() {
    needs!(is_root(), "programs need root");
    let mut agent = Agent::spawn("", |command| {
        command.env("HEADROOM_TICK", "50ms").env("HEADROOM_KERNEL_DISABLE", "fault,block_rq_issue");
        command.env("HEADROOM_OOM_SCORE_ADJ", "77");
    });
    agent.await_ready();
    let exposition = agent.settle();
    for (probe, state) in
        [("fault_user", "disabled"), ("block_rq_issue", "disabled"), ("block_rq_complete", "attached")]
    {
        let labels = [("probe", probe), ("state", state)];
        assert_eq!(exposition.sum("headroom_probe_state", &labels), 1.0, "{probe} {state}");
    }
    let faults = |mode| exposition.has("headroom_workload_page_faults_total", &[("mode", mode)]);
    assert_eq!([faults("user"), faults("any")], [false, true], "the kernel's own count is left");
    assert_eq!(score(agent.pid()), 77);
}

#[test]
fn it_reports_that_it_is_ready_and_healthy() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(CONFIG);
    for path in ["/-/ready", "/-/healthy"] {
        let response = get(&agent.address, path, "");
        assert!(response.starts_with("HTTP/1.1 200"), "{path}: {response}");
    }
    assert!(get(&agent.address, "/nowhere", "").starts_with("HTTP/1.1 404"));
}

/// Page faults, so that programs have run whatever else happens on the machine.
fn touch() {
    let cgroup = Cgroup::new("process");
    let verb = ["touch", "write", "2000"];
    let mut provocation = Provocation::within(env!("CARGO_BIN_EXE_provoke"), &verb, &cgroup);
    provocation.report();
    provocation.end();
}

#[test]
fn runs_of_programs_are_measured_for_the_configured_time() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(&format!("{CONFIG}[kernel]\nmeasure = \"1h\"\n"));
    touch();
    let exposition = agent.settle();
    let fault = [("program", "fault_user")];
    let (runs, seconds) = (exposition.sum(RUNS, &fault), exposition.sum("headroom_bpf_run_seconds_total", &fault));
    eprintln!("fault_user: {runs} runs, {:.0} ns each", seconds / runs * 1e9);
    assert!(runs >= 2000.0 && seconds > 0.0, "{runs} runs, {seconds} s");
    assert!(exposition.sum(RUNS, &[("program", "cgroup_mkdir")]) >= 1.0);
    // A program that is not attached has no runs.
    assert!(!exposition.has(RUNS, &[("program", "fault_any")]));
    agent.stop();

    let agent = Agent::start(&format!("{CONFIG}[kernel]\nmeasure = \"0s\"\n"));
    touch();
    let exposition = agent.settle();
    assert!(!exposition.has(RUNS, &[]), "{}", exposition.text);
    assert!(!exposition.has("headroom_bpf_run_seconds_total", &[]));
}

#[test]
fn debug_messages_of_programs_are_logged_on_request() {
    needs!(is_root(), "programs need root");
    let reported = |flag: &[&str]| {
        let mut agent = Agent::spawn(CONFIG, |command| {
            command.args(flag);
        });
        agent.await_ready();
        let cgroup = Cgroup::new("debug");
        let id = cgroup.memory_id();
        drop(cgroup);
        agent.settle();
        let log = agent.log();
        agent.stop();
        log.contains(&format!("cgroup {id}: event 1,"))
    };
    assert!(reported(&["--kernel-debug"]));
    assert!(!reported(&[]));
}

#[test]
fn a_record_goes_into_a_file_and_neither_into_a_device_nor_through_a_link() {
    needs!(is_root(), "programs need root");
    let folder = scratch();
    let (theirs, link) = (folder.join("theirs"), folder.join("link"));
    fs::write(&theirs, "theirs").unwrap();
    std::os::unix::fs::symlink(&theirs, &link).unwrap();
    for path in [Path::new("/dev/null"), &link] {
        let mut agent = Agent::spawn_recording(CONFIG, path, |_| {});
        assert_eq!(agent.wait().code(), Some(1), "{}", agent.log());
        assert!(agent.log().contains("it is a link, a device or a folder"), "{}", agent.log());
    }
    assert_eq!(fs::read_to_string(theirs).unwrap(), "theirs");
}

#[test]
fn a_hangup_reads_the_configuration_again_and_a_wrong_one_changes_nothing() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(CONFIG);
    let file = agent.directory().join("headroom.toml");
    let before = fs::read_to_string(&file).unwrap();
    let rule = "[[rule]]\nalert = \"Ticks\"\nmetric = \"headroom_source_up\"\nmatch = { source = \"kernel\" }\nabove = 0\n\
                severity = \"info\"\nsummary = \"it ticks\"\naction = \"none\"\n";
    // Settings come before tables.
    fs::write(&file, format!("host = \"other\"\n{before}{rule}")).unwrap();
    agent.signal(Signal::HUP);
    agent.await_log(&["needs a restart of the agent: host"]);
    agent.await_log(&["the configuration was read again"]);
    let fires = |now: &Exposition| now.sum("headroom_alerts", &[("alert", "Ticks")]);
    agent.scrape_until("the new rule", |now| fires(now) == 1.0);

    fs::write(&file, "nonsense").unwrap();
    agent.signal(Signal::HUP);
    agent.await_log(&["the configuration stays as it was", "not valid TOML"]);
    assert_eq!(fires(&agent.settle()), 1.0);

    fs::write(&file, &before).unwrap();
    agent.signal(Signal::HUP);
    agent.scrape_until("the rule to be gone", |now| fires(now) == 0.0);
    agent.stop();
}

#[test]
fn after_a_pause_it_continues() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(CONFIG);
    agent.settle();
    agent.signal(Signal::STOP);
    // Longer than ten ticks, which count as hanging.
    std::thread::sleep(Duration::from_secs(3));
    let cgroup = Cgroup::new("pause");
    let verb = ["touch", "write", "3000"];
    let mut provocation = Provocation::within(env!("CARGO_BIN_EXE_provoke"), &verb, &cgroup);
    let (minor, _) = provocation.report();
    agent.signal(Signal::CONT);
    let exposition = agent.settle();
    // The kernel kept counting meanwhile.
    let faults = exposition.sum("headroom_workload_page_faults_total", &[("workload", &cgroup.path)]);
    assert!(faults >= minor as f64, "{faults} of {minor}");
    assert!(get(&agent.address, "/-/healthy", "").starts_with("HTTP/1.1 200"));
    provocation.end();
    agent.stop();
}
