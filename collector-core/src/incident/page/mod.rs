//! Renders an incident as a page of text. Of the terminal it knows only the width and whether to colour.

mod chart;
mod latency;
mod leak;
mod sentence;
mod slow;
pub mod spark;
pub mod text;

use std::time::{Duration, UNIX_EPOCH};

use super::{Consumer, Evidence, Incident, Kind};
use crate::amount::{bytes, percent, seconds, watts};
use crate::series::Series;
use sentence::{change_text, figures_text, host_text, limit_text, parts_text, victim_text};
use text::{Paint, Text};

/// At most this many changes are shown, the first.
const CHANGES: usize = 10;
/// At most this many victims are shown, the first.
const VICTIMS: usize = 8;

/// The page for `width` columns, which is clamped to 40–120. `checks`: what to check next, and what each shows.
pub fn page(incident: &Incident, checks: &[[String; 2]], width: usize, colour: bool) -> String {
    let mut page = Text::new(width, colour);
    let evidence = &incident.evidence;
    page.line(Paint::Bold, &incident.title);
    let state = if incident.complete { "" } else { ", not complete yet" };
    page.line(
        Paint::Dim,
        &format!("{} · {} · incident {}{state}", moment(incident.time), kind(incident.kind), incident.id),
    );
    page.head("Why");
    let known = if incident.cause.rule == super::cause::NOT_KNOWN { Paint::Plain } else { Paint::Red };
    page.paragraph(known, &incident.cause.sentence);
    page.head("Next");
    page.paragraph(Paint::Plain, &incident.cause.next);
    if !evidence.kills.is_empty() || evidence.killed > 0 {
        killed(&mut page, evidence);
    }
    if let Some(limit) = &evidence.limit {
        page.head("Limit");
        page.paragraph(Paint::Plain, &limit_text(limit));
    } else if !evidence.candidates.is_empty() {
        page.head("Limits of which one was hit");
        evidence.candidates.iter().for_each(|limit| page.paragraph(Paint::Plain, &limit_text(limit)));
    }
    if let Some(gpu) = &evidence.gpu {
        lost(&mut page, gpu);
    }
    if let Some(slowdown) = &evidence.latency {
        latency::slower(&mut page, slowdown);
    }
    if let Some(starved) = &evidence.starved {
        slow::starved(&mut page, starved);
    }
    if let Some(found) = &evidence.leak {
        leak::rises(&mut page, found);
    }
    if let Some(found) = &evidence.slow {
        slow::changed(&mut page, found);
    }
    if let Some(storm) = &evidence.storm {
        let time =
            |time: Option<f64>, who: &str| time.map(|time| format!("{who} of the host waited for {}", seconds(time)));
        let texts = [time(storm.waited_seconds, "at least one task"), time(storm.stalled_seconds, "all tasks")];
        let known: Vec<String> = texts.into_iter().flatten().collect();
        if !known.is_empty() {
            page.head("Pressure");
            page.paragraph(Paint::Plain, &format!("{}, in the last {}", known.join(", "), span(&evidence.history.ago)));
        }
    }
    if let Some(figures) = &evidence.workload {
        page.head(&format!("Workload {}", figures.workload));
        page.paragraph(Paint::Plain, &figures_text(figures, incident.time));
        let after = evidence.after.as_ref().and_then(|after| parts_text(after, incident.time));
        if let Some(after) = after {
            page.paragraph(Paint::Plain, &format!("read after the kill: {after}"));
        }
    }
    let limited = evidence.limit.as_ref().and_then(|limit| limit.workload.as_deref()).unwrap_or("the limit");
    consumers(&mut page, &format!("Largest workloads below {limited}"), &evidence.within);
    let most = match incident.kind {
        Kind::MemoryPressure | Kind::IoPressure => "Workloads that waited most on this host",
        Kind::Oom | Kind::GpuLost | Kind::Killed | Kind::Latency | Kind::GpuStarved | Kind::Leak => {
            "Largest workloads on this host"
        }
    };
    consumers(&mut page, most, &evidence.consumers);
    if evidence.host.total_bytes.is_some() {
        page.head("Host");
        page.paragraph(Paint::Plain, &host_text(evidence));
    }
    let owner = evidence.workload.as_ref().map_or("the workload", |figures| &figures.workload);
    let history = &evidence.history;
    for (name, lines) in [(owner, &history.workload), (limited, &history.limited), ("the host", &history.host)] {
        if !lines.is_empty() {
            page.head(&format!("Last {} of {name}", span(&history.ago)));
            chart::lines(&mut page, lines);
        }
    }
    if !history.last.is_empty() {
        let line: Vec<_> = history.last.iter().map(|(_, bytes)| Some(*bytes as f64)).collect();
        page.head(&format!("Last second of {owner}"));
        chart::line(&mut page, Series::Memory.label(), Series::Memory, &line);
    }
    changes(&mut page, incident);
    if !checks.is_empty() {
        page.head("How to check");
        page.checks(checks);
    }
    page.finish()
}

fn killed(page: &mut Text, evidence: &Evidence) {
    page.head(&match evidence.killed {
        0 | 1 => "Killed".to_owned(),
        several => format!("Killed: {several} processes"),
    });
    for victim in evidence.kills.iter().take(VICTIMS) {
        page.paragraph(Paint::Plain, &victim_text(victim));
        for held in &victim.gpus {
            let known = |bytes_held: Option<u64>| bytes_held.map_or("an unknown amount".to_owned(), bytes);
            let of = held.workload_bytes.map_or(String::new(), |all| format!(", of {} of its workload", bytes(all)));
            page.paragraph(
                Paint::Plain,
                &format!("  held memory of GPU {}: {}{of}", held.gpu, known(held.process_bytes)),
            );
        }
    }
    let rest = evidence.killed.saturating_sub(evidence.kills.len().min(VICTIMS) as u64);
    if evidence.kills.is_empty() {
        page.paragraph(Paint::Plain, "which is not known: only the kernel's count shows it");
    } else if rest > 0 {
        page.paragraph(Paint::Dim, &format!("and {rest} more"));
    }
}

fn consumers(page: &mut Text, head: &str, consumers: &[Consumer]) {
    if consumers.is_empty() {
        return;
    }
    page.head(head);
    let signed = |growth: i64| format!("{}{}", if growth < 0 { "-" } else { "+" }, bytes(growth.unsigned_abs()));
    type Column = (&'static str, fn(&Consumer) -> Option<String>);
    let columns: [Column; 8] = [
        ("MEMORY", |it| it.memory_bytes.map(bytes)),
        ("LIMIT", |it| it.limit_bytes.map(bytes)),
        ("SWAP", |it| it.swap_bytes.filter(|swap| *swap > 0).map(bytes)),
        ("VRAM", |it| it.vram_bytes.map(bytes)),
        ("PINNED", |it| it.pinned_bytes.filter(|pinned| *pinned > 0).map(bytes)),
        ("WAITED", |it| it.waiting_seconds.filter(|waited| *waited > 0.0).map(seconds)),
        ("STALLS", |it| it.stall_seconds.filter(|stalls| *stalls > 0.0).map(seconds)),
        ("IO", |it| it.io_bytes.filter(|io| *io > 0).map(bytes)),
    ];
    let mut table: Vec<Vec<String>> = vec![Vec::new(); consumers.len() + 1];
    let known = |cell: Option<String>| cell.unwrap_or_else(|| "–".to_owned());
    let mut put = |name: &str, cells: Vec<Option<String>>| {
        if cells.iter().any(Option::is_some) {
            table[0].push(name.to_owned());
            table[1..].iter_mut().zip(cells).for_each(|(row, cell)| row.push(known(cell)));
        }
    };
    put("WORKLOAD", consumers.iter().map(|it| Some(it.workload.clone())).collect());
    put("MEMORY", consumers.iter().map(columns[0].1).collect());
    put("GROWTH", consumers.iter().map(|it| it.growth_bytes.map(signed)).collect());
    for (name, of) in &columns[1..] {
        put(name, consumers.iter().map(of).collect());
    }
    let lines: Vec<Vec<Option<f64>>> =
        consumers.iter().map(|it| it.memory.iter().map(|value| value.map(|value| value as f64)).collect()).collect();
    page.table(&table, &lines);
}

fn lost(page: &mut Text, gpu: &super::LostGpu) {
    page.head(&format!("GPU {}", gpu.gpu));
    let mut text = format!("{}, {}, driver {}", gpu.model, gpu.uuid, gpu.driver);
    let last = [
        gpu.temperature.map(|degrees| format!("{degrees} °C")),
        gpu.power.map(|drawn| watts(drawn, None)),
        gpu.ecc_uncorrected.map(|errors| format!("{errors} uncorrected memory errors")),
    ];
    let last: Vec<String> = last.into_iter().flatten().collect();
    if !last.is_empty() {
        text += &format!("; last {}", last.join(", "));
    }
    page.paragraph(Paint::Plain, &text);
    page.paragraph(Paint::Plain, &format!("{} lost in that second, {} left", gpu.lost, gpu.left));
    if !gpu.xids.is_empty() {
        let codes: Vec<String> = gpu.xids.iter().map(u64::to_string).collect();
        page.paragraph(Paint::Plain, &format!("reported XID {}", codes.join(", ")));
    }
    for holder in &gpu.holders {
        let held = holder.bytes.map_or("an unknown amount".to_owned(), bytes);
        page.paragraph(Paint::Plain, &format!("{} held {held} of its memory", holder.workload));
    }
    if let Some(error) = &gpu.error {
        page.paragraph(Paint::Plain, &format!("reading GPUs fails: {error}"));
    }
}

fn changes(page: &mut Text, incident: &Incident) {
    let changes = &incident.evidence.changes;
    if changes.is_empty() {
        return;
    }
    page.head("Recent changes");
    // Those that concern the workload come first.
    for change in changes.iter().take(CHANGES) {
        page.paragraph(Paint::Plain, &change_text(change, incident.time));
    }
}

/// A value of a series with its unit.
fn shown(series: Series, value: f64) -> String {
    let name = series.name();
    match () {
        () if name.ends_with("bytes_per_second") => format!("{}/s", bytes(value as u64)),
        () if name.ends_with("bytes") => bytes(value as u64),
        () if name.ends_with("ratio") => percent(value),
        () if name.starts_with("stall") => seconds(value),
        () => format!("{value:.0}/s"),
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Oom => "OOM kill",
        Kind::MemoryPressure => "memory pressure",
        Kind::IoPressure => "IO pressure",
        Kind::GpuLost => "lost GPU",
        Kind::Killed => "kill by a process",
        Kind::Latency => "slow answers",
        Kind::GpuStarved => "starved GPU",
        Kind::Leak => "leak",
    }
}

/// Nanoseconds since the Unix epoch as UTC, to the millisecond.
pub fn moment(time: u64) -> String {
    let moment = humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(time)).to_string();
    moment.replace('T', " ").replace('Z', " UTC")
}

fn span(ago: &[f64]) -> String {
    match ago {
        [first, .., last] => seconds(first - last),
        _ => "second".to_owned(),
    }
}

#[cfg(test)]
mod tests;
