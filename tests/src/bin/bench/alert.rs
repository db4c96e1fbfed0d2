//! Time from an OOM kill in the kernel to the webhook: on an idle host, with the journal in memory, and beside many cgroups and
//! scrapers.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use collector::clock;
use collector_core::sample::Reading;
use collector_core::signal::oom;
use collector_tests::agent::{Agent, get};
use collector_tests::cgroup::Cgroup;
use collector_tests::receiver::{Answer, Receiver, Request};
use collector_tests::scratch::{Scratch, scratch};

use crate::report::Report;
use crate::workloads;

const LIMIT: u64 = 16 << 20;
/// Cgroups, and scrapers once a second, of the busy host.
const CGROUPS: usize = 1_000;
const SCRAPERS: usize = 4;
/// Aims for p99 in milliseconds: on an idle and on a busy host.
const AIMS: [f64; 2] = [12.0, 20.0];
/// From one kill to the next.
const PAUSE: Duration = Duration::from_millis(30);

/// Kills processes one by one, each in a cgroup of its own.
pub fn measure(rounds: usize) -> Result<Report> {
    let memory = Scratch::in_memory();
    let idle = kills(rounds, |_| {})?;
    let unsynced = kills(rounds, |command| {
        command.env("HEADROOM_JOURNAL_DIR", memory.join("journal"));
    })?;
    let busy = workloads::beside(CGROUPS, || kills_beside_scrapers(rounds))?;
    let sync = syncs(rounds)?;
    let mut report = Report::new(&["ms until the webhook has the whole request", "p50", "p99", "slowest"]);
    report.row(idle.killed.cells("idle host: after the kernel chose its victim"));
    report.row(idle.died.cells("idle host: after the victim's death, as seen by its parent"));
    report.row(unsynced.killed.cells("idle host, the journal in memory: after the kernel chose its victim"));
    let name = format!("{CGROUPS} cgroups and {SCRAPERS} scrapers: after the kernel chose its victim");
    report.row(busy.killed.cells(&name));
    report.note("Each kill is of one process in a cgroup of its own with a limit of 16 MiB; ticks are a second apart.");
    report.note("The kernel's own time stamp of its choice is a while before the death.");
    report.note(format!(
        "The disk's share, from the difference to a journal in memory: {:.1} ms of p50, {:.1} ms of p99.",
        idle.killed.p50 - unsynced.killed.p50,
        idle.killed.p99 - unsynced.killed.p99,
    ));
    report.note(format!(
        "No kill waits for an fsync: the journal's commits leave that to checkpoints. One of 4 KiB takes {:.1} ms at p50 and {:.1} ms at p99 there, which would come on top.",
        sync.p50, sync.p99,
    ));
    for (side, name, aim) in [(&idle, "idle", AIMS[0]), (&busy, "busy", AIMS[1])] {
        let p99 = side.killed.p99;
        report.aim(format!("{name} host: p99 at most {aim} ms: {p99:.1} ms"), p99 <= aim);
    }
    let delivered: usize = [&idle, &unsynced, &busy].iter().map(|side| side.delivered).sum();
    report.aim(format!("all are delivered: {delivered} of {}", 3 * rounds), delivered == 3 * rounds);
    Ok(report)
}

/// How long it takes to write 4 KiB and have them on the disk, in milliseconds, where agents have their journal.
fn syncs(rounds: usize) -> Result<Quantiles> {
    let folder = scratch();
    let file = File::create(folder.join("file")).context("create a file")?;
    let one = |round: usize| {
        let begun = Instant::now();
        file.write_all_at(&[1; 4096], 4096 * round as u64).context("write")?;
        file.sync_data().context("sync")?;
        Ok(begun.elapsed().as_secs_f64() * 1e3)
    };
    Ok(Quantiles::of((0..rounds).map(one).collect::<Result<_>>()?))
}

/// What one agent did.
struct Side {
    /// Milliseconds from the kernel's choice of its victim.
    killed: Quantiles,
    /// From the victim's death.
    died: Quantiles,
    delivered: usize,
}

fn kills(rounds: usize, adjust: impl FnOnce(&mut Command)) -> Result<Side> {
    let receiver = Receiver::start(Answer::Accept);
    let config = format!("[workload]\nmax = 3000\n[[sink.webhook]]\nurl = {:?}\n", receiver.url());
    let mut agent = Agent::spawn(&config, adjust);
    agent.await_ready();
    kill_all(rounds, agent, &receiver)
}

fn kills_beside_scrapers(rounds: usize) -> Result<Side> {
    let receiver = Receiver::start(Answer::Accept);
    let agent = Agent::start(&format!("[workload]\nmax = 3000\n[[sink.webhook]]\nurl = {:?}\n", receiver.url()));
    let (address, done) = (agent.address.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..SCRAPERS {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    get(&address, "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
                    sleep(Duration::from_secs(1));
                }
            });
        }
        let side = kill_all(rounds, agent, &receiver);
        done.store(true, Ordering::Relaxed);
        side
    })
}

fn kill_all(rounds: usize, agent: Agent, receiver: &Receiver) -> Result<Side> {
    let mut victims = Vec::new();
    for _ in 0..rounds {
        let cgroup = Cgroup::new("alert");
        cgroup.limit(LIMIT);
        // tail looks for the last line of endless input, and fills its memory.
        let mut hog = cgroup.spawn(Command::new("tail").arg("/dev/zero").stdout(Stdio::null()).stderr(Stdio::null()));
        let status = hog.wait().context("wait for the victim")?;
        let dead = clock::unix_ns();
        ensure!(status.signal() == Some(libc::SIGKILL), "the victim ended with {status}");
        victims.push((hog.id(), dead, cgroup.path.clone()));
        // Nothing looks for the alert meanwhile: that would take CPU time from the agent.
        sleep(PAUSE);
    }
    let last = &victims.last().context("no round")?.2;
    let requests = receiver.until("the last alert", |all| all.iter().any(|request| reports(request, last)));
    let told = firing(&requests);
    // The record has the kernel's time stamp of the moment at which it chose the victim.
    let samples = agent.stop();
    let (mut killed, mut died) = (Vec::new(), Vec::new());
    for (pid, dead, path) in &victims {
        let kill = samples
            .iter()
            .find(|sample| matches!(&sample.reading, Reading::Oom(oom::Reading::Kill(kill)) if kill.pid == *pid));
        let kill = kill.with_context(|| format!("no record of the kill of {pid}"))?;
        let Some(time) = told.get(path.as_str()) else { continue };
        killed.push((*time as f64 - kill.time as f64) / 1e6);
        died.push((*time as f64 - *dead as f64) / 1e6);
    }
    let delivered = killed.len();
    Ok(Side { killed: Quantiles::of(killed), died: Quantiles::of(died), delivered })
}

/// Whether this request reports that an alert for this workload fires. Only what names it is parsed: all are looked at again and
/// again while the last is waited for.
fn reports(request: &Request, workload: &str) -> bool {
    let named = request.body.windows(workload.len()).any(|part| part == workload.as_bytes());
    named && firing(std::slice::from_ref(request)).contains_key(workload)
}

/// When the first alert for each workload came, in nanoseconds since the Unix epoch.
fn firing(requests: &[Request]) -> HashMap<String, u64> {
    let mut first = HashMap::new();
    for request in requests {
        for alert in request.alerts().iter().filter(|alert| alert["state"] == "firing") {
            if let Some(workload) = alert["labels"]["workload"].as_str() {
                first.entry(workload.to_owned()).or_insert(request.time);
            }
        }
    }
    first
}

/// What a tail is judged by.
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
    pub most: f64,
}

impl Quantiles {
    pub fn of(mut values: Vec<f64>) -> Quantiles {
        values.sort_by(f64::total_cmp);
        // Nearest rank: the 198th of 200 values.
        let at = |share: f64| {
            let rank = (values.len() as f64 * share).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Quantiles { p50: at(0.5), p99: at(0.99), most: at(1.0) }
    }

    pub fn cells(&self, name: &str) -> [String; 4] {
        [name.to_owned(), format!("{:.1}", self.p50), format!("{:.1}", self.p99), format!("{:.1}", self.most)]
    }
}
