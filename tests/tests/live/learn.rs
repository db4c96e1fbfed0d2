//! What work needed when it ran under a guard, against the kernel's own peak of its cgroup, and what that says about its next start.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::binary::binary;
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use serde_json::{Value, json};

/// What is too short to be learned is a unit test's.
const CONFIG: &str = "tick = \"100ms\"\n\n[admission]\nlearn_after = \"1s\"\n";
const MIB: u64 = 1 << 20;
const HELD: u64 = 96 * MIB;
const PROVOKE: &str = env!("CARGO_BIN_EXE_provoke");

fn start(folder: &Path) -> Agent {
    let mut agent = Agent::spawn_unrecorded(CONFIG, |command| {
        command.env("HEADROOM_JOURNAL_DIR", folder.join("journal")).env("HEADROOM_SOCKET", folder.join("agent.sock"));
    });
    agent.await_ready();
    agent
}

fn verb(folder: &Path, name: &str, arguments: &[&str]) -> Command {
    let mut command = headroom(name);
    command.args(["--config", "/dev/null", "--socket"]).arg(folder.join("agent.sock"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn learned(folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let output = verb(folder, "learned", &[&["--json"], arguments].concat()).output().unwrap();
    json_of(&output)["learned"].as_array().unwrap().clone()
}

/// The kernel's own peak of a cgroup.
fn peak(cgroup: &Cgroup) -> Option<u64> {
    let files = ["memory.max_usage_in_bytes", "memory.peak"];
    files.iter().find_map(|name| fs::read_to_string(cgroup.memory().join(name)).ok()?.trim().parse().ok())
}

#[test]
fn what_ran_twice_under_a_guard_is_known_for_the_third_start_until_it_is_forgotten() {
    needs!(is_root(), "cgroups and programs need root");
    let folder = scratch();
    let agent = start(&folder);
    let anon = format!("anon={HELD}");
    let command = [PROVOKE, "sleeper", "exit=0", &anon];
    let admit = |command: &[&str]| {
        let output = verb(&folder, "admit", &[&["--json", "--"], command].concat()).output().unwrap();
        (output.status.code(), json_of(&output))
    };
    let (code, unknown) = admit(&command);
    assert_eq!((code, &unknown["verdict"], unknown.get("learned")), (Some(23), &"unknown".into(), None), "{unknown}");
    // Both at once, so that the test waits only once until they have started.
    let cgroups = ["learn-a", "learn-b"].map(Cgroup::new);
    let guards: Vec<Killed> = cgroups
        .iter()
        .map(|cgroup| {
            let mut guard = verb(&folder, "guard", &["--no-scope", "--"]);
            let mut child = Killed(cgroup.spawn(guard.args(command)));
            let mut line = String::new();
            BufReader::new(child.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
            child
        })
        .collect();
    let deadline = Instant::now() + PATIENCE;
    while learned(&folder, &[]).first().is_none_or(|one| one["times"] != 2) {
        assert!(Instant::now() < deadline, "{:?} {}", learned(&folder, &[]), agent.log());
        sleep(Duration::from_millis(50));
    }
    for mut guard in guards {
        drop(guard.0.stdin.take());
        assert_eq!(guard.0.wait().unwrap().code(), Some(0));
    }
    let all = learned(&folder, &[]);
    let [one] = &all[..] else { panic!("{all:?}") };
    let memory = one["memory"].as_u64().unwrap();
    // The cgroup has the guard, too. The kernel counts the pages of a process in batches.
    let peaks: Vec<u64> = cgroups.iter().filter_map(peak).collect();
    assert!(memory >= HELD - 4 * MIB && peaks.iter().all(|peak| memory <= *peak), "{memory} {peaks:?}");
    assert!(one["name"].as_str().unwrap().starts_with("provoke #"), "{one}");
    // As after a kill.
    agent.stop();
    let agent = start(&folder);
    assert_eq!(learned(&folder, &[]), all);
    let (code, verdict) = admit(&command);
    let lesson = &verdict["learned"];
    assert_eq!((code, &verdict["verdict"], &lesson["times"]), (Some(0), &"yes".into(), &2.into()), "{verdict}");
    assert_eq!(
        (&lesson["resources"][0]["most"], &lesson["resources"][0]["counts"]),
        (&memory.into(), &"learned".into())
    );
    assert_eq!(verdict["resources"][0]["need"], lesson["resources"][0]["amount"], "{verdict}");
    let page = verb(&folder, "admit", &[&["--"][..], &command].concat()).output().unwrap();
    let page = String::from_utf8(page.stdout).unwrap();
    assert!(page.contains("seen 2 times, at most "), "{page}");
    let declared =
        verb(&folder, "admit", &[&["--json", "--memory", "1G", "--"], &command[..]].concat()).output().unwrap();
    let declared = json_of(&declared);
    assert_eq!(
        (&declared["resources"][0]["need"], &declared["learned"]["resources"][0]["counts"]),
        (&(1_u64 << 30).into(), &"declared".into())
    );
    // With other arguments it is other work, and so is another user's.
    let (code, other) = admit(&[PROVOKE, "sleeper", "exit=1", &anon]);
    assert_eq!((code, other.get("learned")), (Some(23), None), "{other}");
    open_to_all(&folder);
    let as_user = |arguments: &[&str]| {
        let mut user = Command::new("setpriv");
        user.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(binary()).args(arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADROOM_")) {
            user.env_remove(name);
        }
        user.stdin(Stdio::null()).output().unwrap()
    };
    let socket = folder.join("agent.sock").display().to_string();
    let strange = as_user(&[&["admit", "--json", "--socket", &socket, "--"], &command[..]].concat());
    assert_eq!((strange.status.code(), json_of(&strange).get("learned")), (Some(23), None), "{strange:?}");
    assert_eq!(json_of(&as_user(&["learned", "--json", "--socket", &socket]))["learned"], json!([]));
    let id = one["id"].to_string();
    let refused = as_user(&["learned", "--socket", &socket, "--forget", &id]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("nothing of user 65534 was learned"), "{refused:?}");
    assert_eq!(learned(&folder, &["--forget", &id]), all);
    assert_eq!((learned(&folder, &[]).len(), admit(&command).0), (0, Some(23)));
    agent.stop();
}

/// Other users may come this far.
fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
}
