//! The agent with limits: little memory, few descriptors, many scrapes at once, and the OOM killer in its cgroup.

use std::fs;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::Ordering;
use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_tests::agent::{Agent, PATIENCE, get, headroom};
use collector_tests::cgroup::Cgroup;
use collector_tests::forest::Forest;
use collector_tests::load::Load;
use collector_tests::needs;
use collector_tests::process::{Killed, all_descriptors, memory, resident};
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::process::{Resource, Rlimit, setrlimit};

const CONFIG: &str = "tick = \"100ms\"\n[kernel]\nmeasure = \"0s\"\n[workload]\ngrace = \"500ms\"\n";
const CURRENT: &str = "headroom_workload_memory_current_bytes";
const MIB: u64 = 1 << 20;

/// Makes cgroups whose files are kept open, because each has a process, and waits until they are read.
fn plant(agent: &Agent, count: usize) -> (Forest, Vec<Killed>) {
    let mut forest = Forest::everywhere("limit");
    let mut sleepers = Vec::new();
    for number in 0..count {
        forest.make(format!("n{number}"));
        sleepers.push(Killed(forest.spawn_in_last(Command::new("sleep").arg("infinity"))));
    }
    let below = format!("{}/", forest.path);
    agent.scrape_until("their statistics", |it| {
        let ours = |labels: &std::collections::BTreeMap<String, String>| labels["workload"].starts_with(&below);
        it.samples.iter().filter(|sample| sample.0 == CURRENT && ours(&sample.1)).count() == count
    });
    (forest, sleepers)
}

#[test]
fn under_load_it_needs_at_most_64_mebibytes() {
    needs!(is_root(), "loading eBPF programs needs root");
    let own = Cgroup::new("own");
    own.limit(64 * MIB);
    let mut agent = Agent::spawn(CONFIG, |command| own.join_before_exec(command));
    agent.await_ready();
    let started = own.peak();
    let (forest, sleepers) = plant(&agent, 200);
    let load = Load::start(Duration::from_millis(100));
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) || load.done.kills.load(Ordering::Relaxed) < 10 {
        assert!(begun.elapsed() < 4 * PATIENCE, "{:?}", load.done);
        agent.scrape();
        sleep(Duration::from_millis(500));
    }
    let done = load.done.clone();
    drop(load);
    agent.settle();
    let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes / MIB);
    eprintln!(
        "{done:?}: at most {:?} MiB, of that {:?} by the start; {} MiB anonymous now, {} descriptors",
        mib(own.peak()),
        mib(started),
        resident(agent.pid()) / MIB,
        all_descriptors(agent.pid())
    );
    assert_eq!(own.kills(), 0);
    let kills = done.kills.load(Ordering::Relaxed) as usize;
    agent.await_kills(kills);
    drop((sleepers, forest));
    agent.stop();
}

fn await_healthy(agent: &Agent) {
    let deadline = Instant::now() + PATIENCE;
    while !get(&agent.address, "/-/healthy", "").starts_with("HTTP/1.1 200") {
        assert!(Instant::now() < deadline, "it no longer answers:\n{}", agent.log());
        sleep(Duration::from_millis(100));
    }
}

/// An agent with this limit on descriptors.
fn with_descriptors(count: u64) -> Agent {
    let limit = move || setrlimit(Resource::Nofile, Rlimit { current: Some(count), maximum: Some(count) });
    let mut agent = Agent::spawn(CONFIG, |command| {
        // SAFETY: between fork and exec only a system call is made.
        unsafe { command.pre_exec(move || limit().map_err(Into::into)) };
    });
    agent.await_ready();
    agent
}

#[test]
fn with_few_descriptors_it_continues_and_reports_it() {
    needs!(is_root(), "loading eBPF programs needs root");
    for limit in [512, 160] {
        let agent = with_descriptors(limit);
        let (forest, _sleepers) = plant(&agent, 60);
        assert!(agent.log().contains("descriptors"), "no message about them:\n{}", agent.log());
        // Each idle connection takes one, until none are left.
        let idle: Vec<TcpStream> = (0..limit).filter_map(|_| TcpStream::connect(&agent.address).ok()).collect();
        let cgroup = Cgroup::new("few");
        cgroup.limit(16 * MIB);
        let mut hog = Command::new("tail");
        assert!(!cgroup.spawn(hog.arg("/dev/zero").stderr(Stdio::null())).wait().unwrap().success());
        agent.await_kills(1);
        assert!(agent.log().contains(&format!("in {}: ", cgroup.path)), "{}", agent.log());
        eprintln!("{limit}: {} descriptors, {} idle", all_descriptors(agent.pid()), idle.len());
        drop(idle);
        await_healthy(&agent);
        assert_eq!(agent.scrape().sum("headroom_source_up", &[("source", "kernel")]), 1.0);
        assert!(agent.scrape().has(CURRENT, &[("workload", &format!("{}/n0", forest.path))]));
        agent.stop();
    }
}

#[test]
fn with_too_few_descriptors_to_start_it_says_what_is_missing() {
    needs!(is_root(), "loading eBPF programs needs root");
    let directory = scratch();
    let mut command = headroom("run");
    command.arg("--lock").arg(directory.join("lock")).args(["--listen", "127.0.0.1:0"]);
    command.env("HEADROOM_JOURNAL_DIR", directory.join("journal"));
    // SAFETY: between fork and exec only a system call is made.
    unsafe {
        let limit = Rlimit { current: Some(24), maximum: Some(24) };
        command.pre_exec(move || setrlimit(Resource::Nofile, limit).map_err(Into::into));
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 7)), "{}: {text}", output.status);
    assert!(text.contains("Too many open files") && !text.contains("panicked"), "{text}");
}

#[test]
fn a_hundred_scrapes_at_once_are_answered_or_refused_and_counted() {
    needs!(is_root(), "loading eBPF programs needs root");
    const CLIENTS: usize = 100;
    let agent = Agent::start(CONFIG);
    let (forest, sleepers) = plant(&agent, 200);
    let refused = |agent: &Agent| agent.scrape().lost("http");
    let before = refused(&agent);
    let (mut well, mut busy) = (0, 0);
    for _ in 0..5 {
        let (barrier, address) = (Barrier::new(CLIENTS), agent.address.as_str());
        let answers = std::thread::scope(|scope| {
            let ask = || {
                barrier.wait();
                get(address, "/metrics", "")
            };
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(ask)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<String>>()
        });
        for answer in answers {
            match answer.split_whitespace().nth(1) {
                Some("200") => {
                    let length = answer.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let body = answer.split_once("\r\n\r\n").unwrap().1;
                    assert_eq!(length.map(|it| it.trim().parse()), Some(Ok(body.len())), "cut off");
                    well += 1;
                }
                Some("503") => busy += 1,
                _ => panic!("no answer, but {answer:?}"),
            }
        }
    }
    eprintln!("{well} answered, {busy} refused");
    assert!(well >= 5);
    let counted = agent.settle().lost("http") - before;
    assert_eq!(counted, f64::from(busy));
    assert!(get(&agent.address, "/-/healthy", "").starts_with("HTTP/1.1 200"));
    drop((sleepers, forest));
    agent.stop();
}

/// Whoever may create cgroups decides how many there are and how long their names, and whoever reaches the port how many scrape at
/// once.
#[test]
fn long_names_and_a_dozen_scrapes_at_once_do_not_fill_its_memory() {
    needs!(is_root(), "loading eBPF programs needs root");
    const CLIENTS: usize = 12;
    const SCRAPES: usize = 2;
    let own = Cgroup::new("crowd");
    own.limit(256 * MIB);
    let mut agent = Agent::spawn(CONFIG, |command| own.join_before_exec(command));
    agent.await_ready();
    let honest = Cgroup::new("honest");
    let _held = Killed(honest.spawn(Command::new("sleep").arg("infinity")));
    let mut forest = Forest::everywhere("long");
    let mut sleepers = Vec::new();
    for number in 0..2100 {
        forest.make(format!("{number:04}{}", "x".repeat(240)));
        sleepers.push(Killed(forest.spawn_in_last(Command::new("sleep").arg("infinity"))));
    }
    agent.scrape_until("the workloads", |it| it.sum("headroom_workloads", &[]) >= 2000.0);
    let wanted = format!("{CURRENT}{{workload=\"{}\"}}", honest.path);
    let address = agent.address.as_str();
    let whole = std::thread::scope(|scope| {
        let scrape = |client: usize| {
            let wanted = &wanted;
            move || {
                let accept = match client % 2 {
                    0 => "Accept: application/openmetrics-text; version=1.0.0\r\n",
                    _ => "",
                };
                let answers = (0..SCRAPES).map(|_| get(address, "/metrics", accept));
                let whole = answers.filter(|answer| answer.contains("\nheadroom_series "));
                whole.inspect(|answer| assert!(answer.contains(wanted), "an honest series is left out")).count()
            }
        };
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(scrape(client))).collect();
        clients.into_iter().map(|client| client.join().unwrap()).sum::<usize>()
    });
    eprintln!("{whole} of {} answers whole; at most {:?} MiB", SCRAPES * CLIENTS, own.peak().map(|bytes| bytes / MIB));
    assert_eq!(own.kills(), 0, "{}", agent.log());
    assert!(whole >= CLIENTS / 2);
    await_healthy(&agent);
    drop((sleepers, forest));
    agent.stop();
}

/// A process with this much memory in a cgroup.
fn sleeper(cgroup: &Cgroup, bytes: u64, score: i64) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provoke"));
    command.args(["sleeper", &format!("anon={bytes}"), &format!("score={score}")]);
    cgroup.spawn(command.stdout(Stdio::null()).stderr(Stdio::null()))
}

#[test]
fn the_oom_killer_takes_the_others_although_the_agent_is_the_largest() {
    needs!(is_root(), "loading eBPF programs needs root");
    const KILLS: u64 = 10;
    let own = Cgroup::new("candidate");
    let mut agent = Agent::spawn(CONFIG, |command| own.join_before_exec(command));
    agent.await_ready();
    agent.settle();
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", agent.pid())).unwrap();
    let score: i64 = score.trim().parse().unwrap();
    assert!(score == -999 || agent.log().contains("CAP_SYS_RESOURCE"), "{score}: {}", agent.log());
    // If the agent's score may not be lowered, the others' is raised: only the difference counts, as a share of the limit.
    let others = (score + 999).min(1000);
    let half = memory(agent.pid(), "VmRSS:") / 2;
    let file = if own.is_v2() { "memory.current" } else { "memory.usage_in_bytes" };
    let used: u64 = fs::read_to_string(own.memory().join(file)).unwrap().trim().parse().unwrap();
    own.limit(used + 8 * half);
    let (mut children, begun) = (Vec::new(), Instant::now());
    while own.kills() < KILLS {
        assert!(begun.elapsed() < 2 * PATIENCE, "{} kills of {}", own.kills(), children.len());
        children.push(sleeper(&own, half, others));
        sleep(Duration::from_millis(50));
    }
    agent.await_kills(KILLS as usize);
    for child in &mut children {
        let _ = child.kill();
        child.wait().unwrap();
    }
    eprintln!(
        "score {score}, others {others}: {} kills, {} reported, of {} MiB each",
        own.kills(),
        agent.kills(),
        half / MIB
    );
    agent.stop();
}
