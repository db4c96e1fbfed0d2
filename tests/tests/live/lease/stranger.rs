//! Requests that are refused: malformed ones, and those that concern another user's processes and reservations.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::binary::binary;
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::require::is_root;
use serde_json::json;

use super::{TICK, answer, ids, reservations, send, sleeper, slot, socket};

#[test]
fn nobody_asks_too_much_or_in_another_s_name() {
    needs!(is_root(), "loading eBPF programs needs root");
    let agent = Agent::start_unrecorded(TICK);
    let socket = socket(&agent);
    let other = sleeper();
    let granted =
        answer(send(&socket, "POST", "reservations", &json!({"need": slot("x"), "owner": {"pid": other.0.id()}})));
    let id = granted.1["id"].to_string();
    let bad = [
        ("POST", "admit".to_owned(), "{}".to_owned(), 400),
        ("POST", "admit".to_owned(), "[".repeat(60_000), 400),
        ("POST", "admit".to_owned(), " ".repeat(70_000), 413),
        ("POST", "reservations".to_owned(), json!({"need": slot("x"), "priority": 9}).to_string(), 400),
        ("POST", "reservations".to_owned(), json!({"need": slot("x"), "owner": {"pid": 4_000_000}}).to_string(), 400),
        (
            "POST",
            "reservations".to_owned(),
            json!({"need": slot("x"), "owner": {"cgroup": "/../etc"}}).to_string(),
            400,
        ),
        (
            "POST",
            "reservations".to_owned(),
            json!({"need": slot("x"), "owner": {"cgroup": "/nowhere"}}).to_string(),
            400,
        ),
        ("PUT", "admit".to_owned(), "{}".to_owned(), 405),
        ("DELETE", "reservations/999999".to_owned(), String::new(), 404),
    ];
    for (method, path, body, status) in &bad {
        let mut stream = UnixStream::connect(&socket).unwrap();
        let head =
            format!("{method} /api/v1/{path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n", body.len());
        // Who sends too much may be cut off while it still sends.
        let _ = stream.write_all((head + body).as_bytes());
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path} {body:.60}: {text:.200}");
    }
    // Another user may not release it, nor claim for a process of somebody else's, nor ask for more than the usual priority.
    let as_user = |arguments: &[&str]| command(arguments, None).output().unwrap();
    open_to_all(agent.directory());
    let pid = other.0.id().to_string();
    let strange = Cgroup::new("strange");
    for (arguments, says) in [
        (vec!["release", "--socket", &socket, &id], "belongs to user 0"),
        (vec!["reserve", "--socket", &socket, "--slot", "y", "--pid", &pid], "is not of user 65534"),
        (vec!["admit", "--socket", &socket, "--slot", "y", "--priority", "critical"], "is for root"),
        (vec!["reserve", "--socket", &socket, "--slot", "y", "--cgroup", &strange.path], "is not of user 65534"),
    ] {
        let output = as_user(&arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(says), "{arguments:?}: {output:?}");
    }
    assert_eq!(ids(&reservations(&socket)["reservations"]).len(), 1);
    agent.stop();
}

#[test]
fn members_of_the_group_see_whose_reservations_there_are_and_read_the_journal() {
    needs!(is_root(), "loading eBPF programs needs root");
    // The agent's own group: it has no capability to give files to another.
    const GROUP: u32 = 0;
    let agent = Agent::start_unrecorded(&format!("group = \"{GROUP}\"\n{TICK}"));
    open_to_all(agent.directory());
    let (socket, journal) = (socket(&agent), agent.directory().join("journal").display().to_string());
    let owner = sleeper();
    let pid = owner.0.id().to_string();
    let held = super::verb(&socket, "reserve", &["--slot", "x", "--pid", &pid]).output().unwrap();
    assert!(held.status.success(), "{held:?}");
    let granted = || {
        let events = command(&["events", "--json", "--journal-dir", &journal], Some(GROUP)).output().unwrap();
        (events.status.success(), String::from_utf8_lossy(&events.stdout).contains("\"step\":\"granted\""), events)
    };
    let deadline = Instant::now() + PATIENCE;
    while !granted().1 {
        assert!(Instant::now() < deadline, "{:?}", granted().2);
        sleep(Duration::from_millis(50));
    }
    let stranger = command(&["events", "--json", "--journal-dir", &journal], None).output().unwrap();
    assert!(!stranger.status.success() && stranger.stdout.is_empty(), "{stranger:?}");
    for (group, sees) in [(Some(GROUP), true), (None, false)] {
        let listed = command(&["reservations", "--json", "--socket", &socket], group).output().unwrap();
        let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
        assert_eq!(listed["reservations"][0]["uid"].is_null(), !sees, "{group:?}: {listed}");
    }
    agent.stop();
}

/// The user that this is.
pub(super) const UID: u32 = 65534;

/// The binary, as another user, who may be a member of a group.
fn command(arguments: &[&str], group: Option<u32>) -> Command {
    let mut command = Command::new("setpriv");
    let groups = group.map_or("--clear-groups".to_owned(), |group| format!("--groups={group}"));
    command.args([&format!("--reuid={UID}"), &format!("--regid={UID}"), &groups]);
    command.arg(binary()).args(arguments);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("HEADROOM_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A verb of the same at this socket, from a shell: what is reserved belongs to that.
pub(super) fn spawn(socket: &str, verb: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={UID}"), &format!("--regid={UID}"), "--clear-groups", "env", "-i"]);
    command.args(["sh", "-c", "\"$0\" \"$@\"; exit $?"]).arg(binary()).args([verb, "--socket", socket]).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Other users may come this far.
pub(super) fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}
