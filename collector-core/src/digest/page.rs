//! What a report says, as blocks.

use super::block::Block;
use super::{Count, Digest, Figures, Spread};
use crate::amount::{bytes, percent, seconds};
use crate::incident::page::moment;

/// How a number is written.
type Show = fn(f64) -> String;

/// At most this many workloads, incidents and rules are listed.
const WORKLOADS: usize = 40;
const INCIDENTS: usize = 50;

/// The report of one period.
pub fn page(digest: &Digest, host: &str) -> Vec<Block> {
    let mut blocks = vec![
        Block::Title(format!("{host}: {}", period(digest))),
        Block::Paragraph(in_short(digest)),
        Block::Head("Host".to_owned()),
    ];
    host_of(&mut blocks, digest);
    workloads(&mut blocks, digest);
    incidents(&mut blocks, digest);
    alerts(&mut blocks, digest);
    blocks
}

/// Two periods beside each other.
pub fn compared(before: &Digest, after: &Digest, host: &str) -> Vec<Block> {
    let mut blocks = vec![
        Block::Title(format!("{host}: before and after")),
        Block::Paragraph(format!("Before: {}. {}", period(before), in_short(before))),
        Block::Paragraph(format!("After: {}. {}", period(after), in_short(after))),
        Block::Head("Host".to_owned()),
    ];
    let mut rows = vec![["", "before", "after", "change"].map(str::to_owned).to_vec()];
    type Read = fn(&Digest) -> Option<f64>;
    let numbers: [(&str, Read, Show); 9] = [
        ("memory, mean", |it| it.host.memory_bytes.mean, amount),
        ("memory, peak", |it| it.host.memory_bytes.max, amount),
        ("CPUs in use, mean", |it| it.host.cpus.mean, cpus),
        ("GPU memory, peak", |it| it.host.vram_bytes.max, amount),
        ("waiting for memory", |it| it.host.memory_waiting_seconds.map(|time| share(it, time)), percent),
        ("waiting for IO", |it| it.host.io_waiting_seconds.map(|time| share(it, time)), percent),
        ("reclaim stalls, a day", |it| it.host.stall_seconds.map(|time| a_day(it, time)), seconds),
        ("OOM kills, a day", |it| known(it).then(|| a_day(it, it.kills as f64)), count),
        ("alerts, a day", |it| known(it).then(|| a_day(it, sum(&it.alerts) as f64)), count),
    ];
    for (what, read, show) in numbers {
        let (one, other) = (read(before), read(after));
        if one.is_some() || other.is_some() {
            rows.push(vec![what.to_owned(), shown(one, show), shown(other, show), change(one, other)]);
        }
    }
    blocks.push(Block::Table { rows, lines: Vec::new() });
    blocks.push(Block::Head("Workloads".to_owned()));
    let head = ["WORKLOAD", "MEAN BEFORE", "MEAN AFTER", "PEAK BEFORE", "PEAK AFTER", "CHANGE"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let find =
        |digest: &Digest, name: &Option<String>| digest.workloads.iter().find(|it| it.workload == *name).cloned();
    let gone = before.workloads.iter().filter(|it| find(after, &it.workload).is_none());
    for figures in after.workloads.iter().chain(gone).take(WORKLOADS) {
        let of = |digest| find(digest, &figures.workload).map_or(Spread::default(), |it: Figures| it.memory_bytes);
        let (one, other) = (of(before), of(after));
        rows.push(vec![
            figures.workload.clone().unwrap_or_default(),
            shown(one.mean, amount),
            shown(other.mean, amount),
            shown(one.max, amount),
            shown(other.max, amount),
            change(one.max, other.max),
        ]);
    }
    blocks.push(Block::Table { rows, lines: Vec::new() });
    blocks
}

fn period(digest: &Digest) -> String {
    let minute = |time| moment(time).get(..16).unwrap_or_default().to_owned();
    format!("{} to {} UTC", minute(digest.from), minute(digest.to))
}

fn in_short(digest: &Digest) -> String {
    if digest.is_empty() {
        return "Nothing is recorded of this period: the agent did not run, or kept no journal and no history."
            .to_owned();
    }
    let length = digest.to.saturating_sub(digest.from) as f64 / 1e9;
    let watched = match digest.known_seconds as f64 / length {
        share if share >= 0.99 => "The host was watched all the time".to_owned(),
        _ if digest.known_seconds == 0 => "There is no history of the host in this period".to_owned(),
        share => format!("The host was watched for {} of the period", percent(share)),
    };
    let plural = |count: u64, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
    let (incidents, fired) = (digest.incidents.len() as u64, sum(&digest.alerts));
    format!(
        "{watched}: {}, {}, {}.",
        plural(incidents, "incident"),
        plural(digest.kills, "OOM kill"),
        plural(fired, "alert")
    )
}

fn host_of(blocks: &mut Vec<Block>, digest: &Digest) {
    let host = &digest.host;
    let mut rows = vec![["", "mean", "peak"].map(str::to_owned).to_vec()];
    let spreads = [
        ("memory that is not available", host.memory_bytes, amount as Show),
        ("CPUs in use", host.cpus, cpus),
        ("GPU memory", host.vram_bytes, amount),
    ];
    for (what, spread, show) in spreads {
        if spread.max.is_some() {
            rows.push(vec![what.to_owned(), shown(spread.mean, show), shown(spread.max, show)]);
        }
    }
    let waits = [
        ("some task waited for memory", host.memory_waiting_seconds),
        ("some task waited for IO", host.io_waiting_seconds),
    ];
    for (what, time) in waits {
        if let Some(time) = time {
            rows.push(vec![what.to_owned(), percent(share(digest, time)), seconds(time)]);
        }
    }
    if let Some(time) = host.stall_seconds {
        rows.push(vec!["reclaim stalls, summed over tasks".to_owned(), "\u{2013}".to_owned(), seconds(time)]);
    }
    match rows.len() {
        1 => blocks.push(Block::Paragraph("Nothing is known of the host.".to_owned())),
        _ => blocks.push(Block::Table { rows, lines: Vec::new() }),
    }
    if let Some(most) = host.memory_bytes.max {
        let (title, most) = ("Memory that is not available, most in each quarter of an hour".to_owned(), amount(most));
        blocks.push(Block::Chart { title, most, line: host.memory.clone() });
    }
    if host.waiting.iter().any(|(_, value)| value.is_some_and(|value| value >= 0.01)) {
        let most = host.waiting.iter().filter_map(|(_, value)| *value).fold(0.0, f64::max);
        let title =
            "Share of a second in which some task waited for memory, most in each quarter of an hour".to_owned();
        blocks.push(Block::Chart { title, most: percent(most), line: host.waiting.clone() });
    }
}

fn workloads(blocks: &mut Vec<Block>, digest: &Digest) {
    blocks.push(Block::Head("Workloads".to_owned()));
    if digest.workloads.is_empty() {
        return blocks.push(Block::Paragraph("Nothing is known of workloads.".to_owned()));
    }
    let head = ["WORKLOAD", "PEAK", "LIMIT NOW", "USED", "MEAN", "CPUS", "WAITED", "STALLS", "GPU PEAK"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let mut lines = Vec::new();
    for figures in digest.workloads.iter().take(WORKLOADS) {
        let limit = figures.memory_limit_bytes.map(|limit| limit as f64);
        let used = figures.memory_bytes.max.zip(limit).map(|(peak, limit)| peak / limit);
        rows.push(vec![
            figures.workload.clone().unwrap_or_default(),
            shown(figures.memory_bytes.max, amount),
            shown(limit, amount),
            shown(used, percent),
            shown(figures.memory_bytes.mean, amount),
            shown(figures.cpus.mean, cpus),
            shown(figures.memory_waiting_seconds, seconds),
            shown(figures.stall_seconds, seconds),
            shown(figures.vram_bytes.max, amount),
        ]);
        lines.push(figures.memory.clone());
    }
    blocks.push(Block::Table { rows, lines });
    more(blocks, digest.workloads.len(), WORKLOADS, "workloads with lower peaks");
}

fn incidents(blocks: &mut Vec<Block>, digest: &Digest) {
    blocks.push(Block::Head("Incidents".to_owned()));
    if digest.incidents.is_empty() {
        return blocks.push(Block::Paragraph("There was none.".to_owned()));
    }
    blocks.push(table(["CAUSE", "KIND", "COUNT"], &digest.causes));
    let newest = digest.incidents.iter().rev().take(INCIDENTS);
    let mut rows = vec![["INCIDENT", "WHAT", "WHY"].map(str::to_owned).to_vec()];
    rows.extend(newest.map(|event| vec![event.id.clone(), event.title.clone(), event.cause.clone()]));
    blocks.push(Block::Table { rows, lines: Vec::new() });
    more(blocks, digest.incidents.len(), INCIDENTS, "older incidents");
}

fn alerts(blocks: &mut Vec<Block>, digest: &Digest) {
    blocks.push(Block::Head("Alerts".to_owned()));
    match digest.alerts.is_empty() {
        true => blocks.push(Block::Paragraph("None fired.".to_owned())),
        false => blocks.push(table(["ALERT", "SEVERITY", "FIRED"], &digest.alerts)),
    }
}

fn table(head: [&str; 3], counts: &[Count]) -> Block {
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(counts.iter().map(|it| vec![it.name.clone(), it.of.to_owned(), it.count.to_string()]));
    Block::Table { rows, lines: Vec::new() }
}

fn more(blocks: &mut Vec<Block>, all: usize, shown: usize, what: &str) {
    if let Some(rest) = all.checked_sub(shown).filter(|rest| *rest > 0) {
        blocks.push(Block::Paragraph(format!("{rest} {what} are not listed.")));
    }
}

fn shown(value: Option<f64>, show: Show) -> String {
    value.map_or("\u{2013}".to_owned(), show)
}

fn change(before: Option<f64>, after: Option<f64>) -> String {
    match before.zip(after) {
        Some((before, after)) if before > 0.0 => format!("{:+.0} %", (after / before - 1.0) * 100.0),
        _ => "\u{2013}".to_owned(),
    }
}

fn known(digest: &Digest) -> bool {
    digest.known_seconds > 0
}

/// A time as a share of the time for which the host was watched.
fn share(digest: &Digest, time: f64) -> f64 {
    time / (digest.known_seconds as f64).max(1.0)
}

fn a_day(digest: &Digest, number: f64) -> f64 {
    share(digest, number) * 86400.0
}

fn sum(counts: &[Count]) -> u64 {
    counts.iter().map(|count| count.count).sum()
}

fn amount(value: f64) -> String {
    bytes(value as u64)
}

fn cpus(value: f64) -> String {
    format!("{value:.2}")
}

fn count(value: f64) -> String {
    format!("{value:.1}")
}
