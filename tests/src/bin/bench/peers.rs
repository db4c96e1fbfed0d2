//! Compares the agent with others that are installed: what each costs and sees, for the same work in the same run.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use collector_tests::cgroup::Cgroup;
use collector_tests::loopback::Loop;
use collector_tests::scratch::Scratch;

use crate::block;
use crate::fault;
use crate::peer::{PEERS, Peer, Reporting, Running};
use crate::report::Report;
use crate::statistic::{alternate, ratio};

/// How long each is measured while idle.
const WATCH: Duration = Duration::from_secs(10);
/// Number of scrapes that are averaged.
const SCRAPES: u32 = 20;
/// Direct reads that each should see.
const READS: u64 = 2000;
const BLOCK: u64 = 4096;
/// Time for an agent to report what happened: some read only every five seconds.
const SETTLE: Duration = Duration::from_millis(6100);

/// Measures each installed agent, this one first.
pub fn measure(rounds: usize) -> Result<Report> {
    let head = [
        "agent",
        "CPU idle, ms/s",
        "resident, MiB",
        "CPU a scrape, ms",
        "KB a scrape",
        "page fault slower by",
        "direct reads, with / without",
        "reports of one OOM kill",
        "reports of 2000 reads",
    ];
    let mut report = Report::new(&head);
    let folder = Scratch::in_memory();
    let device = Loop::new(&folder, 256 << 20).map_err(anyhow::Error::msg)?;
    for peer in &PEERS {
        let Some(version) = peer.version() else {
            report.note(format!("{} is not installed ({}).", peer.name, peer.install));
            continue;
        };
        let name = format!("{} {version}", peer.name);
        match row(peer, &device, rounds) {
            Ok(cells) => report.row([name].into_iter().chain(cells)),
            Err(why) => report.note(format!("{name} does not run here: {why:#}")),
        }
    }
    report.note(format!(
        "Idle: {} s after the first ten. Scrapes: the mean of {SCRAPES}, uncompressed. Slower: medians (quartiles) of {rounds} pairs, \
         the agent running and not.",
        WATCH.as_secs()
    ));
    report.note("The kill is of one process in a cgroup of its own with a limit of 16 MiB; the reads are of 4 KiB, of a loop device over memory.");
    Ok(report)
}

fn row(peer: &'static Peer, device: &Loop, rounds: usize) -> Result<[String; 8]> {
    let running = peer.start()?;
    // Work at the start is done by then.
    sleep(Duration::from_secs(11));
    let before = running.cpu_ns()?;
    sleep(WATCH);
    let idle = (running.cpu_ns()? - before) as f64 / 1e6 / WATCH.as_secs_f64();
    let resident = running.resident()?;
    let (cpu, bytes) = match peer.reporting {
        Reporting::Scraped => scrapes(&running)?,
        _ => ("–".to_owned(), "–".to_owned()),
    };
    let (kill, reads) = facts(peer, running, device)?;

    let mut rates = Vec::new();
    let [without, with] = alternate::<2>(rounds, |which| {
        let _running = (which == 1).then(|| peer.start()).transpose()?;
        rates.push((which, block::iops(&device.device(), 1)?));
        fault::quickest()
    })?;
    let slower = ratio(&with, &without);
    let percent = |ratio: f64| 100.0 * (ratio - 1.0);
    let (low, high) = slower.quartiles;
    let slower = format!("{:+.1} % ({:+.1} … {:+.1})", percent(slower.median), percent(low), percent(high));
    let of = |wanted: usize| -> Vec<f64> {
        rates.iter().filter(|(which, _)| *which == wanted).map(|(_, rate)| *rate).collect()
    };
    let rate = ratio(&of(1), &of(0)).spread(3);
    Ok([
        format!("{idle:.2}"),
        format!("{:.1}", resident as f64 / f64::from(1 << 20)),
        cpu,
        bytes,
        slower,
        rate,
        kill,
        reads,
    ])
}

fn scrapes(running: &Running) -> Result<(String, String)> {
    let before = running.cpu_ns()?;
    let mut bytes = 0;
    for _ in 0..SCRAPES {
        bytes += running.read().context("it no longer answers")?.len();
        // Wait for the next second, so that a cached answer does not count.
        sleep(Duration::from_millis(1050));
    }
    let ms = (running.cpu_ns()? - before) as f64 / 1e6 / f64::from(SCRAPES);
    Ok((format!("{ms:.2}"), format!("{:.0}", bytes as f64 / f64::from(SCRAPES) / 1e3)))
}

/// What it reports of a kill and of reads that happened while it ran.
fn facts(peer: &Peer, running: Running, device: &Loop) -> Result<(String, String)> {
    let before = running.read().unwrap_or_default();
    let cgroup = Cgroup::new("peers");
    cgroup.limit(16 << 20);
    let mut hog = cgroup.spawn(Command::new("tail").arg("/dev/zero").stdout(Stdio::null()).stderr(Stdio::null()));
    let pid = hog.id();
    let status = hog.wait().context("wait for the victim")?;
    ensure!(status.signal() == Some(libc::SIGKILL), "the victim ended with {status}");
    let reads = device.stats().reads;
    block::read(&device.device(), READS, BLOCK)?;
    let reads = device.stats().reads - reads;
    sleep(SETTLE);
    let after = running.read().unwrap_or_default();
    let printed = if peer.reporting == Reporting::Printed { running.end()? } else { String::new() };
    Ok((kill(&before, &after, &printed, &cgroup.path, pid), seen(&before, &after, &printed, &device.name, reads)))
}

/// What it reports of the kill: that there was one, and of which process or cgroup.
fn kill(before: &str, after: &str, printed: &str, path: &str, pid: u32) -> String {
    let grown = |name: &str| sum(after, name, "") - sum(before, name, "");
    let names = ["headroom_oom_kills_total", "node_vmstat_oom_kill", "system_vm_oom_kill"];
    let counted = names.into_iter().find(|name| grown(name) >= 1.0);
    let named = lines(after, "headroom_oom_kills_total").any(|line| line.contains(path));
    let printed = printed.contains("oom") || printed.contains(&pid.to_string());
    match (counted, named, printed) {
        (Some(_), true, _) => "that, and whose",
        (Some(_), false, _) => "that there was one",
        (None, _, true) => "a line",
        (None, _, false) => "nothing",
    }
    .to_owned()
}

/// How many of the reads it counted for the device.
fn seen(before: &str, after: &str, printed: &str, device: &str, reads: u64) -> String {
    let count = |name: &str, label: &str| sum(after, name, label) - sum(before, name, label);
    let grown = |name: &str, label: &str| Some(count(name, label)).filter(|grown| *grown > 0.0);
    let names = [
        ("headroom_block_io_service_seconds_count", "device"),
        ("node_disk_reads_completed_total", "device"),
        ("disk_read_completed", "disk"),
    ];
    let own = names.into_iter().find_map(|(name, key)| grown(name, &format!("{key}=\"{device}\"")));
    let all = grown("blockio_operations", "op=\"read\"");
    match (own, all, histogram(printed, device)) {
        (Some(own), _, _) => format!("{own:.0} of {reads}"),
        (None, Some(all), _) => format!("{all:.0}, for all devices together"),
        (None, None, Some(count)) => format!("{count} of {reads}, as a histogram"),
        (None, None, None) => "nothing".to_owned(),
    }
}

/// Sum of what biolatency prints for a disk: `  16 -> 31   : 7   |***  |` below `disk = loop0`.
fn histogram(printed: &str, device: &str) -> Option<u64> {
    let (_, rest) = printed.split_once(&format!("disk = {device}"))?;
    let own = rest.split("disk = ").next()?;
    let count = |line: &str| line.split(':').nth(1)?.split('|').next()?.trim().parse::<u64>().ok();
    Some(own.lines().filter(|line| line.contains("->")).filter_map(count).sum())
}

/// Lines of a metric.
fn lines<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter(move |line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
}

/// Sum of a metric's series that have this label. A time stamp may follow the value.
fn sum(text: &str, name: &str, label: &str) -> f64 {
    let value = |line: &str| line.rsplit('}').next()?.split(' ').nth(1)?.parse::<f64>().ok();
    lines(text, name).filter(|line| line.contains(label)).filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_of_one_disk_is_summed() {
        let printed = "disk = vda\n  usecs : count\n 0 -> 1 : 5 |*|\ndisk = loop0\n usecs : count\n 0 -> 1 : 7 |*|\n 2 -> 3 : 2 | |\n";
        assert_eq!(
            (histogram(printed, "loop0"), histogram(printed, "vda"), histogram(printed, "sda")),
            (Some(9), Some(5), None)
        );
    }

    #[test]
    fn series_are_summed_by_their_labels() {
        let text = "a{device=\"x\"} 1\na{device=\"y\"} 2\nab{device=\"x\"} 4\na 8\n";
        assert_eq!((sum(text, "a", ""), sum(text, "a", "device=\"x\"")), (11.0, 1.0));
        let timed = "a{op=\"read\", unit=\"{}\"} 1 1795651645001\na{op=\"write\", unit=\"{}\"} 2 1795651645001\na 4 1795651645001\n";
        assert_eq!((sum(timed, "a", ""), sum(timed, "a", "op=\"read\"")), (7.0, 1.0));
    }
}
