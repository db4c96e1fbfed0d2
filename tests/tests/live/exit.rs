//! How the agent exits, and refuses to start: exit codes, messages, and what is left of it in the kernel.

use std::fs::{self, File};
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use aya_obj::generated::bpf_cmd;
use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::bpf::Objects;
use collector_tests::cgroup::Cgroup;
use collector_tests::exposition::Exposition;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::process::Signal;

const CONFIG: &str = "tick = \"100ms\"\n";

/// Numbers of include/uapi/linux/capability.h.
const CAP_SYS_ADMIN: libc::c_ulong = 21;
const CAP_PERFMON: libc::c_ulong = 38;
const CAP_BPF: libc::c_ulong = 39;

/// Runs a command until it exits, or the test's patience runs out.
fn run(command: &mut Command) -> (i32, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code().unwrap_or_else(|| panic!("ended by {status}: {text}")), text)
}

/// `headroom run` with a lock of its own, on any free port.
fn agent() -> Command {
    let mut command = headroom("run");
    let lock = std::env::temp_dir().join(format!("headroom-test-lock-{}", std::process::id()));
    command.env("HEADROOM_LOCK", lock).env("HEADROOM_LISTEN", "127.0.0.1:0").env("HEADROOM_SOCKET", "");
    // If it starts after all, the test must not wait forever.
    // SAFETY: alarm is safe between fork and exec, and holds across it.
    unsafe {
        command.pre_exec(|| {
            libc::alarm(PATIENCE.as_secs() as u32);
            Ok(())
        });
    }
    command
}

/// Drops these capabilities, whatever the process has.
fn without(command: &mut Command, capabilities: &'static [libc::c_ulong]) {
    let drop_all = move || {
        let dropped = |capability: &libc::c_ulong| {
            // SAFETY: takes two numbers. What is not in the bounding set is not given to root at exec.
            unsafe { libc::prctl(libc::PR_CAPBSET_DROP, *capability, 0, 0, 0) == 0 }
        };
        if capabilities.iter().all(dropped) { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure only makes system calls.
    unsafe { command.pre_exec(drop_all) };
}

#[test]
fn a_signal_stops_it_cleanly_and_nothing_is_left_in_the_kernel() {
    needs!(is_root(), "programs need root");
    for signal in [Signal::TERM, Signal::INT] {
        let mut agent = Agent::start(CONFIG);
        let objects = Objects::of(agent.pid());
        assert!(objects.programs.len() >= 10 && objects.maps.len() >= 10, "{objects:?}");
        assert_eq!(objects.left(), objects);
        let begun = Instant::now();
        agent.signal(signal);
        let status = agent.wait();
        let took = begun.elapsed();
        eprintln!("{signal:?}: {status} after {took:?}");
        assert_eq!(status.code(), Some(0), "{}", agent.log());
        assert!(took < Duration::from_secs(10), "{took:?}");
        objects.await_gone();
    }
}

#[test]
fn after_a_kill_nothing_is_left_in_the_kernel_and_the_next_one_starts() {
    needs!(is_root(), "programs need root");
    let directory = scratch();
    let start = || {
        let mut agent = Agent::spawn(CONFIG, |command| {
            command.arg("--lock").arg(directory.join("lock"));
        });
        agent.await_ready();
        agent
    };
    let mut agent = start();
    let objects = Objects::of(agent.pid());
    agent.signal(Signal::KILL);
    assert_eq!(agent.wait().code(), None);
    objects.await_gone();
    start().stop();
}

#[test]
fn a_second_instance_is_refused() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start(CONFIG);
    let lock = agent.directory().join("lock");
    let (code, text) = run(headroom("run").arg("--lock").arg(&lock).args(["--listen", "127.0.0.1:0"]));
    assert_eq!(code, 5, "{text}");
    assert!(text.contains("another instance is running") && text.contains(lock.to_str().unwrap()), "{text}");

    // It has not harmed the first one.
    agent.stop();
}

/// Anybody may take the port before the agent does.
#[test]
fn a_taken_port_keeps_nothing_from_starting_and_is_listened_on_once_it_is_free() {
    needs!(is_root(), "programs need root");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut agent = Agent::spawn(CONFIG, |command| {
        command.args(["--listen", &address]);
    });
    agent.await_log(&["another process uses it", &address]);
    let socket = agent.directory().join("headroom.sock");
    let verb = |verb: &str, flags: &[&str]| {
        run(headroom(verb).args(flags).args(["--listen", &address, "--socket"]).arg(&socket))
    };
    agent.await_log(&["listening on the socket"]);
    agent.await_rounds();
    assert_eq!(verb("status", &["--alive"]), (0, String::new()));
    let (code, text) = verb("workloads", &["--interval", "0s", "--json"]);
    assert!(code == 0 && text.contains("\"source\": \"agent\""), "{text}");
    let (_, text) = verb("doctor", &[]);
    // It accepts connections, and never answers.
    assert!(text.contains(&format!("who has {address} does not")), "{text}");
    drop(taken);
    agent.await_ready();
    assert_eq!(agent.address, address);
    let up = "headroom_listener_up{listener=\"tcp\"}";
    let _ = agent.scrape_until("the listener", |exposition| exposition.text.contains(&format!("{up} 1\n")));
    agent.stop();
    assert_eq!(verb("status", &["--alive"]).0, 1);

    let (code, text) = run(self::agent().args(["--listen", "203.0.113.1:9843"]));
    assert_eq!(code, 6, "an address of another host is a mistake: {text}");
}

#[test]
fn nobody_else_can_hold_the_lock() {
    needs!(is_root(), "programs need root");
    let directory = scratch();
    let (lock, elsewhere) = (directory.join("lock"), directory.join("elsewhere"));
    // As an older version left it.
    File::create(&lock).unwrap();
    let start = |lock: &Path| {
        let mut agent = Agent::spawn(CONFIG, |command| {
            command.arg("--lock").arg(lock);
        });
        agent.await_ready();
        agent.stop();
        fs::metadata(lock).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(start(&lock), 0o600);
    let opened = Command::new("cat").arg(&lock).uid(65534).gid(65534).status().unwrap();
    assert!(!opened.success(), "nobody could open it, and so lock it");
    fs::remove_file(&lock).unwrap();
    assert_eq!(start(&lock), 0o600);

    let refused = |what: &str| {
        let (code, text) = run(agent().arg("--lock").arg(&lock));
        assert_eq!(code, 1, "{what}: {text}");
        assert!(text.contains(lock.to_str().unwrap()), "{what}: {text}");
        fs::remove_file(&lock).unwrap();
    };
    fs::remove_file(&lock).unwrap();
    symlink(&elsewhere, &lock).unwrap();
    refused("a link");
    assert!(!elsewhere.exists());
    rustix::fs::mknodat(rustix::fs::CWD, &lock, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    refused("a FIFO");
    File::create(&lock).unwrap();
    chown(&lock, Some(65534), None).unwrap();
    refused("a file of somebody else");
}

#[test]
fn missing_capabilities_are_named() {
    needs!(is_root(), "dropping capabilities needs root");
    let mut command = agent();
    without(&mut command, &[CAP_SYS_ADMIN, CAP_BPF]);
    let (code, text) = run(&mut command);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("CAP_BPF") && !text.contains("CAP_PERFMON,"), "{text}");

    let mut command = agent();
    without(&mut command, &[CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON]);
    let (code, text) = run(&mut command);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("CAP_BPF") && text.contains("CAP_PERFMON"), "{text}");
}

#[test]
fn the_doctor_needs_no_privilege_and_says_what_is_missing() {
    let mut command = headroom("doctor");
    if is_root() {
        without(&mut command, &[CAP_SYS_ADMIN, CAP_BPF, CAP_PERFMON]);
    }
    let (code, text) = run(&mut command);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("missing: CAP_BPF, CAP_PERFMON"), "{text}");
    assert!(text.contains("No probe was tried"), "{text}");
}

#[test]
fn a_wrong_configuration_is_refused_before_anything_else() {
    let directory = scratch();
    let (file, lock) = (directory.join("headroom.toml"), directory.join("lock"));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    fs::write(&file, format!("listen = \"{address}\"\nlock = {lock:?}\ntick = \"soon\"\n")).unwrap();
    let (code, text) = run(headroom("run").arg("--config").arg(&file));
    // The taken port and missing privileges are not mentioned: the configuration comes first.
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("tick") && text.contains(":3:"), "{text}");
    assert!(!lock.exists());
}

#[test]
fn btf_that_is_garbage_or_missing_is_a_clear_error() {
    needs!(is_root(), "without root the privileges are missing first");
    let directory = scratch();
    let garbage = directory.join("garbage");
    fs::write(&garbage, [0x5a; 4096]).unwrap();
    for path in [garbage, directory.join("missing"), directory.to_path_buf(), "/dev/null".into()] {
        let (code, text) = run(agent().arg("--btf").arg(&path));
        assert_eq!(code, 1, "{text}");
        assert!(text.contains(path.to_str().unwrap()) && text.contains("BTF"), "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// From here on this command of bpf(2) is refused, as by container runtimes.
fn refuse(command: u32) -> io::Result<()> {
    // Offsets into `struct seccomp_data`.
    const NUMBER: u32 = 0;
    const FIRST_ARGUMENT: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };
    let statement = |code: u32, k| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let unless = |k, jf| libc::sock_filter { code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16, jt: 0, jf, k };
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let mut filter = [
        statement(load, NUMBER),
        unless(libc::SYS_bpf as u32, 3),
        statement(load, FIRST_ARGUMENT),
        unless(command, 1),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the filter, which lives until then.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[test]
fn with_too_few_probes_it_exits_if_they_are_required() {
    needs!(is_root(), "programs need root");
    for verb in ["run", "doctor"] {
        let mut command = if verb == "run" { agent() } else { headroom(verb) };
        command.arg("--require-probes");
        // SAFETY: the closure only makes a system call.
        unsafe { command.pre_exec(|| refuse(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN as u32)) };
        let (code, text) = run(&mut command);
        assert_eq!(code, 7, "{text}");
        assert!(text.contains("probes could be attached") && text.contains("not permitted"), "{text}");
    }
}

/// The kernel may refuse to attach the programs, or even to create their maps.
#[test]
fn without_probes_cgroups_are_found_and_their_files_and_pressure_are_read() {
    needs!(is_root(), "programs need root");
    for (refused, reason) in [
        (bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, "probes could be attached"),
        (bpf_cmd::BPF_MAP_CREATE, "load the eBPF object"),
    ] {
        let config = format!("{CONFIG}[workload]\ngrace = \"500ms\"\n");
        let mut agent = Agent::spawn(&config, |command| {
            // SAFETY: the closure only makes a system call.
            unsafe { command.pre_exec(move || refuse(refused as u32)) };
        });
        agent.await_ready();
        assert!(agent.log().contains(reason) && agent.log().contains("headroom doctor"), "{}", agent.log());
        let cgroup = Cgroup::new("blind");
        let child = Killed(cgroup.spawn(Command::new("sleep").arg("1000")));
        let series = format!("workload=\"/{}", cgroup.memory().file_name().unwrap().to_str().unwrap());
        let memory = |exposition: &Exposition| {
            let is_memory =
                |line: &&str| line.starts_with("headroom_workload_memory_current_bytes{") && line.contains(&series);
            exposition.text.lines().filter(is_memory).count()
        };
        let exposition = agent.scrape_until("a cgroup made after the start", |exposition| memory(exposition) == 1);
        // What only a probe counts is absent, not zero.
        assert!(!exposition.text.contains("headroom_oom_kills_total"), "{}", exposition.text);
        assert!(exposition.text.contains("headroom_host_memory_available_bytes"), "{}", exposition.text);
        drop(child);
        drop(cgroup);
        let gone = |exposition: &Exposition| memory(exposition) == 0;
        let _ = agent.scrape_until("the end of a removed cgroup's memory", gone);
        agent.stop();
    }
}

#[test]
fn a_lock_that_cannot_be_created_is_an_error() {
    needs!(is_root(), "without root the privileges are missing first");
    let directory = scratch();
    let file = directory.join("file");
    File::create(&file).unwrap();
    let lock = file.join("lock");
    let (code, text) = run(agent().arg("--lock").arg(&lock));
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(lock.to_str().unwrap()), "{text}");
}
