//! What advice costs on a host with a thousand workloads: judging it once a minute, and reading the last days once a quarter of an hour,
//! beside what the built agent uses in all.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector::agent::past::Reading as Days;
use collector::sink::history::file::{Limits, open};
use collector::sink::history::write::{Rows, append};
use collector::sink::journal;
use collector_core::advise::{Given, Judged};
use collector_core::past::{DAY_NS, Past, midnight};
use collector_core::series::Series;
use collector_core::tier::{Code, Entry, KEPT, Quarter, ROUNDS, Tier, kept};
use collector_tests::agent::Agent;
use collector_tests::scratch::scratch;

use crate::history::{Change, Host};
use crate::machine::cpu_ns;
use crate::page::used;
use crate::report::Report;
use crate::scrape::NOW;
use crate::statistic::Summary;
use crate::workloads;

const WORKLOADS: usize = 1_000;
/// Days of which something is on the disk, and quarters of an hour of each.
const DAYS: u64 = 28;
const QUARTERS: u64 = 4;
/// How long the built agent runs.
const RUNS: Duration = Duration::from_secs(30);
const AIM: f64 = 0.02;

pub fn measure(rounds: usize) -> Result<Report> {
    let folder = scratch();
    fill(&folder)?;
    let limits = journal::Limits { max_age: Duration::from_secs(30 * 86_400), max_bytes: 64 << 20, readers: None };
    let (mut past, mut first, mut next) = (Past::default(), Vec::new(), Vec::new());
    let mut bytes = [0, 0];
    for _ in 0..rounds.div_ceil(10) {
        past = Past::default();
        let mut days = Days::new(folder.to_path_buf(), limits, true);
        for (index, times) in [&mut first, &mut next].into_iter().enumerate() {
            let before = cpu_ns();
            let parts = days.read(NOW + index as u64 * Tier::QuarterHour.step())?;
            times.push((cpu_ns() - before) as f64 / 1e6);
            bytes[index] = parts.iter().map(|part| serde_json::to_string(part).map_or(0, |line| line.len())).sum();
            parts.iter().for_each(|part| past.apply(part));
        }
    }
    let mut host = Host::new(WORKLOADS)?;
    (0..600).for_each(|_| _ = host.tick(1, Change::Some));
    let mut judged = Vec::new();
    for _ in 0..rounds.max(10) {
        let before = cpu_ns();
        let found = Judged::of(&Given { view: host.engine.view(), past: &past });
        judged.push((cpu_ns() - before) as f64 / 1e6);
        std::hint::black_box(found);
    }
    let agent = workloads::beside(WORKLOADS, || {
        let mut agent = Agent::spawn_unrecorded("", |_| {});
        agent.await_ready();
        sleep(Duration::from_secs(15));
        Ok(used(&agent, || sleep(RUNS)))
    })
    .context("measure the agent")?;
    let [first, next, judged] = [first, next, judged].map(Summary::of);
    // The whole once a day, today and yesterday 96 times; a minute has 60 seconds.
    let reading = (first.median / 86_400.0 + next.median / 900.0) / 1e3;
    let judging = judged.median / 60.0 / 1e3;
    let share = (reading + judging) / agent;
    let mut report = Report::new(&["what", "ms, median (quartiles)", "how often", "of the agent's CPU time"]);
    let mut row = |what: &str, times: &Summary, often: &str, seconds: f64| {
        let part = times.median / 1e3 / seconds / agent;
        report.row([what.to_owned(), times.spread(1), often.to_owned(), format!("{:.2} %", 100.0 * part)]);
    };
    row("read the days that are over", &first, "once a day", 86_400.0);
    row("read yesterday and today", &next, "every 15 min", 900.0);
    row("judge all rules", &judged, "every minute", 60.0);
    report.note(format!(
        "{WORKLOADS} workloads, each with {QUARTERS} quarters of an hour of {DAYS} days on the disk. The built agent used {:.2} % of a CPU over as many idle cgroups.",
        100.0 * agent
    ));
    report.note(format!(
        "In a recording: {} KiB for the first reading, {} KiB for each of the next.",
        bytes[0] >> 10,
        bytes[1] >> 10
    ));
    report.aim(
        format!(
            "with {WORKLOADS} workloads advice takes at most {:.0} % of the agent's CPU time: {:.2} %",
            100.0 * AIM,
            100.0 * share
        ),
        share <= AIM,
    );
    Ok(report)
}

/// A history of all days.
fn fill(folder: &std::path::Path) -> Result<()> {
    let limits = Limits {
        max_age: Duration::from_secs(90 * 86_400),
        max_bytes: 1 << 30,
        workloads: 20_000,
        workloads_of_owner: 2000,
    };
    let (mut connection, _) = open(folder, limits.max_bytes)?;
    let mut rows = Rows::default();
    for day in (0..DAYS).rev() {
        for quarter in 0..QUARTERS {
            let time = midnight(NOW) - day * DAY_NS + quarter * Tier::QuarterHour.step();
            let entry = |number: usize| {
                let series = [Series::Memory, Series::Anon, Series::Cpu, Series::MemoryWaiting, Series::MemoryLimit];
                let mut row = [[Code::UNKNOWN; 3]; KEPT.len()];
                for (index, series) in series.into_iter().enumerate() {
                    let value =
                        ((20 + number as u64 + 7 * quarter + day) << 20) as f32 / [1.0, 2.0, 1e8, 1e9, 0.5][index];
                    if let Some(kept) = kept(series) {
                        row[kept] = ROUNDS.map(|round| Code::of(series, value, round));
                    }
                }
                let workload = (number > 0).then(|| format!("kubepods/burstable/pod{number:04}/main").into());
                Entry { workload, owner: None, seconds: 900, row }
            };
            let entries = (0..=WORKLOADS).map(entry).collect();
            append(
                &mut connection,
                &Quarter { time, entries, cards: Vec::new(), counts: Vec::new() },
                &mut rows,
                &limits,
            )?;
        }
    }
    Ok(())
}
