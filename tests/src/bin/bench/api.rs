//! Cost of the API's answers, by the number of workloads; of `headroom status` beside an agent; and of many who poll at once.

use std::process::Stdio;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use collector_core::api::read::Read;
use collector_core::api::window::{Query, USUAL};
use collector_tests::agent::{Agent, headroom};
use collector_tests::allocation;
use collector_tests::forest::Forest;

use crate::alert::Quantiles;
use crate::history::{Change, Host};
use crate::machine::Pinned;
use crate::page::{ask, used};
use crate::report::Report;
use crate::statistic::Summary;

const SIZES: [usize; 2] = [1_000, 10_000];
/// Ticks of a second until every workload has five minutes.
const TICKS: usize = 360;
/// Most milliseconds that the verb may take with as many workloads as the first of [`SIZES`].
const AIM_VERB_MS: f64 = 50.0;
const POLLERS: usize = 100;
/// How long they poll, once a second each.
const POLLED: Duration = Duration::from_secs(20);
/// The most of a CPU that they may cost.
const AIM_CPU: f64 = 0.2;

pub fn measure(rounds: usize) -> Result<Report> {
    let mut report = Report::new(&["answer", "workloads", "ms, median (quartiles)", "min", "allocations", "MB"]);
    {
        let _pinned = Pinned::new()?;
        for size in SIZES {
            answers(&mut report, size, rounds)?;
        }
    }
    live(&mut report, rounds)?;
    report.note("An answer is built from a view with five minutes of every workload (of 10000 one minute: `history.memory` leaves no more to each), of which a tenth changes at every tick, and written as JSON; it is compressed apart, and shared by all who ask in the same tick.");
    Ok(report)
}

fn answers(report: &mut Report, size: usize, rounds: usize) -> Result<()> {
    let mut host = Host::new(size)?;
    (0..TICKS).for_each(|_| _ = host.tick(1, Change::Some));
    let view = host.engine.view();
    let name = view.workloads.iter().last().context("there is no workload")?.name.to_string();
    let window = |seconds| Query { seconds, workload: Some(name.as_str().into()), series: None, points: None };
    let reads = [
        ("status", Read::Status),
        ("workloads", Read::Workloads),
        ("report", Read::Report),
        ("workload", Read::Workload(name.as_str().into())),
        ("history, 5 min of a workload", Read::History(window(USUAL))),
        ("history, 1 h of a workload", Read::History(window(3600))),
    ];
    for (what, read) in reads {
        let (mut bytes, mut allocations, mut times) = (0, 0, Vec::new());
        for _ in 0..rounds.max(3) {
            let (before, begun) = (allocation::count(), Instant::now());
            let answer = read.answer(view).map_err(|problem| anyhow::anyhow!("{what}: {problem}"))?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            (bytes, allocations) = (answer.len(), allocation::count() - before);
        }
        let times = Summary::of(times);
        report.row([
            what.to_owned(),
            size.to_string(),
            times.spread(2),
            format!("{:.2}", times.min),
            allocations.to_string(),
            format!("{:.2}", bytes as f64 / 1e6),
        ]);
    }
    Ok(())
}

/// The verb and the pollers, with an agent that watches as many cgroups as the first of [`SIZES`].
fn live(report: &mut Report, rounds: usize) -> Result<()> {
    let agent = Agent::start_unrecorded("[workload]\nmax = 3000\n[kernel]\nmeasure = \"0s\"\n");
    let mut forest = Forest::everywhere("api");
    (0..SIZES[0]).for_each(|number| _ = forest.make(format!("n{number}")));
    let last = format!("\"{}/n{}\"", forest.path, SIZES[0] - 1);
    agent.scrape_until("the last workload", |exposition| exposition.text.contains(&last));
    let mut times = Vec::new();
    for _ in 0..rounds.max(3) {
        let mut verb = headroom("status");
        let begun = Instant::now();
        let status = verb.args(["--listen", &agent.address]).stdout(Stdio::null()).status().context("run the verb")?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        ensure!(status.success(), "headroom status: {status}");
    }
    let times = Summary::of(times);
    let (median, size) = (times.median, SIZES[0]);
    report.row(["headroom status".to_owned(), size.to_string(), times.spread(1), format!("{:.1}", times.min)]);
    report.aim(
        format!("headroom status with {size} workloads takes at most {AIM_VERB_MS} ms: {median:.1}"),
        median <= AIM_VERB_MS,
    );

    let idle = used(&agent, || sleep(POLLED));
    let mut asked = Ok(Vec::new());
    let share = used(&agent, || asked = polled(&agent.address)) - idle;
    let asked = asked?;
    let (answers, refused) = (asked.len(), POLLERS * POLLED.as_secs() as usize - asked.len());
    let quantiles = Quantiles::of(asked);
    report.note(format!(
        "{POLLERS} who ask for the report once a second at the same moment from one address: {answers} answers, {refused} told that they are too many, p50 {:.1} ms, p99 {:.1} ms, slowest {:.1} ms, for {:.1} % of a CPU more than without.",
        quantiles.p50,
        quantiles.p99,
        quantiles.most,
        share * 100.0,
    ));
    report.aim(
        format!("{POLLERS} pollers cost at most {:.0} % of a CPU: {:.1} %", AIM_CPU * 100.0, share * 100.0),
        share <= AIM_CPU,
    );
    Ok(())
}

/// Milliseconds of every answer that was not refused.
fn polled(address: &str) -> Result<Vec<f64>> {
    let (begun, seconds) = (Instant::now(), POLLED.as_secs() as u32);
    let poll = || {
        let mut times = Vec::new();
        for second in 0..seconds {
            sleep((begun + Duration::from_secs(1) * second).saturating_duration_since(Instant::now()));
            let asked = Instant::now();
            let answer = ask(address).context("ask for the report")?;
            // One address may have no more than 96 that wait: the others are told so at once.
            if answer.starts_with(b"HTTP/1.1 503") {
                continue;
            }
            let head = String::from_utf8_lossy(&answer[..answer.len().min(99)]);
            ensure!(answer.starts_with(b"HTTP/1.1 200"), "{head}");
            times.push(asked.elapsed().as_secs_f64() * 1e3);
        }
        Ok(times)
    };
    scope(|threads| {
        let all: Vec<_> = (0..POLLERS).map(|_| threads.spawn(poll)).collect();
        let mut times = Vec::new();
        for one in all {
            times.extend(one.join().map_err(|_| anyhow::anyhow!("a poller panicked"))??);
        }
        Ok(times)
    })
}
