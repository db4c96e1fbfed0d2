//! The agent as an unprivileged user: with exactly the capabilities that it needs it sees all that root sees, and with one less
//! it reports what is missing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use caps::Capability::{
    self, CAP_BPF, CAP_DAC_READ_SEARCH, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_SYS_RESOURCE,
};
use collector_core::sample::{Probe, ProbeState, Reading, Sample};
use collector_tests::agent::{Agent, headroom_at};
use collector_tests::cgroup::Cgroup;
use collector_tests::cuda::{Cuda, install};
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use collector_tests::user;

const PROGRAM: &str = env!("CARGO_BIN_EXE_provoke");
const CONFIG: &str = "tick = \"100ms\"\n";
const TRANSFERS: &str = "tick = \"100ms\"\n[transfer]\nenabled = true\nscan = \"100ms\"\n";
const NEEDED: [Capability; 3] = [CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH];
const KILLS: &str = "headroom_oom_kills_total";
const LIMIT: &str = "headroom_workload_memory_limit_bytes";
const LIMITED: u64 = 16 << 20;

/// A line of `/proc/PID/status`.
fn status(agent: &Agent, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim_start_matches(':').trim().to_owned()
}

fn start(capabilities: &[Capability], config: &str) -> Agent {
    let mut agent = Agent::spawn_as_user(capabilities, config);
    agent.await_ready();
    agent
}

/// State of each probe.
fn states(agent: &Agent) -> BTreeMap<String, String> {
    let exposition = agent.scrape();
    let held = exposition.samples.iter().filter(|sample| sample.0 == "headroom_probe_state" && sample.2 == 1.0);
    held.map(|sample| (sample.1["probe"].clone(), sample.1["state"].clone())).collect()
}

/// Makes the kernel kill a process in a cgroup, and waits until the agent counts it.
fn assert_sees_a_kill(agent: &Agent) {
    let cgroup = Cgroup::new("user");
    cgroup.limit(LIMITED);
    let mut provoke = Command::new(PROGRAM);
    provoke.args(["hog", "anon=67108864"]).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(cgroup.spawn(&mut provoke).wait().unwrap().signal(), Some(libc::SIGKILL));
    let of = [("workload", cgroup.path.as_str())];
    let seen = |now: &Exposition| now.sum(KILLS, &of) > 0.0 && now.sum(LIMIT, &of) == LIMITED as f64;
    let exposition = agent.scrape_until("the kill, and the limit", seen);
    assert_eq!((exposition.sum(KILLS, &of), cgroup.kills()), (1.0, 1));
}

#[test]
fn with_three_capabilities_a_user_sees_all_that_root_sees() {
    needs!(is_root(), "becoming another user takes root");
    let root = Agent::start(CONFIG);
    let wanted = states(&root);
    root.stop();
    let agent = start(&NEEDED, CONFIG);
    assert_eq!(status(&agent, "Uid").split_whitespace().next(), Some(user::ID.to_string().as_str()));
    assert_eq!(status(&agent, "NoNewPrivs"), "1");
    let kept: u64 = NEEDED.iter().map(Capability::bitmask).sum();
    for (set, expected) in [("CapEff", kept), ("CapPrm", kept), ("CapInh", 0), ("CapAmb", 0)] {
        assert_eq!(u64::from_str_radix(&status(&agent, set), 16).unwrap(), expected, "{set}");
    }
    assert_eq!(states(&agent), wanted);
    assert!(wanted.values().filter(|state| *state == "attached").count() >= 10, "{wanted:?}");
    assert_sees_a_kill(&agent);
    let exposition = agent.scrape();
    let up = exposition.values("headroom_source_up", &[]);
    assert!(!up.is_empty() && up.iter().all(|up| *up == 1.0), "{}", exposition.text);
    agent.stop();
}

#[test]
fn without_the_capabilities_for_attaching_it_exits_and_names_them() {
    needs!(is_root(), "becoming another user takes root");
    for missing in [CAP_BPF, CAP_PERFMON] {
        let left: Vec<_> = NEEDED.into_iter().filter(|capability| *capability != missing).collect();
        let mut agent = Agent::spawn_as_user(&left, CONFIG);
        assert_eq!(agent.wait().code(), Some(4), "{}", agent.log());
        assert!(agent.log().contains(&format!("needs {missing}, which this process lacks")), "{}", agent.log());
    }
    let mut agent = Agent::spawn_as_user(&[], CONFIG);
    assert_eq!(agent.wait().code(), Some(4));
    assert!(
        agent.log().contains("CAP_PERFMON and CAP_BPF") || agent.log().contains("CAP_BPF and CAP_PERFMON"),
        "{}",
        agent.log()
    );
}

#[test]
fn without_the_others_it_continues_and_reports_what_is_missing() {
    needs!(is_root(), "becoming another user takes root");
    // One less: files that only root may read.
    let agent = start(&[CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE], CONFIG);
    let lost = |agent: &Agent, capability: Capability| agent.log().contains(&format!("without {capability}: "));
    assert!(lost(&agent, CAP_DAC_READ_SEARCH) && !lost(&agent, CAP_BPF), "{}", agent.log());
    assert_sees_a_kill(&agent);
    agent.stop();
    // The other capabilities are not missed unless their feature is used.
    let agent = start(&NEEDED, CONFIG);
    assert!(
        !lost(&agent, CAP_DAC_READ_SEARCH) && lost(&agent, CAP_SYS_ADMIN) && lost(&agent, CAP_SYS_RESOURCE),
        "{}",
        agent.log()
    );
    agent.stop();
}

/// The agent's last report on the probe of copies.
fn last_word(agent: &Agent) -> Probe {
    let word = |sample: &Sample| match &sample.reading {
        Reading::Probe(probe) if probe.program == "transfer_copy_end" => Some(probe.clone()),
        _ => None,
    };
    agent.samples().iter().rev().find_map(word).unwrap()
}

#[test]
fn with_the_capabilities_for_uprobes_transfers_are_counted() {
    needs!(is_root(), "becoming another user takes root");
    let folder = scratch();
    let library = install(&folder);
    let cgroup = Cgroup::new("usercuda");
    let mut cuda = Cuda::with(PROGRAM, &cgroup, &library);
    let is = |now: &Exposition, state: &str| {
        now.sum("headroom_probe_state", &[("probe", "transfer_copy_end"), ("state", state)]) == 1.0
    };

    // Processes of other users are invisible.
    let agent = start(&NEEDED, TRANSFERS);
    assert!(agent.log().contains("without CAP_SYS_PTRACE: "), "{}", agent.log());
    agent.settle();
    // With CAP_PERFMON their mappings may be read from Linux 6.14 on, but their files cannot be opened.
    let word = last_word(&agent);
    assert!(matches!(word.state, ProbeState::Waiting | ProbeState::Failed), "{word:?}");
    assert!(word.reason.as_ref().unwrap().contains("Permission denied"), "{word:?}");
    agent.stop();

    // From Linux 6.16 on, and on older ones with backports, a uprobe needs more than CAP_PERFMON.
    let may_look = [CAP_BPF, CAP_PERFMON, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE];
    let agent = start(&may_look, TRANSFERS);
    let exposition = agent.scrape_until("a verdict", |now| is(now, "attached") || is(now, "failed"));
    if is(&exposition, "failed") {
        let word = last_word(&agent);
        assert!(word.reason.as_ref().unwrap().contains("this kernel needs CAP_SYS_ADMIN"), "{word:?}");
    }
    agent.stop();

    let agent = start(&[&may_look[..], &[CAP_SYS_ADMIN]].concat(), TRANSFERS);
    agent.scrape_until("an attached probe", |now| is(now, "attached"));
    cuda.copy("cuMemcpyHtoD_v2", 0x2_0000_0000, 0x1000, 4096, 10);
    let copies = [("workload", cgroup.path.as_str()), ("direction", "host_to_device")];
    let calls = |now: &Exposition| now.sum("headroom_workload_gpu_transfers_total", &copies);
    let exposition = agent.scrape_until("the copies", |now| calls(now) >= 10.0);
    assert_eq!(calls(&exposition), 10.0);
    agent.stop();
}

#[test]
fn the_doctor_says_what_each_missing_capability_costs() {
    needs!(is_root(), "becoming another user takes root");
    let doctor = |capabilities: &[Capability]| {
        let folder = scratch();
        let mut command = headroom_at(&user::install(&folder), "doctor");
        user::run_as(&mut command, capabilities);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = doctor(&NEEDED);
    assert!(text.contains("all that attaching needs") && text.contains("attached"), "{text}");
    for (capability, costs) in [
        (CAP_SYS_PTRACE, "other users' processes cannot be inspected"),
        (CAP_SYS_RESOURCE, "oom_score_adj cannot be lowered"),
        (CAP_SYS_ADMIN, "the run time of the programs"),
    ] {
        let line = text.lines().find(|line| line.contains(&format!("without {capability}: ")));
        assert!(line.is_some_and(|line| line.contains(costs)), "{capability}: {text}");
    }
    assert!(!text.contains("without CAP_DAC_READ_SEARCH"), "{text}");
    let text = doctor(&[CAP_BPF, CAP_PERFMON]);
    assert!(text.contains("without CAP_DAC_READ_SEARCH: files that only root may read"), "{text}");
    let text = doctor(&[CAP_DAC_READ_SEARCH]);
    assert!(text.contains("missing: CAP_BPF, CAP_PERFMON") && text.contains("No probe was tried"), "{text}");
}
