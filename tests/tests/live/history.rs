//! The history on disk, of an agent that is killed while it writes.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use collector::sink::history::file::Limits;
use collector::sink::history::{Reader, thread};
use collector_core::api::history::Points;
use collector_core::api::window::History;
use collector_core::series::Series;
use collector_core::tier::{self, Code, Entry, KEPT, Quarter, ROUNDS, Tier};
use collector_tests::agent::{Agent, PATIENCE, exchange};
use collector_tests::cgroup::Cgroup;
use collector_tests::needs;
use collector_tests::process::Killed;
use collector_tests::require::is_root;
use collector_tests::scratch::scratch;
use rustix::process::Signal;

fn start(journal: &Path) -> Agent {
    let mut agent = Agent::spawn_unrecorded("", |command| {
        command.env("HEADROOM_JOURNAL_DIR", journal);
    });
    agent.await_ready();
    agent
}

/// A process in the cgroup that holds this much anonymous memory.
fn hold(cgroup: &Cgroup, folder: &Path, bytes: u64) -> Killed {
    let mut provoke = Command::new(env!("CARGO_BIN_EXE_provoke"));
    let file = folder.join("empty");
    provoke
        .args(["hold", &bytes.to_string(), "0", file.to_str().unwrap(), "0", "-", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    Killed(cgroup.spawn(&mut provoke))
}

/// What the file has of the workload's memory, once its maximum is so much.
fn await_memory(journal: &Path, workload: &str, least: u64) -> Points {
    let begun = Instant::now();
    loop {
        let read = || Reader::open(journal)?.kept(Some(workload), 0, u64::MAX);
        let points = read().ok().flatten().and_then(|kept| kept.points(Some(workload), Series::Memory));
        if let Some(points) = points.filter(|points| points.max.iter().flatten().any(|most| *most >= least as f64)) {
            return points;
        }
        assert!(begun.elapsed() < PATIENCE, "{least} bytes of {workload} are not in the history");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Until the agent has read that the cgroup has so much.
fn await_current(agent: &Agent, cgroup: &Cgroup, least: u64) {
    let labels = [("workload", cgroup.path.as_str())];
    agent.scrape_until("the memory", |it| {
        it.values("headroom_workload_memory_current_bytes", &labels).iter().any(|bytes| *bytes >= least as f64)
    });
}

fn most(points: &Points) -> f64 {
    points.max.iter().flatten().copied().fold(0.0, f64::max)
}

/// Writes that the workload had 1 GiB in the quarter of an hour that began then.
fn leave(journal: &Path, workload: &str, time: u64) -> u64 {
    let mut row = [[Code::UNKNOWN; 3]; KEPT.len()];
    row[tier::kept(Series::Memory).unwrap()] = ROUNDS.map(|round| Code::of(Series::Memory, (1 << 30) as f32, round));
    let entry = Entry { workload: Some(workload.into()), owner: None, seconds: 900, row };
    let limits = Limits {
        max_age: Duration::from_secs(90 * 86400),
        max_bytes: 1 << 28,
        workloads: 1000,
        workloads_of_owner: 100,
    };
    let history = thread::History::start(journal.to_owned(), limits).unwrap();
    history.write(Quarter { time, entries: vec![entry], cards: Vec::new(), counts: Vec::new() });
    history.close();
    time
}

/// What many get who ask at once, at the address and at the socket.
fn answers(agent: &Agent, query: &str) -> Vec<History> {
    let request = format!("GET /api/v1/history?{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let socket = agent.directory().join("headroom.sock");
    let at_socket = || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    };
    let replies: Vec<String> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..20)
            .map(|reader| match reader % 2 {
                0 => scope.spawn(|| exchange(&agent.address, &request)),
                _ => scope.spawn(at_socket),
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    let parse = |reply: &String| {
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{reply}");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {reply}"))
    };
    replies.iter().map(parse).collect()
}

#[test]
fn what_is_on_disk_survives_a_kill_and_the_day_goes_on() {
    needs!(is_root(), "loading eBPF programs needs root");
    let journal = scratch();
    let cgroup = Cgroup::new("history");
    let _small = hold(&cgroup, &journal, 24 << 20);
    let mut agent = start(&journal);
    // The first minute that is over is written at once. The file is read as soon as it is there: the agent may be writing.
    let first = await_memory(&journal, &cgroup.path, 24 << 20);
    agent.signal(Signal::KILL);
    agent.wait();
    drop(agent);
    let peak = |cgroup: &Cgroup| cgroup.peak().unwrap_or(u64::MAX) as f64;
    assert!(most(&first) <= peak(&cgroup) * 1.001, "{first:?} {:?}", cgroup.peak());
    assert_eq!(await_memory(&journal, &cgroup.path, 24 << 20), first, "without an agent");

    // What is left goes to the file at the end, too, and joins what is there of the same quarter.
    let _large = hold(&cgroup, &journal, 48 << 20);
    let agent = start(&journal);
    await_current(&agent, &cgroup, 72 << 20);
    agent.stop();
    let later = await_memory(&journal, &cgroup.path, 72 << 20);
    assert!(most(&later) <= peak(&cgroup) * 1.001, "{later:?} {:?}", cgroup.peak());
    assert_eq!((later.times[0], later.kept_from), (first.times[0], first.kept_from));
    assert!(later.min[0] <= first.min[0]);
    // Three hours ago it had more.
    let old = leave(&journal, &cgroup.path, later.times[0] - 12 * Tier::QuarterHour.step());
    let _more = hold(&cgroup, &journal, 32 << 20);
    let agent = start(&journal);
    await_current(&agent, &cgroup, 104 << 20);
    let answers = answers(&agent, &format!("window_seconds=86400&series=memory_bytes&workload={}", cgroup.path));
    for history in &answers {
        let points = &history.series[0];
        assert_eq!((points.tier, points.kept_from, points.times[0]), (Tier::QuarterHour, old, old), "{history:?}");
        // The end of the quarter that is not over is in memory alone.
        let last = points.max.last().copied().flatten().unwrap_or_default();
        assert!(points.max[0] == Some((1u64 << 30) as f64) && last >= (104 << 20) as f64, "{history:?}");
        assert_eq!((history.missing[0].until, &*history.missing[0].reason), (old, "nothing older is kept"));
    }
    agent.stop();
    let last = await_memory(&journal, &cgroup.path, 104 << 20);
    assert!(last.times[1..].starts_with(&later.times), "{last:?}");
    let host = Reader::open(&journal).unwrap().kept(None, 0, u64::MAX).unwrap().unwrap();
    let host = host.points(None, Series::Cpu).unwrap();
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    assert!(
        host.max.iter().flatten().all(|most| (0.0..=cpus * 1.1).contains(most)) && !host.times.is_empty(),
        "{host:?}"
    );
}
