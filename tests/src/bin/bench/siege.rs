//! The agent in 128 MiB under all attacks at once, for minutes: whether it lives, and what it loses of honest workloads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use collector_tests::attack::siege::{Siege, program};

use crate::report::Report;

const LIMIT: u64 = 128 << 20;
/// How long the answer to a liveness probe may take, in milliseconds.
const SOON: f64 = 50.0;

pub fn measure(minutes: usize) -> Result<Report> {
    let mib = |bytes: u64| bytes >> 20;
    let siege = Siege::lay(&program(), LIMIT, Duration::from_secs(60 * minutes as u64), |height| {
        println!("at most {} MiB so far, of that {} anonymous", mib(height.all), mib(height.anonymous));
    });
    let did = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let (done, height) = (&siege.done, siege.height);
    let mut report = Report::new(&["figure", "seen"]);
    let mut row = |name: &str, seen: String| report.row([name.to_owned(), seen]);
    row("memory limit, MiB", mib(LIMIT).to_string());
    row("memory at the height, MiB", format!("{} (sampled), {} (the kernel's peak)", mib(height.all), peak(&siege)));
    row(
        "of that anonymous, page cache, kernel, MiB",
        [height.anonymous, height.file, height.kernel].map(mib).map(|it| it.to_string()).join(", "),
    );
    row("OOM kills in the agent's cgroup", siege.own_kills.to_string());
    row("honest scrapes, of these refused", format!("{}, {}", siege.scrapes, siege.refused));
    row("honest series missing or standing still", siege.lost.len().to_string());
    row("honest OOM kills, of these reported", format!("{}, {}", siege.kills.0, siege.kills.1));
    let mut slow = 0.0_f64;
    for (name, times) in [("without the attack", &siege.alive[0]), ("under it", &siege.alive[1])] {
        let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let (median, slowest) = (times[times.len() / 2], times[times.len() - 1]);
        slow = slow.max(median);
        let name = format!("`headroom status --alive` {name}, ms");
        row(&name, format!("median {median:.1}, slowest {slowest:.1} of {}", times.len()));
    }
    report.note(format!(
        "Thrown at it, all at once, for {minutes} minutes: 2100 cgroups of a user with names of up to 245 bytes, no text, or what would control a terminal, with a process in each, and {} more that came and went; a tree of 150 cgroups; {} OOM kills in the user's cgroups; {} books of 16 MiB full of short names, a list of 4 MiB, a FIFO, a link{}; a library of 945 MB, 16 others, {} allocations; {} scrapes by 12 clients; {} connections that sent one byte or read nothing.",
        did(&done.cgroups),
        did(&done.kills),
        did(&done.books),
        if siege.has_dead_home { ", a home that does not answer" } else { "" },
        did(&done.allocations),
        did(&done.scrapes),
        did(&done.connections),
    ));
    siege.lost.iter().take(5).for_each(|lost| report.note(format!("Lost: {lost}.")));
    report.aim("it lives, and nothing in its cgroup is killed", siege.own_kills == 0);
    report
        .aim("no honest series is missing or stands still, in any scrape", siege.lost.is_empty() && siege.refused == 0);
    report.aim("every honest kill is reported", siege.kills.0 == siege.kills.1);
    report.aim(
        format!("`status --alive` says yes, within {SOON} ms in the median: {slow:.1} ms"),
        slow < SOON && siege.said_no == 0,
    );
    Ok(report)
}

fn peak(siege: &Siege) -> String {
    siege.peak.map_or_else(|| "not known".to_owned(), |bytes| (bytes >> 20).to_string())
}
