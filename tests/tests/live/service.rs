//! The agent as a service: its messages to the service manager, and what it can do with the capabilities of its unit.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::time::{Duration, Instant};

use caps::{CapSet, Capability, CapsHashSet};
use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::needs;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::process::{Pid, Signal, kill_process};

const CONFIG: &str = "tick = \"100ms\"\n";

/// Messages of the agent up to this one.
fn heard(socket: &UnixDatagram, wanted: &str) -> Vec<String> {
    let (mut heard, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    while !heard.iter().any(|line| line == wanted) {
        assert!(Instant::now() < deadline, "{wanted} was not sent: {heard:?}");
        let mut buffer = [0; 1024];
        match socket.recv(&mut buffer) {
            Ok(length) => heard.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => panic!("{error}"),
        }
    }
    heard
}

#[test]
fn the_service_manager_gets_ready_watchdog_and_stopping() {
    needs!(is_root(), "loading eBPF programs needs root");
    let folder = scratch();
    let path = folder.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let mut agent = Agent::spawn(CONFIG, |command| {
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "900000");
    });
    let first = heard(&socket, "READY=1");
    assert_eq!(first, ["READY=1"], "nothing is sent before it is ready");
    agent.await_ready();
    // An agent that hangs sends nothing, and is restarted.
    heard(&socket, "WATCHDOG=1");
    let pid = Pid::from_raw(agent.pid() as i32).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    socket.set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    while socket.recv(&mut [0; 64]).is_ok() {}
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(socket.recv(&mut [0; 64]).unwrap_err().kind(), ErrorKind::WouldBlock);
    socket.set_nonblocking(false).unwrap();
    kill_process(pid, Signal::CONT).unwrap();
    heard(&socket, "WATCHDOG=1");
    agent.stop();
    heard(&socket, "STOPPING=1");
}

/// The capabilities that the unit allows.
fn allowed() -> CapsHashSet {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd/headroom.service");
    let text = fs::read_to_string(unit).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
    line.split(' ').map(|name| name.parse().unwrap()).collect()
}

#[test]
fn with_the_capabilities_of_its_unit_the_agent_sees_all_that_root_sees() {
    needs!(is_root(), "loading eBPF programs needs root");
    let attached = |agent: &Agent| {
        let exposition = agent.scrape();
        let states = exposition.samples.iter().filter(|sample| sample.0 == "headroom_probe_state" && sample.2 == 1.0);
        let mut states: Vec<_> = states.map(|sample| (sample.1["probe"].clone(), sample.1["state"].clone())).collect();
        states.sort();
        let up = exposition.values("headroom_source_up", &[]);
        assert!(up.iter().all(|up| *up == 1.0), "{}", exposition.text);
        (states, exposition.values("headroom_host_pressure_events_total", &[]).len())
    };
    let root = Agent::start(CONFIG);
    let wanted = attached(&root);
    root.stop();
    let allowed = allowed();
    assert!(allowed.contains(&Capability::CAP_BPF) && !allowed.contains(&Capability::CAP_DAC_OVERRIDE));
    let mut agent = Agent::spawn(CONFIG, |command| {
        let gone: Vec<Capability> = caps::all().difference(&allowed).copied().collect();
        let drop = move || {
            for capability in &gone {
                // A capability that this kernel does not know cannot be dropped.
                // SAFETY: a system call with numbers alone.
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability.index())) };
            }
            Ok(())
        };
        // SAFETY: between fork and exec only prctl is called.
        unsafe { command.pre_exec(drop) };
    });
    agent.await_ready();
    let status = fs::read_to_string(format!("/proc/{}/status", agent.pid())).unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:\t")).unwrap();
    // Nor can it keep capabilities that this root did not have.
    let given = caps::read(None, CapSet::Bounding).unwrap();
    let bits: u64 = allowed.intersection(&given).map(|capability| capability.bitmask()).sum();
    assert_eq!(u64::from_str_radix(bounding, 16).unwrap(), bits);
    assert_eq!(attached(&agent), wanted);
    agent.stop();
}
