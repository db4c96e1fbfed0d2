//! `headroom status` and `headroom gpus` from a shell: without an agent against the kernel's own files, and with something that
//! answers in an agent's place.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::FromRawFd as _;
use std::process::{Command, Output, Stdio};
use std::ptr::null_mut;
use std::sync::Arc;

use collector_core::engine::Engine;
use collector_core::recording::samples;
use collector_core::rule::Rules;
use collector_tests::binary::binary;
use serde_json::Value;

const RECORDING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/replay/gpu.jsonl");

pub fn headroom(listen: SocketAddr, verb: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.env_clear().env("HEADROOM_GPU_ENABLED", "off").env("HEADROOM_JOURNAL_DIR", "/nowhere");
    command.args(verb).args(["--config", "/dev/null"]).stdin(Stdio::null());
    command.args(["--listen", &listen.to_string()]).output().unwrap()
}

pub fn out(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap()
}

/// An address at which nobody listens.
pub fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Answers each request with what `answer` says for its path: status line and body.
pub fn answering(answer: impl Fn(&str) -> (&'static str, String) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = client.read(&mut request).unwrap_or(0);
            let request = String::from_utf8_lossy(&request[..length]).into_owned();
            let (status, body) = answer(request.split(' ').nth(1).unwrap_or_default());
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = client.write_all((head + &body).as_bytes());
        }
    });
    address
}

/// What an agent would say at the end of a recording.
fn recorded(path: &str) -> (&'static str, String) {
    use collector_core::api::{gpus::Gpus, status::Status, workloads::Summary};
    let mut engine = Engine::with(Arc::new(Rules::new(&[]).unwrap()));
    for sample in samples(fs::read(RECORDING).unwrap().as_slice()) {
        engine.apply(&sample.unwrap());
    }
    let view = engine.view();
    match path {
        "/api/v1/status" => ("200 OK", serde_json::to_string(&Status::of(view)).unwrap()),
        "/api/v1/workloads" => ("200 OK", serde_json::to_string(&Summary::of(view)).unwrap()),
        "/api/v1/gpus" => ("200 OK", serde_json::to_string(&Gpus::of(view)).unwrap()),
        "/metrics" => ("200 OK", "headroom_host_cpus 4\n".to_owned()),
        _ => ("404 Not Found", String::new()),
    }
}

/// Bytes of a line of /proc/meminfo.
fn meminfo(key: &str) -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[test]
fn without_an_agent_the_kernel_is_asked_and_what_is_not_known_is_said() {
    let output = headroom(nobody(), &["status", "--json"]);
    let status: Value = serde_json::from_str(out(&output)).unwrap();
    assert_eq!(status["memory"]["total_bytes"], meminfo("MemTotal:"));
    assert_eq!(status["swap"]["total_bytes"], meminfo("SwapTotal:"));
    let cpus = fs::read_to_string("/proc/stat").unwrap();
    let cpus = cpus.lines().filter(|line| line.starts_with("cpu") && !line.starts_with("cpu ")).count();
    assert_eq!(status["cpu"]["cpus"], cpus);
    let busy = status["cpu"]["busy_ratio"].as_f64();
    assert!(busy.is_some_and(|share| (0.0..=1.0).contains(&share)), "two readings give a share: {status}");
    assert_eq!(status["unavailable"][0]["source"], "agent");
    assert_ne!(status["health"], "healthy", "nobody knows what lasts");
    let root = status["filesystems"].as_array().unwrap().iter().find(|it| it["mountpoint"] == "/");
    if let Some(root) = root {
        let stat = rustix::fs::statvfs("/").unwrap();
        assert_eq!(root["size_bytes"], stat.f_blocks * stat.f_frsize);
    }

    let screen = headroom(nobody(), &["status"]);
    let screen = out(&screen);
    assert!(screen.contains("no agent: alerts, incidents, stalls and pinned memory are not known"), "{screen}");
    assert!(screen.lines().any(|line| line.starts_with("Memory  ")) && !screen.contains('\x1b'), "{screen}");
    let metrics = headroom(nobody(), &["status", "--prometheus"]);
    let line = format!("\nheadroom_host_memory_total_bytes {}\n", meminfo("MemTotal:"));
    assert!(out(&metrics).contains(&line), "{}", out(&metrics));
}

#[test]
fn the_agents_answer_is_printed_as_it_is_and_drawn() {
    let agent = answering(recorded);
    let json = headroom(agent, &["status", "--json"]);
    let json: Value = serde_json::from_str(out(&json)).unwrap();
    let said: Value = serde_json::from_str(&recorded("/api/v1/status").1).unwrap();
    assert_eq!(json, said);
    assert_eq!((&said["health"], &said["gpus"][0]["model"]), (&"critical".into(), &"NVIDIA H100 PCIe".into()));

    let screen = headroom(agent, &["status"]);
    for part in ["CRITICAL", "GPU 1 (Tesla P4) no longer answers", "2 GPUS", "0 H100 PCIe", "headroom explain 2023"] {
        assert!(out(&screen).contains(part), "{part}: {}", out(&screen));
    }
    assert_eq!(out(&headroom(agent, &["status", "--prometheus"])), "headroom_host_cpus 4\n");

    let gpus = headroom(agent, &["gpus"]);
    assert!(out(&gpus).lines().any(|line| line.starts_with("0 H100 PCIe") && line.contains("37.3/80.0 GiB")));
    assert!(out(&gpus).contains("ollama.service 27.9") && out(&gpus).contains("XID 79"), "{}", out(&gpus));
    let json = headroom(agent, &["gpus", "--json"]);
    let json: Value = serde_json::from_str(out(&json)).unwrap();
    assert_eq!(json["gpus"], said["gpus"]);
}

/// Both ends of a terminal of 80 columns and 24 lines: the user's, and the program's.
fn terminal() -> [File; 2] {
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let (mut ours, mut theirs) = (-1, -1);
    // SAFETY: the numbers and the size live for the call; a name and modes are not asked for.
    let made = unsafe { libc::openpty(&mut ours, &mut theirs, null_mut(), null_mut(), &size) };
    assert_eq!(made, 0);
    // SAFETY: both are open, and nobody else's.
    [ours, theirs].map(|end| unsafe { File::from_raw_fd(end) })
}

#[test]
fn watching_draws_over_the_frame_before_and_leaves_the_terminal_as_it_was() {
    let [mut user, program] = terminal();
    let agent = answering(recorded);
    let mut command = Command::new(binary());
    command.env_clear().args(["status", "--watch", "0.2", "--config", "/dev/null", "--listen", &agent.to_string()]);
    command.env("HEADROOM_JOURNAL_DIR", "/nowhere").stdin(Stdio::null()).stdout(program).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let (mut seen, mut ended) = (String::new(), false);
    loop {
        let mut buffer = [0; 65536];
        // The end of the program closes its side.
        let Ok(length @ 1..) = user.read(&mut buffer) else { break };
        seen += &String::from_utf8_lossy(&buffer[..length]);
        if seen.matches("\x1b[?2026l").count() >= 3 && !ended {
            ended = true;
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        }
    }
    assert!(child.wait().unwrap().success(), "{seen:?}");
    assert!(seen.starts_with("\x1b[?1049h\x1b[?25l\x1b[?2026h\x1b[H"), "{seen:?}");
    assert!(seen.ends_with("\x1b[?25h\x1b[?1049l"), "{seen:?}");
    let frame = seen.split("\x1b[?2026h").nth(2).unwrap();
    assert!(frame.contains("\x1b[31mCRITICAL\x1b[0m") && !frame.contains("\x1b[2J"), "{frame:?}");
    // A line break after the last line would scroll the first one away.
    assert!(
        frame.matches('\n').count() < 24 && !frame.trim_end_matches("\x1b[J\x1b[?2026l").ends_with('\n'),
        "{frame:?}"
    );
}

#[test]
fn an_agent_that_gives_no_status_is_not_told_as_missing() {
    let old = answering(|_| ("404 Not Found", "not found".to_owned()));
    let output = headroom(old, &["status"]);
    assert!(out(&output).contains("the agent gives no status: HTTP status 404"), "{}", out(&output));
    assert!(!out(&output).contains("no agent"), "{}", out(&output));
    let output = headroom(answering(|_| ("403 Forbidden", "ask as root".to_owned())), &["status"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ask as root"));
}

#[test]
fn a_host_without_gpus_says_so_and_combinations_that_mean_nothing_are_refused() {
    let output = headroom(nobody(), &["gpus"]);
    assert!(out(&output).starts_with("no NVIDIA GPU"), "{}", out(&output));
    for verb in
        [&["status", "--json", "--prometheus"][..], &["status", "--watch", "--json"], &["status", "--watch", "0"]]
    {
        assert_eq!(headroom(nobody(), verb).status.code(), Some(2), "{verb:?}");
    }
}
