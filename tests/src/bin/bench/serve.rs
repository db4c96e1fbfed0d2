//! Effect of serving on the rings: the time from a record in the critical ring to its outcome while many clients scrape in a
//! loop, compared with the same while as many threads use the same CPU time without scraping.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use collector::sink::journal::Reader;
use collector_tests::agent::{Agent, PATIENCE};
use collector_tests::cgroup::Cgroup;
use collector_tests::forest::Forest;
use serde_json::Value;

use crate::alert::Quantiles;
use crate::machine::cpu_ns;
use crate::report::Report;

const WORKLOADS: usize = 1_000;
const SCRAPERS: usize = 24;
const LIMIT: u64 = 16 << 20;
/// Kills in a row, before the next side has its turn.
const TURN: usize = 10;
/// Time from the start of the others to the first kill.
const WARM: Duration = Duration::from_secs(2);
const AIM: f64 = 2.0;

/// What runs during the kills.
#[derive(Clone, Copy, PartialEq)]
enum Beside {
    Scrapers,
    Burners,
    Nothing,
}

const SIDES: [Beside; 3] = [Beside::Scrapers, Beside::Burners, Beside::Nothing];

impl Beside {
    fn name(self) -> String {
        match self {
            Beside::Scrapers => format!("with {SCRAPERS} scrapers in a loop"),
            Beside::Burners => format!("with {SCRAPERS} CPU burners"),
            Beside::Nothing => "without load".to_owned(),
        }
    }
}

/// Kills one process after the other, each in a cgroup of its own.
pub fn measure(rounds: usize) -> Result<Report> {
    let agent = Agent::start_unrecorded("[workload]\nmax = 3000\n[kernel]\nmeasure = \"0s\"\n");
    let mut forest = Forest::everywhere("serve");
    for number in 0..WORKLOADS {
        forest.make(format!("n{number}"));
    }
    let last = format!("\"{}/n{}\"", forest.path, WORKLOADS - 1);
    let before = agent.scrape_until("the last workload", |exposition| exposition.text.contains(&last));
    let mut killed: [Vec<u32>; 3] = Default::default();
    let (mut busy, mut scrapes, mut seconds) = ([0.0; 2], 0, 0.0);
    for turn in 0..rounds.div_ceil(TURN) {
        let mut shares = [0.0; 2];
        for (side, beside) in SIDES.into_iter().enumerate() {
            let others = match beside {
                Beside::Scrapers => Others::scrape(&agent.address),
                // As much CPU time as the scrapers and the agent used just before.
                Beside::Burners => Others::burn(shares[0]),
                Beside::Nothing => Others::default(),
            };
            sleep(WARM);
            let (load, done, begun) = (Load::now()?, others.done(), Instant::now());
            for _ in 0..TURN.min(rounds - turn * TURN) {
                killed[side].push(kill()?);
            }
            if side < 2 {
                shares[side] = load.share(&Load::now()?);
                busy[side] += shares[side] / rounds.div_ceil(TURN) as f64;
            }
            if beside == Beside::Scrapers {
                scrapes += others.done() - done;
                seconds += begun.elapsed().as_secs_f64();
            }
            ensure!(others.end() == 0, "a scrape was not answered");
        }
    }
    let total = killed.iter().map(Vec::len).sum();
    agent.await_kills(total);
    let reported = reported(&agent, total)?;
    let after = agent.scrape();
    let stages = after.samples.iter().filter(|(name, ..)| name == "headroom_lost_total");
    let lost: Vec<String> = stages
        .map(|(_, labels, count)| (&labels["stage"], count))
        .map(|(stage, count)| (stage, count - before.lost(stage)))
        .filter(|(_, count)| *count > 0.0)
        .map(|(stage, count)| format!("{count} at {stage}"))
        .collect();
    let times = killed.map(|pids| {
        let times = pids.iter().map(|pid| reported.get(pid).copied().with_context(|| format!("{pid} is not reported")));
        times.collect::<Result<Vec<_>>>().map(Quantiles::of)
    });
    let [scraped, burnt, quiet] = times;
    let (scraped, burnt, quiet) = (scraped?, burnt?, quiet?);
    let mut report = Report::new(&["ms from the record to its outcome", "p50", "p99", "slowest"]);
    for (side, quantiles) in SIDES.into_iter().zip([&scraped, &burnt, &quiet]) {
        report.row(quantiles.cells(&side.name()));
    }
    report.note(format!(
        "{WORKLOADS} workloads; {rounds} OOM kills on each side, {TURN} at a time alternately. From the kernel's time stamp in the record to the agent's in the log."
    ));
    report.note(format!(
        "{:.0} scrapes a second of {:.1} MB, every second one compressed; {:.0} % of all CPUs were busy, and {:.0} % with the burners.",
        scrapes as f64 / seconds,
        after.text.len() as f64 / 1e6,
        busy[0] * 100.0,
        busy[1] * 100.0,
    ));
    report.note(format!(
        "With scrapers p50 is {:.2} times what it is without load. Burners never wait, and so take more CPU time from the agent than clients that wait for answers.",
        scraped.p50 / quiet.p50,
    ));
    for (other, than) in [(&burnt, "with the same CPU load"), (&quiet, "without load")] {
        let ratio = scraped.p99 / other.p99;
        report.aim(format!("p99 with scrapers at most {AIM} times what it is {than}: {ratio:.2}"), ratio <= AIM);
    }
    let stages = if lost.is_empty() { "nothing".to_owned() } else { lost.join(", ") };
    report.aim(format!("nothing is lost: {stages}"), lost.is_empty());
    Ok(report)
}

/// Makes the kernel kill a process; returns its pid.
fn kill() -> Result<u32> {
    let cgroup = Cgroup::new("serve-kill");
    cgroup.limit(LIMIT);
    // tail looks for the last line of endless input, and fills its memory.
    let mut hog = cgroup.spawn(Command::new("tail").arg("/dev/zero").stdout(Stdio::null()).stderr(Stdio::null()));
    let status = hog.wait().context("wait for the victim")?;
    ensure!(status.signal() == Some(libc::SIGKILL), "the victim ended with {status}");
    Ok(hog.id())
}

/// Milliseconds from each kill's record to its line in the log, by pid.
fn reported(agent: &Agent, kills: usize) -> Result<BTreeMap<u32, f64>> {
    let mut logged = BTreeMap::new();
    for line in agent.log().lines().filter(|line| line.contains("OOM kill of ")) {
        let line: Value = serde_json::from_str(line).context("a line of the log")?;
        let (Some(pid), Some(time)) = (line["pid"].as_u64(), line["timestamp"].as_str()) else { continue };
        let time = humantime::parse_rfc3339(time)?.duration_since(UNIX_EPOCH)?.as_nanos() as f64;
        logged.insert(pid as u32, time);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        // The journal has the record's own time.
        let events = Reader::open(&agent.directory().join("journal"))?.events_after(0, usize::MAX >> 1)?;
        let kills_in = events.iter().filter_map(|event| {
            let pid = event.what.get("oom_kill")?["kill"]["pid"].as_u64()? as u32;
            Some((pid, (logged.get(&pid)? - event.time as f64) / 1e6))
        });
        let reported: BTreeMap<u32, f64> = kills_in.collect();
        if reported.len() >= kills {
            return Ok(reported);
        }
        ensure!(Instant::now() < deadline, "{} of {kills} kills are in the journal", reported.len());
        sleep(Duration::from_millis(100));
    }
}

/// The other threads. They end when `stop` is set.
#[derive(Default)]
struct Others {
    stop: Arc<AtomicBool>,
    /// Scrapes that were answered, and those that were not.
    counts: Arc<[AtomicU64; 2]>,
    threads: Vec<JoinHandle<()>>,
}

impl Others {
    fn start(work: impl Fn(usize, &AtomicBool, &[AtomicU64; 2]) + Clone + Send + 'static) -> Others {
        let mut others = Others::default();
        for number in 0..SCRAPERS {
            let (stop, counts, work) = (others.stop.clone(), others.counts.clone(), work.clone());
            others.threads.push(std::thread::spawn(move || work(number, &stop, &counts)));
        }
        others
    }

    fn scrape(address: &str) -> Others {
        let address = address.to_owned();
        Others::start(move |number, stop, [answered, refused]| {
            let encoding = if number.is_multiple_of(2) { "gzip" } else { "identity" };
            let accept = "application/openmetrics-text; version=1.0.0";
            let request =
                format!("GET /metrics HTTP/1.1\r\nhost: x\r\naccept: {accept}\r\naccept-encoding: {encoding}\r\n\r\n");
            let mut response = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                response.clear();
                let asked = TcpStream::connect(&address).and_then(|mut stream| {
                    stream.write_all(request.as_bytes())?;
                    stream.read_to_end(&mut response)
                });
                let well = asked.is_ok() && response.starts_with(b"HTTP/1.1 200");
                if well { answered } else { refused }.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    /// Threads that together use this share of all CPUs.
    fn burn(share: f64) -> Others {
        let cpus = aya::util::online_cpus().map_or(1, |cpus| cpus.len());
        let each = share * cpus as f64 / SCRAPERS as f64;
        Others::start(move |_, stop, _| {
            let (begun, cpu) = (Instant::now(), cpu_ns());
            while !stop.load(Ordering::Relaxed) {
                if (cpu_ns() - cpu) as f64 > each * begun.elapsed().as_nanos() as f64 {
                    sleep(Duration::from_millis(1));
                }
            }
        })
    }

    fn done(&self) -> u64 {
        self.counts[0].load(Ordering::Relaxed)
    }

    /// Stops them; returns the number of scrapes that were not answered.
    fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
        self.counts[1].load(Ordering::Relaxed)
    }
}

/// Time of all CPUs, in ticks of the kernel's clock.
struct Load {
    busy: u64,
    all: u64,
}

impl Load {
    fn now() -> Result<Load> {
        let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).take(8).filter_map(|it| it.parse().ok()).collect();
        ensure!(ticks.len() == 8, "/proc/stat begins with {line:?}");
        let all: u64 = ticks.iter().sum();
        Ok(Load { busy: all - ticks[3] - ticks[4], all })
    }

    /// The share that was busy until then.
    fn share(&self, then: &Load) -> f64 {
        (then.busy - self.busy) as f64 / (then.all - self.all).max(1) as f64
    }
}
