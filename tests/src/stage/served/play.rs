//! Plays servers and their GPU, one after the other against one agent.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use collector::clock;
use serde_json::json;

use super::super::attempt::staged;
use super::super::interrupt;
use super::super::row::{MARK, Row};
use super::super::run::Options;
use super::super::slow::{self, Took, Watch, slower};
use super::super::told::Listener;
use super::table::USUAL;
use super::{Doing, Served};
use crate::agent::Agent;
use crate::cgroup::Cgroup;
use crate::nvml::{self, Nvml};
use crate::process::Killed;
use crate::provocation;
use crate::receiver::{Answer, Receiver};
use crate::require::own_machine;
use crate::scratch::scratch;
use crate::serve::Process;
use crate::stage::Programs;

const UUID: &str = "GPU-served";
/// Bytes of GPU memory that a server holds.
const VRAM: u64 = 40 << 30;
/// How often a server does what [`Doing`] says.
const STEP: Duration = Duration::from_millis(100);
/// Durations lie around what was meant, in several buckets, as real ones do: parts of it, and how many of twenty take that part.
const AROUND: [(f64, u64); 5] = [(0.6, 4), (0.8, 5), (1.0, 6), (1.2, 4), (1.5, 1)];

/// Stages them, and prints each result.
pub fn run(programs: Programs<'_>, scenarios: Vec<Served>, options: &Options) -> Vec<Row> {
    let chosen: Vec<Served> = scenarios.into_iter().filter(|it| options.asks(it.truth.name)).collect();
    // A machine for tests has neither cargo nor the stand-in for NVML.
    if chosen.is_empty() || own_machine() {
        return Vec::new();
    }
    let _caught = interrupt::catch();
    let mut card = nvml::host(&[UUID]);
    card.scenario["gpus"][0] = gpu();
    card.apply();
    let (variable, answers) = card.environment();
    let receiver = Receiver::start(Answer::Accept);
    let library = format!("[gpu]\nlibrary = {:?}\ninterval = \"250ms\"\n", card.library());
    let config = format!("{}{library}[[sink.webhook]]\nurl = {:?}\n", slow::config(), receiver.url());
    let mut agent = Agent::spawn_unrecorded(&config, |command| {
        command.env(variable, answers);
    });
    agent.await_ready();
    let listener = Listener::new(agent.directory(), receiver);
    let mut rows = Vec::new();
    for scenario in &chosen {
        if interrupt::noted() {
            break;
        }
        let played = staged(|_| play(programs, scenario, &agent, &listener, &mut card));
        let row = played.unwrap_or_else(|why| scenario.truth.failed(why));
        println!("{MARK}{}", row.json());
        rows.push(row);
    }
    assert!(!interrupt::noted(), "interrupted");
    agent.stop();
    rows
}

/// A busy GPU whose link is hardly used.
fn gpu() -> serde_json::Value {
    let mut gpu = nvml::gpu(UUID);
    gpu["utilization"] = json!([90, 40]);
    gpu["throttle"] = json!(0);
    gpu["pcie"]["counters"] = json!([{"base": 0, "rate": 1e9}, {"base": 0, "rate": 1e9}]);
    gpu
}

fn play(
    programs: Programs<'_>,
    scenario: &Served,
    agent: &Agent,
    listener: &Listener,
    card: &mut Nvml,
) -> Result<Row, String> {
    let folder = scratch();
    let above = Cgroup::everywhere(&format!("stage-{}", scenario.truth.name));
    ["memory", "io", "cpu"].iter().for_each(|controller| drop(above.delegate(controller)));
    let [cgroup, beside] = ["server", "beside"].map(|name| Cgroup::everywhere_at(&format!("{}/{name}", above.path)));
    let mut process = Process::start(programs.serve, &folder, scenario.kind, &[], Some(&cgroup));
    process.change(&[&format!("old {}", scenario.old), &format!("offload_bytes {}", 8_u64 << 30)]);
    let usual = || {
        let mut gpu = gpu();
        gpu["processes"] = json!([{"pid": process.pid(), "bytes": VRAM}]);
        gpu
    };
    let (well, mut ill) = (usual(), usual());
    (scenario.gpu)(&mut ill);
    let other = scenario.shared.then(|| Killed(provocation::spawn(programs.provoke, &beside, &["act", "stay"])));
    if let Some(Killed(other)) = &other {
        ill["processes"].as_array_mut().unwrap().push(json!({"pid": other.id(), "bytes": VRAM / 2}));
    }
    card.change("/gpus/0", well.clone());
    let port = process.port.to_string();
    let started = clock::unix_ns();
    let player = Player::start(process, USUAL);
    let first = player.took();
    let watch = Watch { agent, listener, port: &port, path: &cgroup.path, root: &above.path };
    let row = watch.usual(started).and_then(|()| {
        let (before, begun) = (player.took(), clock::unix_ns());
        if let Some(code) = scenario.xid {
            let mut xids = card.scenario["xids"].as_array().cloned().unwrap_or_default();
            xids.push(json!({"gpu": 0, "code": code}));
            card.scenario["xids"] = json!(xids);
        }
        card.change("/gpus/0", ill);
        player.does(scenario.then);
        // A played server is as slow as it is meant to be: what is reported of a control is wrong.
        let control = scenario.truth.causes.is_empty();
        let slower = || if control { 1.0 } else { slower([first, before, player.took()]) };
        watch.judge(&scenario.truth, begun, slower, || {
            card.change("/gpus/0", well.clone());
            player.does(USUAL);
        })
    });
    drop((player, other));
    card.change("/gpus/0/processes", json!([]));
    row
}

/// A server that does something all the time. When dropped, it ends.
struct Player {
    process: Arc<Mutex<Process>>,
    doing: Arc<Mutex<Doing>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Player {
    fn start(process: Process, doing: Doing) -> Player {
        let (process, doing) = (Arc::new(Mutex::new(process)), Arc::new(Mutex::new(doing)));
        let over = Arc::new(AtomicBool::new(false));
        let (told, now, stop) = (process.clone(), doing.clone(), over.clone());
        let thread = std::thread::spawn(move || {
            let (mut sums, mut next) = ([0; SUMS.len()], Instant::now());
            while !stop.load(Ordering::Relaxed) {
                let lines = lock(&now).step(&mut sums);
                lock(&told).change(&lines.iter().map(String::as_str).collect::<Vec<_>>());
                // As much in a second, also on a host that is busy.
                next += STEP;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        Player { process, doing, over, thread: Some(thread) }
    }

    /// As the server itself counts.
    fn took(&self) -> Took {
        lock(&self.process).took()
    }

    fn does(&self, doing: Doing) {
        *lock(&self.doing) = doing;
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counters, as the stand-in calls them.
const SUMS: [&str; 7] =
    ["requests", "prompt_tokens", "generated_tokens", "steps", "preemptions", "offload_stored", "offload_loaded"];

impl Doing {
    /// Seconds of a request from its arrival to its end.
    fn whole(&self) -> f64 {
        self.queue + self.first + self.between * self.output.saturating_sub(1) as f64
    }

    /// What the stand-in is told of one step.
    fn step(&self, sums: &mut [u64; SUMS.len()]) -> Vec<String> {
        let Doing { requests, prompt, output, .. } = *self;
        let more =
            [requests, requests * prompt, requests * output, output, self.preempted, self.offloaded, self.offloaded];
        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
        let mut lines: Vec<String> = SUMS.iter().zip(sums).map(|(name, sum)| format!("{name} {sum}")).collect();
        for (name, number) in [("running", self.running), ("waiting", self.waiting)] {
            lines.push(format!("{name} {number}"));
        }
        lines.push(format!("kv {}", self.kv));
        let each = output.saturating_sub(1);
        for (stage, seconds, times) in [
            ("first_token", self.queue + self.first, 1),
            ("between_tokens", self.between, each),
            ("end_to_end", self.whole(), 1),
            ("queue", self.queue, 1),
        ] {
            for (part, of_twenty) in AROUND {
                lines.push(format!("observe {stage} {} {}", seconds * part, requests * times * of_twenty / 20));
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_a_server_is_as_many_durations_as_requests_and_tokens() {
        let doing = USUAL;
        let mut sums = [0; SUMS.len()];
        doing.step(&mut sums);
        let lines = doing.step(&mut sums);
        assert_eq!(lines[0], format!("requests {}", 2 * doing.requests));
        let count = |stage: &str| -> u64 {
            let of = lines.iter().filter_map(|line| line.strip_prefix(&format!("observe {stage} ")));
            of.map(|rest| rest.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
        };
        assert_eq!(count("first_token"), doing.requests);
        assert_eq!(count("between_tokens"), doing.requests * (doing.output - 1));
    }
}
