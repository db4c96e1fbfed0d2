//! `headroom guard` and `headroom wait` as seen from a shell: exit codes, streams, signals, a terminal; and what they ask an agent for.

mod agent;
mod job;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use collector_tests::agent::headroom;
use collector_tests::process::Killed;
use collector_tests::scratch::scratch;
use rustix::process::{Pid, Signal, kill_process};

/// A verb for which there is no agent, or the one at this socket. It ignores no signal: a shell that starts the tests in the background
/// has them ignore SIGINT.
fn at(socket: &Path, verb: &str, arguments: &[&str]) -> Command {
    let mut command = headroom(verb);
    command.args(["--config", "/dev/null", "--socket"]).arg(socket).args(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    heeding(&mut command);
    command
}

/// Lets a command ignore no signal.
fn heeding(command: &mut Command) -> &mut Command {
    let heed = || {
        for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2] {
            // SAFETY: the default needs no handler, and these are signals.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(heed) }
}

fn alone(verb: &str, arguments: &[&str]) -> Command {
    at(Path::new("/nowhere/headroom.sock"), verb, arguments)
}

fn run(arguments: &[&str]) -> Output {
    alone("guard", arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{}: {}", output.status, err(output)))
}

fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn the_exit_code_is_the_commands_own() {
    for (script, expected) in
        [("exit 0", 0), ("exit 7", 7), ("exit 125", 125), ("kill -9 $$", 137), ("kill -10 $$", 138)]
    {
        let output = run(&["--", "sh", "-c", script]);
        assert_eq!(code(&output), expected, "{script}: {}", err(&output));
    }
    // A shell stops a script only if the signal itself ended its command, and a service manager takes only that for a clean end.
    for signal in [1, 2, 15] {
        let output = run(&["sh", "-c", &format!("kill -{signal} $$")]);
        assert_eq!(output.status.signal(), Some(signal), "{}", err(&output));
    }
}

#[test]
fn the_command_blocks_and_ignores_no_more_than_the_guard() {
    let show = ["Sig[BI]", "/proc/self/status"];
    // Bits 31 and up are signals that a C library keeps for itself.
    let masks = |output: &Output| {
        let hex = |line: &str| u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap() & 0x7fff_ffff;
        out(output).lines().map(hex).collect::<Vec<_>>()
    };
    let guarded = run(&[&["--", "grep"][..], &show].concat());
    assert_eq!(masks(&guarded), masks(&heeding(Command::new("grep").args(show)).output().unwrap()));
    assert_eq!(masks(&guarded).len(), 2);
}

#[test]
fn what_cannot_be_started_has_the_codes_of_a_wrapper() {
    let folder = scratch();
    let plain = folder.join("plain");
    fs::write(&plain, "text").unwrap();
    for (arguments, expected, says) in [
        (&["--", "no-such-command-of-headroom"][..], 127, "there is no command no-such-command-of-headroom"),
        (&["--", "/nowhere/x"], 127, "there is no command /nowhere/x"),
        (&["--", plain.to_str().unwrap()], 126, "cannot be executed"),
        (&["--", folder.to_str().unwrap()], 126, "cannot be executed"),
        (&["--no-such-flag", "true"], 125, "unexpected argument"),
        (&[], 125, "required"),
        (&["--wait", "soon", "true"], 125, "--wait"),
        (&["--priority", "5", "true"], 125, "priority"),
        (&["--memory", "2Q", "true"], 125, "--memory 2Q: unknown unit"),
        (&["--smaller", "sh -c 'exit", "true"], 125, "quotes in pairs"),
        (&["--smaller", "/nowhere/x", "true"], 127, "there is no command /nowhere/x"),
        (&["--no-agent", "deny", "true"], 125, "no agent answers at /nowhere/headroom.sock"),
        (&["--status"], 125, "no agent answers at /nowhere/headroom.sock"),
    ] {
        let output = run(arguments);
        assert_eq!((code(&output), out(&output)), (expected, ""), "{arguments:?}: {}", err(&output));
        assert!(err(&output).contains(says), "{arguments:?}: {}", err(&output));
    }
    let help = run(&["--help"]);
    assert_eq!(code(&help), 0);
}

#[test]
fn without_an_agent_it_runs_with_a_warning_unless_configured_otherwise() {
    let output = run(&["echo", "ran"]);
    assert_eq!((code(&output), out(&output)), (0, "ran\n"));
    let warning = "headroom: warning: no agent answers at /nowhere/headroom.sock";
    assert!(err(&output).lines().any(|line| line.starts_with(warning)), "{}", err(&output));
    let deny = |arguments: &[&str]| alone("guard", arguments).env("HEADROOM_GUARD_NO_AGENT", "deny").output().unwrap();
    let output = deny(&["echo", "ran"]);
    assert_eq!((code(&output), out(&output)), (125, ""));
    let output = deny(&["--no-agent", "allow", "echo", "ran"]);
    assert_eq!((code(&output), out(&output)), (0, "ran\n"), "the flag is nearer");
    let file = scratch();
    fs::write(file.join("headroom.toml"), "[guard]\nno_agent = \"deny\"\n").unwrap();
    let mut command = headroom("guard");
    command.arg("--config").arg(file.join("headroom.toml")).args(["--socket", "/nowhere/headroom.sock", "true"]);
    assert_eq!(code(&command.output().unwrap()), 125);
    let wait = |policy: &str| code(&alone("wait", &["--no-agent", policy, "--memory", "1G"]).output().unwrap());
    assert_eq!((wait("allow"), wait("deny")), (0, 23));
}

#[test]
fn standard_streams_environment_and_folder_are_the_commands() {
    let folder = scratch();
    let mut command = alone("guard", &["--", "sh", "-c", "cat; pwd; echo $WORD; echo trouble >&2"]);
    let mut child = command.current_dir(&*folder).env("WORD", "word").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"input\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 0);
    let path = fs::canonicalize(&*folder).unwrap();
    assert_eq!(out(&output), format!("input\n{}\nword\n", path.display()));
    assert!(err(&output).ends_with("trouble\n"), "{}", err(&output));
}

/// A guard whose command printed its pid: then its traps are set.
fn ready(command: &mut Command) -> (Killed, i32) {
    let mut guard = Killed(command.stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(guard.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let pid = line.trim().parse().unwrap_or_else(|error| panic!("{error}: {line:?}"));
    (guard, pid)
}

/// Prints its pid, and waits for a signal.
fn waits(traps: &str) -> String {
    format!("{traps}; echo $$; while :; do sleep 0.05; done")
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn signals_reach_the_command() {
    for (name, signal) in [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("TERM", Signal::TERM),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("WINCH", Signal::WINCH),
    ] {
        let script = waits(&format!("trap 'exit 42' {name}"));
        let (mut guard, _) = ready(&mut alone("guard", &["--", "sh", "-c", &script]));
        send(&guard.0, signal);
        assert_eq!(guard.0.wait().unwrap().code(), Some(42), "{name}");
    }
}

#[test]
fn an_untrapped_signal_ends_both_and_one_that_is_ignored_neither() {
    let (mut guard, pid) = ready(&mut alone("guard", &["--", "sh", "-c", &waits(":")]));
    send(&guard.0, Signal::TERM);
    assert_eq!(guard.0.wait().unwrap().signal(), Some(15));
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    // As nohup does.
    let script = "trap '' HUP; exec \"$0\" \"$@\"";
    let inner = alone("guard", &["--", "sh", "-c", &waits("trap 'exit 42' TERM")]);
    let mut outer = Command::new("sh");
    outer
        .args(["-c", script])
        .arg(inner.get_program())
        .args(inner.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let (mut guard, _) = ready(&mut outer);
    send(&guard.0, Signal::HUP);
    send(&guard.0, Signal::TERM);
    assert_eq!(guard.0.wait().unwrap().code(), Some(42));
}

#[test]
fn what_the_command_sends_to_its_own_group_does_not_come_back_to_it() {
    // A group of its own, so that the test is not in it.
    let script =
        "trap 'count=$((count+1))' USR1; kill -USR1 0; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.05; done; exit $count";
    let output = alone("guard", &["--", "sh", "-c", script]).process_group(0).output().unwrap();
    assert_eq!(code(&output), 1, "{}", err(&output));
}
