//! The agent with little memory under attack, beside honest workloads: whether it lives, which of their series are missing or stand
//! still, and which of their kills it tells.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::{Attack, Done, HONEST};
use crate::agent::{Agent, DETAIL, PATIENCE, get, headroom};
use crate::cgroup::Cgroup;
use crate::exposition::Exposition;
use crate::home::Made;
use crate::process::Killed;

const CONFIG: &str = "[kernel]\nmeasure = \"0s\"\n[workload]\ngrace = \"2s\"\n[transfer]\nenabled = true\n";
const FAULTS: &str = "headroom_workload_page_faults_total";
const CURRENT: &str = "headroom_workload_memory_current_bytes";
/// Forks, each of which faults.
const BUSY: &str = "while :; do /bin/true; sleep 0.05; done";
const WORKLOADS: usize = 8;
/// Pause between two scrapes: several ticks, so that every number has had its turn.
const PAUSE: Duration = Duration::from_secs(3);
/// Memory limit of honest processes that are killed.
const LIMIT: u64 = 16 << 20;

/// Memory charged to the agent's cgroup, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Charge {
    pub all: u64,
    pub anonymous: u64,
    pub file: u64,
    pub kernel: u64,
}

#[derive(Debug)]
pub struct Siege {
    pub done: Arc<Done>,
    pub has_dead_home: bool,
    /// What was charged at the height, by samples; the kernel's own peak.
    pub height: Charge,
    pub peak: Option<u64>,
    /// OOM kills in the agent's cgroup.
    pub own_kills: u64,
    pub scrapes: usize,
    /// Scrapes that were not answered with a page.
    pub refused: usize,
    /// Honest series that were missing in a page, or had not moved since the one before: what, and in which.
    pub lost: Vec<String>,
    /// Honest processes that were killed; of these, those of which the log tells.
    pub kills: (usize, usize),
    /// How long `headroom status --alive` takes: without the attack, and under it; and how often it said no.
    pub alive: [Vec<Duration>; 2],
    pub said_no: usize,
}

impl Siege {
    /// For this duration, with this memory limit in bytes; `program` is `provoke`.
    pub fn lay(program: &Path, limit: u64, duration: Duration, mut each: impl FnMut(&Charge)) -> Siege {
        let own = Cgroup::new("besieged");
        own.limit(limit);
        let homes = Attack::homes();
        let mut agent = Agent::spawn_unrecorded(CONFIG, |command| {
            own.join_before_exec(command);
            homes.show(command);
            command.env(DETAIL, "full");
        });
        agent.await_ready();
        let honest = Honest::start();
        agent.scrape_until("honest workloads", |it| honest.missing(it).is_empty());
        let (mut alive, mut said_no) = ([Vec::new(), Vec::new()], 0);
        let mut ask = |which: usize, count: usize| {
            for _ in 0..count {
                let (took, yes) = is_alive(&agent);
                alive[which].push(took);
                said_no += usize::from(!yes);
            }
        };
        ask(0, 50);
        let kills = Kills::start();
        let attack = Attack::begin(program.to_str().unwrap(), &agent.address, &homes);
        let (mut scrapes, mut refused, mut lost, mut before) = (0, 0, Vec::new(), None);
        let (begun, mut height) = (Instant::now(), Charge::default());
        while begun.elapsed() < duration {
            let paused = Instant::now();
            while paused.elapsed() < PAUSE {
                sleep(Duration::from_millis(250));
                let now = charge(&own);
                height = if now.all > height.all { now } else { height };
            }
            each(&height);
            ask(1, 2);
            scrapes += 1;
            let Some(page) = page(&agent.address) else {
                refused += 1;
                continue;
            };
            lost.extend(honest.missing(&page).into_iter().chain(honest.still(before.as_ref(), &page)));
            before = Some(page);
        }
        let (done, has_dead_home) = (attack.done.clone(), attack.has_dead_home());
        let killed = kills.end();
        drop(attack);
        let told = |log: &str| killed.iter().filter(|path| log.contains(&format!("in {path}: "))).count();
        let deadline = Instant::now() + PATIENCE;
        while told(&agent.log()) < killed.len() && Instant::now() < deadline {
            sleep(Duration::from_millis(100));
        }
        let kills = (killed.len(), told(&agent.log()));
        let (peak, own_kills) = (own.peak(), own.kills());
        assert!(own_kills > 0 || agent.is_running(), "it ended:\n{}", agent.log());
        Siege { done, has_dead_home, height, peak, own_kills, scrapes, refused, lost, kills, alive, said_no }
    }
}

fn page(address: &str) -> Option<Exposition> {
    let response = get(address, "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
    let (head, body) = response.split_once("\r\n\r\n")?;
    (head.starts_with("HTTP/1.1 200") && body.ends_with("# EOF\n")).then(|| Exposition::parse(body))
}

fn is_alive(agent: &Agent) -> (Duration, bool) {
    let mut command = headroom("status");
    command.args(["--alive", "--config", "/dev/null", "--socket"]).arg(agent.directory().join("headroom.sock"));
    let begun = Instant::now();
    let status = command.stderr(Stdio::null()).status().unwrap();
    (begun.elapsed(), status.success())
}

fn charge(cgroup: &Cgroup) -> Charge {
    let text = |file: &str| fs::read_to_string(cgroup.memory().join(file)).unwrap_or_default();
    let number = |file: &str| text(file).trim().parse().unwrap_or(0);
    let stat = text("memory.stat");
    let of = |key: &str| {
        let line = stat.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    match cgroup.is_v2() {
        true => Charge { all: number("memory.current"), anonymous: of("anon"), file: of("file"), kernel: of("kernel") },
        false => Charge {
            all: number("memory.usage_in_bytes"),
            anonymous: of("rss"),
            file: of("cache"),
            kernel: number("memory.kmem.usage_in_bytes"),
        },
    }
}

/// Workloads of the host that work all the time, and a user's container with a name of its own.
struct Honest {
    cgroups: Vec<(Cgroup, Killed)>,
    _container: Made,
}

impl Honest {
    fn start() -> Honest {
        let busy = || {
            let cgroup = Cgroup::new("honest");
            let child = cgroup.spawn(Command::new("sh").args(["-c", BUSY]));
            (cgroup, Killed(child))
        };
        let mut container = Made::default();
        container.container(HONEST);
        Honest { cgroups: (0..WORKLOADS).map(|_| busy()).collect(), _container: container }
    }

    /// Their series that a page has not.
    fn missing(&self, page: &Exposition) -> Vec<String> {
        let own = self.cgroups.iter().map(|(cgroup, _)| cgroup.path.clone());
        let named = std::iter::once(format!("user-{HONEST}/podman/honest"));
        let lacks = |name: &str, workload: &str| !page.has(name, &[("workload", workload)]);
        let memory = own.clone().chain(named).filter(|workload| lacks(CURRENT, workload));
        let faults = own.filter(|workload| lacks(FAULTS, workload));
        memory.map(|it| format!("{it} has no memory")).chain(faults.map(|it| format!("{it} has no faults"))).collect()
    }

    /// Those that have not moved.
    fn still(&self, before: Option<&Exposition>, page: &Exposition) -> Vec<String> {
        let Some(before) = before else { return Vec::new() };
        let faults = |page: &Exposition, cgroup: &Cgroup| page.sum(FAULTS, &[("workload", &cgroup.path)]);
        let still = self.cgroups.iter().filter(|(cgroup, _)| faults(page, cgroup) <= faults(before, cgroup));
        still.map(|(cgroup, _)| format!("{} stands still", cgroup.path)).collect()
    }
}

/// Honest processes that the kernel kills, one after the other.
struct Kills {
    stop: Arc<AtomicBool>,
    killed: Arc<Mutex<Vec<String>>>,
    thread: std::thread::JoinHandle<()>,
}

impl Kills {
    fn start() -> Kills {
        let (stop, killed) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Vec<String>>>::default());
        let (stopped, into) = (stop.clone(), killed.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let cgroup = Cgroup::new("killed");
                cgroup.limit(LIMIT);
                let mut hog = Command::new("tail");
                let status = cgroup.spawn(hog.arg("/dev/zero").stderr(Stdio::null())).wait().unwrap();
                assert!(!status.success());
                // By the kernel's own count.
                if cgroup.kills() > 0 {
                    into.lock().unwrap().push(cgroup.path.clone());
                }
                drop(cgroup);
                sleep(Duration::from_millis(500));
            }
        });
        Kills { stop, killed, thread }
    }

    /// Whose were killed.
    fn end(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut self.killed.lock().unwrap())
    }
}

/// `provoke`, which is built beside the tests and the benchmarks.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join("provoke"));
    beside.into_iter().find(|program| Path::is_file(program)).expect("provoke is not built")
}
