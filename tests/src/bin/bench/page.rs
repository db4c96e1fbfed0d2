//! What the page costs its reader and the agent, in a real Chromium: time to the first paint and to the news of an OOM kill, CPU time
//! of an agent that many pages poll, memory of a page that is left open.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use collector_tests::agent::{Agent, body};
use collector_tests::browser::{Browser, Heap, Page};
use collector_tests::cgroup::Cgroup;
use collector_tests::forest::Forest;
use collector_tests::process::cpu;
use serde_json::{Value, json};

use crate::alert::Quantiles;
use crate::report::Report;

const WORKLOADS: usize = 100;
const PAGES: usize = 50;
/// How long they poll; the agent alone is measured for as long.
const POLLED: Duration = Duration::from_secs(20);
const LIMIT: u64 = 16 << 20;
/// By a page's own clock, after its memory was first measured.
const OPEN_MINUTES: u64 = 30;
const BEFORE_MINUTES: u64 = 5;
const PAINT_MS: f64 = 300.0;
const KILL_MS: f64 = 2_000.0;
const SHARE: f64 = 0.1;
/// Bytes by which memory may grow: an answer kept at each poll would be some tens of megabytes.
const FLAT: f64 = 1048576.0;

pub fn measure(rounds: usize) -> Result<Report> {
    if let Some(why) = Browser::missing() {
        bail!(why);
    }
    let agent = Agent::start_unrecorded("");
    let mut forest = Forest::everywhere("page");
    for number in 0..WORKLOADS {
        forest.make(format!("n{number}"));
    }
    let browser = Browser::start();
    let url = format!("http://{}/", agent.address);
    let paints = (0..rounds).map(|_| paint(&browser, &url)).collect();
    let page = browser.open(&url, json!({}));
    page.until_shown(&["live"]);
    let kills = (0..rounds).map(|_| kill(&agent, &page)).collect::<Result<Vec<f64>>>()?;
    drop(page);
    let alone = used(&agent, || sleep(POLLED));
    let answered = AtomicU64::new(0);
    let polled = used(&agent, || poll(&agent.address, &answered));
    let asked = PAGES as u64 * POLLED.as_secs();
    ensure!(answered.load(Ordering::Relaxed) >= asked / 2, "{answered:?} of {asked} requests were answered");
    let [before, after] = left_open(&browser, &url);
    let mut report = Report::new(&["ms", "p50", "p99", "slowest"]);
    let (paints, kills) = (Quantiles::of(paints), Quantiles::of(kills));
    report.row(paints.cells("first paint, nothing cached"));
    report.row(kills.cells("from an OOM kill until the page shows it"));
    let answers = answered.load(Ordering::Relaxed) as f64 / POLLED.as_secs_f64();
    report.note(format!(
        "{WORKLOADS} workloads beside the host's own; {rounds} loads and kills, on loopback. {PAGES} clients that ask as the page does: {answers:.0} answers a second, compressed; the agent used {:.1} % of a CPU, and {:.1} % without them.",
        polled * 100.0,
        alone * 100.0,
    ));
    report.note(format!(
        "A page left open for {OPEN_MINUTES} minutes by its own clock, which the test drives: {:.2} MiB of live JavaScript objects and {} nodes, after {:.2} MiB and {} in the beginning.",
        after.bytes as f64 / 1048576.0,
        after.nodes,
        before.bytes as f64 / 1048576.0,
        before.nodes,
    ));
    report.aim(format!("p50 of the first paint below {PAINT_MS} ms: {:.0} ms", paints.p50), paints.p50 < PAINT_MS);
    report.aim(format!("every kill is shown within {KILL_MS} ms: {:.0} ms", kills.most), kills.most <= KILL_MS);
    let share = polled - alone;
    report.aim(
        format!("{PAGES} pages cost at most {:.0} % of a CPU: {:.1} %", SHARE * 100.0, share * 100.0),
        share <= SHARE,
    );
    let grown = after.bytes as f64 - before.bytes as f64;
    let aim = format!("a page grows by at most 1 MiB in {OPEN_MINUTES} minutes: {:+.2} MiB", grown / 1048576.0);
    report.aim(aim, grown <= FLAT);
    Ok(report)
}

/// Milliseconds from the request until something is painted, without anything cached.
fn paint(browser: &Browser, url: &str) -> f64 {
    let page = browser.open(url, json!({}));
    page.until("performance.getEntriesByName('first-contentful-paint')[0]?.startTime").as_f64().unwrap_or(f64::NAN)
}

/// Milliseconds from the kernel's time of a kill until a page shows it.
fn kill(agent: &Agent, page: &Page) -> Result<f64> {
    let cgroup = Cgroup::new("page-kill");
    cgroup.limit(LIMIT);
    // tail looks for the last line of endless input, and fills its memory.
    let mut hog = cgroup.spawn(Command::new("tail").arg("/dev/zero").stdout(Stdio::null()).stderr(Stdio::null()));
    let status = hog.wait().context("wait for the victim")?;
    ensure!(status.signal() == Some(libc::SIGKILL), "the victim ended with {status}");
    let name = format!("({})", hog.id());
    let shown = page.until(&format!("document.body.innerText.includes('{name}') && Date.now()")).as_f64();
    let answer: Value = serde_json::from_str(&body(&agent.address, "/api/v1/incidents", ""))?;
    let incidents = answer["incidents"].as_array().context("incidents")?;
    let incident = incidents.iter().find(|incident| incident["title"].as_str().is_some_and(|it| it.contains(&name)));
    let time = incident.and_then(|incident| incident["time"].as_f64()).context("the incident of the kill")?;
    Ok(shown.context("a time")? - time / 1e6)
}

/// The share of a CPU that the agent uses meanwhile.
pub fn used(agent: &Agent, meanwhile: impl FnOnce()) -> f64 {
    let (begun, before) = (Instant::now(), cpu(agent.pid()));
    meanwhile();
    (cpu(agent.pid()) - before).as_secs_f64() / begun.elapsed().as_secs_f64()
}

/// As many clients as there are pages ask once a second each.
fn poll(address: &str, answered: &AtomicU64) {
    let end = AtomicBool::new(false);
    scope(|threads| {
        for number in 0..PAGES {
            let end = &end;
            threads.spawn(move || {
                // Pages are not opened at the same moment.
                sleep(Duration::from_secs(1).mul_f64(number as f64 / PAGES as f64));
                while !end.load(Ordering::Relaxed) {
                    let next = Instant::now() + Duration::from_secs(1);
                    let well = ask(address).is_ok_and(|answer| answer.starts_with(b"HTTP/1.1 200"));
                    answered.fetch_add(u64::from(well), Ordering::Relaxed);
                    sleep(next.saturating_duration_since(Instant::now()));
                }
            });
        }
        sleep(POLLED);
        end.store(true, Ordering::Relaxed);
    });
}

/// The answer to what a page asks for. The agent ends a connection after it.
pub fn ask(address: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /api/v1/report HTTP/1.1\r\nhost: localhost\r\naccept-encoding: gzip\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

/// What a page keeps after some minutes, and after as many more as it is left open.
fn left_open(browser: &Browser, url: &str) -> [Heap; 2] {
    let page = browser.open(url, json!({ "clock": true }));
    page.until_shown(&["live"]);
    page.pass(BEFORE_MINUTES * 60);
    let before = page.heap();
    page.pass(OPEN_MINUTES * 60);
    [before, page.heap()]
}
