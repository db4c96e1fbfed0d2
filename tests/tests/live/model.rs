//! Model servers: a real llama.cpp server that is found or configured, in this namespace and in a container's; and what others may not
//! make of that. Witnesses are the server's own answers to the test, and the test's own count of what it asked for.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use collector_core::sample::Reading;
use collector_core::statistic::model::Statistic::{GeneratedTokens, PromptTokens, RequestsRunning, Slots};
use collector_core::statistic::model::{self, Kind, State, Statistic};
use collector_tests::agent::{Agent, PATIENCE, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::llama::{Llama, free_port, python};
use collector_tests::require::is_root;
use collector_tests::scratch::{Scratch, scratch};
use collector_tests::{gguf, needs, user};

const CONFIG: &str = "tick = \"100ms\"\n[models]\ninterval = \"200ms\"\n";
const FLAGS: [&str; 9] = ["-c", "1024", "-np", "2", "-t", "1", "--cache-ram", "0", "--metrics"];

/// A model of 45 MB.
fn made_up(folder: &Path) -> PathBuf {
    let model = folder.join("made-up.gguf");
    gguf::llama(&model, 1);
    model
}

/// The last that was told of each server of this name; `None` if it is gone.
fn last(agent: &Agent, name: &str) -> Option<model::Reading> {
    let told = agent.samples().into_iter().filter_map(|sample| match sample.reading {
        Reading::Model(reading) if &*reading.server.name == name => Some(reading),
        _ => None,
    });
    told.last()
}

/// Waits until something is told of a server.
fn told(agent: &Agent, name: &str, wanted: impl Fn(&model::Reading) -> bool) -> model::Reading {
    let begun = Instant::now();
    loop {
        let last = last(agent, name);
        if let Some(reading) = last.as_ref().filter(|reading| wanted(reading)) {
            return reading.clone();
        }
        assert!(begun.elapsed() < PATIENCE, "{name}: {last:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn state(reading: &model::Reading) -> Option<State> {
    reading.answer.as_ref().map(|answer| answer.state)
}

fn why(reading: &model::Reading) -> &str {
    reading.answer.as_ref().and_then(|answer| answer.why.as_deref()).unwrap_or_default()
}

/// A number of the one model of a server.
fn value(reading: &model::Reading, statistic: Statistic) -> Option<u64> {
    let [model] = &reading.answer.as_ref()?.models[..] else { return None };
    model.values.get(statistic)
}

#[test]
fn a_real_server_is_found_and_what_is_told_is_what_it_did() {
    needs!(is_root(), "cgroups and programs need root");
    needs!(python().is_file(), "llama.cpp's server is not installed: cargo xtask test");
    let folder = scratch();
    let model = made_up(&folder);
    let agent = Agent::start(CONFIG);
    let cgroup = Cgroup::new("model-found");
    let server = Llama::start(&cgroup, &model, &FLAGS);
    let name = format!("llama_cpp:{}", server.port());
    told(&agent, &name, |reading| state(reading) == Some(State::Up));
    let (mut prompts, mut made) = (0, 0);
    for (prompt, count) in [("abc", 5), ("a longer prompt of more tokens", 7), ("x", 11)] {
        let (prompt, answer) = server.complete(prompt, count);
        assert_eq!(answer, u64::from(count));
        (prompts, made) = (prompts + prompt, made + answer);
    }
    assert_eq!(
        (server.metric("prompt_tokens_total"), server.metric("tokens_predicted_total")),
        (prompts as f64, made as f64)
    );
    let reading = told(&agent, &name, |reading| value(reading, GeneratedTokens) == Some(made));
    assert_eq!([PromptTokens, RequestsRunning, Slots].map(|it| value(&reading, it)), [Some(prompts), Some(0), Some(2)]);
    assert_eq!((reading.server.kind, reading.server.pid), (Some(Kind::LlamaCpp), Some(server.pid())));
    assert_eq!(reading.server.cgroup.map(|id| id.id), Some(cgroup.memory_id()));
    assert_eq!(&*reading.server.url, format!("http://{}", server.address));
    assert_eq!(&*reading.answer.as_ref().unwrap().models[0].name, "made-up.gguf");
    drop(server);
    told(&agent, &name, |reading| reading.answer.is_none());
    // A round of the source, which only the source itself knows of.
    assert!(agent.scrape().has("headroom_source_up", &[("source", "model")]));
}

#[test]
fn a_server_is_left_out_until_the_configuration_names_it() {
    needs!(is_root(), "cgroups and programs need root");
    needs!(python().is_file(), "llama.cpp's server is not installed: cargo xtask test");
    let folder = scratch();
    let model = made_up(&folder);
    let config = format!("{CONFIG}exclude = [\"llama_cpp:*\"]\n");
    let agent = Agent::start(&config);
    let cgroup = Cgroup::new("model-configured");
    let server = Llama::start(&cgroup, &model, &FLAGS);
    let file = agent.directory().join("headroom.toml");
    let text = fs::read_to_string(&file).unwrap();
    let token = agent.directory().join("token");
    fs::write(&token, "sk-1\n").unwrap();
    let table = format!(
        "{text}[[model_server]]\nurl = \"http://{}\"\nworkload = \"mine\"\ntoken_file = {token:?}\n",
        server.address
    );
    fs::write(&file, &table).unwrap();
    // Everybody can read it.
    set_mode(&token, 0o644);
    set_mode(agent.directory(), 0o755);
    agent.signal(rustix::process::Signal::HUP);
    agent.await_log(&["token_file", "everybody on this host can read it"]);
    set_mode(&token, 0o600);
    agent.signal(rustix::process::Signal::HUP);
    let reading = told(&agent, &server.address, |reading| state(reading) == Some(State::Up));
    assert_eq!(reading.server.kind, Some(Kind::LlamaCpp), "recognised by what it answers");
    assert_eq!(reading.server.workload.as_deref(), Some("mine"));
    assert_eq!(reading.server.pid, Some(server.pid()), "the process that listens");
    assert_eq!(value(&reading, Slots), Some(2));
    fs::write(&file, &text).unwrap();
    agent.signal(rustix::process::Signal::HUP);
    told(&agent, &server.address, |reading| reading.answer.is_none());
    assert_eq!(last(&agent, &format!("llama_cpp:{}", server.port())), None, "it was left out all the time");
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Processes that are called llama-server and serve nothing, of an unprivileged user.
struct Fakes {
    children: Vec<Child>,
    /// Has their program.
    _folder: Scratch,
}

impl Fakes {
    fn start(ports: impl Iterator<Item = u16>) -> Fakes {
        let folder = scratch();
        set_mode(&folder, 0o755);
        let shell = folder.join("llama-server");
        fs::copy("/bin/sh", &shell).unwrap();
        let one = |port: u16| {
            let mut command = Command::new(&shell);
            // The shell waits for its input, which never comes.
            command.arg0("llama-server").args(["-c", "read x", "-m", "--port", &port.to_string()]);
            command.stdin(Stdio::piped());
            user::run_as(&mut command, &[]);
            command.spawn().unwrap()
        };
        Fakes { children: ports.map(one).collect(), _folder: folder }
    }
}

impl Drop for Fakes {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_user_has_a_few_places_and_asks_nobody_elses_services() {
    needs!(is_root(), "cgroups and programs need root");
    let agent = Agent::start(CONFIG);
    // Root's service, on the port of which a user says to have a model server.
    let service = TcpListener::bind("127.0.0.1:0").unwrap();
    service.set_nonblocking(true).unwrap();
    let port = service.local_addr().unwrap().port();
    let one = Fakes::start(std::iter::once(port));
    let reading = told(&agent, &format!("llama_cpp:{port}"), |_| true);
    assert_eq!((state(&reading), reading.server.pid), (Some(State::Failed), Some(one.children[0].id())));
    assert!(why(&reading).contains("another user's (uid 0)"), "{}", why(&reading));
    assert_eq!(service.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "it was asked");
    drop(one);

    let fakes = Fakes::start(20_000..21_000);
    agent.scrape_until("all but a few are left out", |now| {
        now.sum("headroom_lost_total", &[("stage", "model")]) >= (fakes.children.len() - 16) as f64
    });
    let begun = Instant::now();
    loop {
        let mut names = std::collections::BTreeSet::new();
        for sample in agent.samples() {
            if let Reading::Model(reading) = sample.reading
                && reading.server.pid.is_some_and(|pid| fakes.children.iter().any(|fake| fake.id() == pid))
            {
                match reading.answer {
                    Some(answer) => {
                        assert!(answer.why.unwrap().contains("nothing listens on port 20"));
                        names.insert(reading.server.name.clone());
                    }
                    None => drop(names.remove(&reading.server.name)),
                }
                assert!(names.len() <= 16, "{names:?}");
            }
        }
        // The agent may be between two rounds.
        if names.len() == 16 {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{names:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A network namespace like a container's, which is gone with its process.
struct Container {
    child: Child,
    cgroup: Cgroup,
}

impl Container {
    fn new(name: &str) -> Container {
        let cgroup = Cgroup::new(name);
        let child = cgroup.spawn(Command::new("unshare").args(["-n", "sleep", "1000"]).stdin(Stdio::null()));
        let begun = Instant::now();
        let comm = format!("/proc/{}/comm", child.id());
        while fs::read_to_string(&comm).unwrap_or_default() != "sleep\n" {
            assert!(begun.elapsed() < PATIENCE);
            std::thread::sleep(Duration::from_millis(5));
        }
        let container = Container { child, cgroup };
        container.run("ip link set lo up");
        container
    }

    fn run(&self, line: &str) {
        let pid = self.child.id().to_string();
        let output = Command::new("nsenter").args(["-t", &pid, "-n", "sh", "-ec", line]).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Starts a real server in it.
    fn serve(&self, model: &Path, host: &str, port: u16) -> Child {
        let port = port.to_string();
        let line = Llama::line(model, &[&["--host", host, "--port", &port], &FLAGS[..]].concat());
        let pid = self.child.id().to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-n", "--"]).args(line).stdout(Stdio::null()).stderr(Stdio::null());
        self.cgroup.spawn(&mut command)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let pids = fs::read_to_string(self.cgroup.memory().join("cgroup.procs")).unwrap_or_default();
        for pid in pids.lines().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

#[test]
fn a_container_is_asked_at_its_own_address_and_nobody_who_borrows_it() {
    needs!(is_root(), "cgroups and programs need root");
    needs!(python().is_file(), "llama.cpp's server is not installed: cargo xtask test");
    let missing = ["ip", "unshare", "nsenter"].map(|name| Command::new(name).arg("-V").output().is_err());
    needs!(!missing.contains(&true), "ip of iproute2, unshare and nsenter are needed");
    let folder = scratch();
    let model = made_up(&folder);
    let agent = Agent::start(CONFIG);
    let [one, other] = ["model-one", "model-other"].map(Container::new);
    let (host, port) = (format!("hrm{}", std::process::id() % 100_000), free_port());
    let pid = one.child.id();
    for line in [
        format!("ip link add {host} type veth peer name eth0 netns {pid}"),
        format!("ip addr add 203.0.113.1/30 dev {host}"),
        format!("ip link set {host} up"),
    ] {
        let done = Command::new("sh").args(["-ec", &line]).status().unwrap();
        assert!(done.success(), "{line}");
    }
    one.run("ip addr add 203.0.113.2/30 dev eth0; ip link set eth0 up");
    // Anybody gives a namespace any address.
    other.run("ip addr add 203.0.113.2/32 dev lo");
    let mut servers = vec![one.serve(&model, "0.0.0.0", port), one.serve(&model, "127.0.0.1", port + 1)];
    servers.push(other.serve(&model, "0.0.0.0", port + 2));
    let name = |port: u16| format!("llama_cpp@203.0.113.2:{port}");
    let reached = told(&agent, &name(port), |reading| state(reading) == Some(State::Up));
    assert_eq!(reached.server.cgroup.map(|id| id.id), Some(one.cgroup.memory_id()));
    assert_eq!((&*reached.server.url, value(&reached, Slots)), (&*format!("http://203.0.113.2:{port}"), Some(2)));
    let alone = told(&agent, &name(port + 1), |reading| state(reading) == Some(State::Unreachable));
    assert!(why(&alone).contains("the loopback of its container alone"), "{}", why(&alone));
    // Nothing listens at that port of the first: so nothing is asked there, and no more where it does.
    let borrowed = told(&agent, &name(port + 2), |reading| why(reading).contains("203.0.113.2"));
    assert_eq!(state(&borrowed), Some(State::Failed), "{}", why(&borrowed));
    servers.push(one.serve(&model, "0.0.0.0", port + 2));
    told(&agent, &name(port + 2), |reading| why(reading).contains("is not in its container"));
    let second = told(&agent, &format!("{}-2", name(port + 2)), |reading| state(reading) == Some(State::Up));
    assert_eq!(second.server.cgroup.map(|id| id.id), Some(one.cgroup.memory_id()));

    let doctor = headroom("doctor").args(["--config", "/dev/null"]).output().unwrap();
    let text = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(text.contains(&name(port)) && text.contains("the loopback of its container alone"), "{text}");
    for mut server in servers {
        let _ = server.kill();
        let _ = server.wait();
    }
}
