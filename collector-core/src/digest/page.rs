//! What a report says of one period, as blocks: the summary first.

use super::axis::Unit;
use super::block::{Block, Entry, Stroke, Table};
use super::draw::{Setting, chart, curve, memory_chart, period, share};
use super::gap::Record;
use super::words::{UNKNOWN, bytes, cpus, duration, plain, plural, shown};
use super::{Count, Digest, advice, capacity, gpu, start, summary, workload};
use crate::amount::percent;
use crate::zone::Zone;

/// At most this many are listed.
const INCIDENTS: usize = 50;
const GAPS: usize = 20;
const ADVICE: usize = 20;

/// The report of one period.
pub fn page(digest: &Digest, setting: &Setting) -> Vec<Block> {
    let zone = &setting.zone;
    let findings = summary::findings(digest, zone);
    let mut blocks = vec![
        Block::Title(format!("{}: {}", setting.host, period(digest, zone))),
        Block::Paragraph(summary::headline(digest, &findings)),
    ];
    if digest.is_empty() {
        return blocks;
    }
    blocks.push(Block::Findings(findings));
    changes(&mut blocks, digest, zone);
    host(&mut blocks, digest, zone);
    gpu::gpus(&mut blocks, digest, zone);
    capacity::capacity(&mut blocks, &digest.headroom, digest.to, zone);
    start::starts(&mut blocks, &digest.starts);
    workload::workloads(&mut blocks, digest, setting);
    incidents(&mut blocks, digest, zone);
    alerts(&mut blocks, digest);
    record(&mut blocks, digest, zone);
    blocks
}

fn changes(blocks: &mut Vec<Block>, digest: &Digest, zone: &Zone) {
    if digest.advice.is_empty() {
        return;
    }
    blocks.push(Block::Head("What to change".to_owned()));
    let first = digest.advice.iter().take(ADVICE);
    blocks.push(Block::Events(first.map(|standing| advice::entry(standing, zone)).collect()));
    if let Some(rest) = digest.advice.len().checked_sub(ADVICE).filter(|rest| *rest > 0) {
        blocks.push(Block::Paragraph(format!("{rest} more: headroom report --json has all.")));
    }
}

fn host(blocks: &mut Vec<Block>, digest: &Digest, zone: &Zone) {
    blocks.push(Block::Head("Host".to_owned()));
    let host = &digest.host;
    let mut table = Table::new(["", "mean", "peak"], 1);
    let spreads = [
        ("memory in use, without what can be freed", host.memory_bytes, bytes as fn(f64) -> String),
        ("CPUs in use", host.cpus, cpus),
        ("GPU memory", host.vram_bytes, bytes),
    ];
    for (what, spread, show) in spreads.into_iter().filter(|(_, spread, _)| spread.max.is_some()) {
        table.rows.push(vec![what.to_owned(), shown(spread.mean, show), shown(spread.max, show)]);
    }
    if !table.rows.is_empty() {
        blocks.push(Block::Table(table));
    }
    let mut table = Table::new(["", "share of the time", "in all"], 1);
    let waits = [
        ("some task waited for memory", host.memory_waiting_seconds),
        ("some task waited for IO", host.io_waiting_seconds),
    ];
    for (what, time) in waits.into_iter().filter_map(|(what, time)| Some((what, time?))) {
        table.rows.push(vec![what.to_owned(), percent(share(digest, time)), duration(time)]);
    }
    if let Some(time) = host.stall_seconds {
        table.rows.push(vec!["reclaim stalls, summed over tasks".to_owned(), UNKNOWN.to_owned(), duration(time)]);
    }
    if !table.rows.is_empty() {
        blocks.push(Block::Table(table));
    }
    let kills = digest.incidents.iter().filter(|event| event.killed > 0);
    let marks = kills.map(|event| (event.time, "OOM kill".to_owned())).collect();
    blocks.extend(memory_chart("Memory in use", "all memory", host, digest, zone, marks));
    if host.waiting.iter().any(|(_, value)| value.is_some_and(|value| value >= 0.01)) {
        let title = "Share of a second in which some task waited for memory, most in each quarter of an hour";
        let curve = curve("waiting", Stroke::Solid, &host.waiting);
        blocks.push(Block::Chart(chart(title.to_owned(), Unit::Share, vec![curve], digest, zone)));
    }
}

fn incidents(blocks: &mut Vec<Block>, digest: &Digest, zone: &Zone) {
    blocks.push(Block::Head("Incidents".to_owned()));
    if digest.incidents.is_empty() {
        let none = if digest.knows_events() { "There was none." } else { "None is recorded." };
        return blocks.push(Block::Paragraph(none.to_owned()));
    }
    blocks.push(Block::Table(counts(["CAUSE", "KIND", "COUNT"], &digest.causes)));
    let newest = digest.incidents.iter().rev().take(INCIDENTS).map(|event| Entry {
        time: zone.minute(event.time),
        id: event.id.clone(),
        title: event.title.clone(),
        detail: match event.limit_bytes {
            Some(limit) if !event.cause.contains("limit") => {
                format!("{} Its limit was {}.", event.cause, bytes(limit as f64))
            }
            _ => event.cause.clone(),
        },
    });
    blocks.push(Block::Events(newest.collect()));
    more(blocks, digest.incidents.len(), INCIDENTS, "older incident");
}

fn alerts(blocks: &mut Vec<Block>, digest: &Digest) {
    blocks.push(Block::Head("Alerts".to_owned()));
    let none = if digest.knows_events() { "None fired." } else { "None is recorded." };
    match digest.alerts.is_empty() {
        true => blocks.push(Block::Paragraph(none.to_owned())),
        false => blocks.push(Block::Table(counts(["ALERT", "SEVERITY", "FIRED"], &digest.alerts))),
    }
}

fn record(blocks: &mut Vec<Block>, digest: &Digest, zone: &Zone) {
    let record = &digest.record;
    blocks.push(Block::Head("Completeness of the data".to_owned()));
    let watched = format!("The host was watched for {}. ", duration(digest.known_seconds as f64));
    let starts = match record.starts {
        0 => String::new(),
        starts => format!("The agent started {}. ", plural(starts, "time")),
    };
    let lost = if record.lost.is_empty() { "No loss is recorded." } else { "It dropped data, listed below." };
    blocks.push(Block::Paragraph(format!("{watched}{starts}{lost}")));
    if !record.gaps.is_empty() {
        let mut table = Table::new(["NOT WATCHED FROM", "TO", "FOR", "WHY"], 2);
        for gap in record.gaps.iter().rev().take(GAPS) {
            let before = record.begins.is_none_or(|begins| gap.from < begins);
            let why = match before {
                true => "the history begins later",
                false if gap.missing_seconds < 900 => "the agent restarted, or its readings were late",
                false => "the agent did not run, or the host was off",
            };
            let missing = duration(gap.missing_seconds as f64);
            table.rows.push(vec![zone.minute(gap.from), zone.minute(gap.to), missing, why.to_owned()]);
        }
        blocks.push(Block::Table(table));
        more(blocks, record.gaps.len(), GAPS, "older gap");
    }
    let lost = record.lost.iter().map(|(stage, count)| {
        let (what, advice) = Record::texts(stage).unwrap_or_default();
        let detail = format!("{} {}", plain(what), plain(advice));
        Entry { time: format!("{count} times"), id: String::new(), title: format!("Lost at {stage}"), detail }
    });
    if !record.lost.is_empty() {
        blocks.push(Block::Events(lost.collect()));
    }
}

fn counts(head: [&str; 3], counts: &[Count]) -> Table {
    let mut table = Table::new(head, 2);
    table.rows.extend(counts.iter().map(|it| vec![it.name.clone(), it.of.to_owned(), it.count.to_string()]));
    table
}

fn more(blocks: &mut Vec<Block>, all: usize, shown: usize, what: &str) {
    if let Some(rest) = all.checked_sub(shown).filter(|rest| *rest > 0) {
        let verb = if rest == 1 { "is" } else { "are" };
        blocks.push(Block::Paragraph(format!("{} {verb} not listed.", plural(rest as u64, what))));
    }
}

#[cfg(test)]
mod tests {
    use super::super::draw::Listed;
    use super::super::gap::Gap;
    use super::super::text;
    use super::*;

    fn written(digest: &Digest) -> String {
        let setting = Setting { host: "h".to_owned(), zone: Zone::utc(), listed: Listed::Important };
        text(&page(digest, &setting), 200, false)
    }

    #[test]
    fn what_no_journal_keeps_is_not_known_to_be_none() {
        let watched = Digest { from: 1000, to: 86_400_000_000_000, known_seconds: 86_400, ..Digest::default() };
        for (events_from, note) in [
            (None, Some("No journal: incidents and alerts are not known.")),
            (Some(3_600_000_000_000), Some("Incidents and alerts before 1970-01-01 01:00 are no longer kept.")),
            (Some(1000), None),
        ] {
            let page = written(&Digest { events_from, ..watched.clone() });
            let none = ["There was no incident.", "There was none.", "None fired.", "No problem was seen."];
            assert_eq!(none.map(|none| page.contains(none)), [note.is_none(); 4], "{page}");
            assert!(note.is_none_or(|note| page.contains(note)) && page.contains("No loss is recorded."), "{page}");
        }
        assert!(written(&watched).contains("The host was watched all the time; incidents and alerts are not known."));
        let part = written(&Digest { events_from: Some(2000), ..watched });
        assert!(part.contains("0 incidents, 0 OOM kills, 0 alerts recorded."), "{part}");
    }

    #[test]
    fn an_agent_that_was_down_at_the_begin_has_a_history_of_before() {
        let gaps = vec![Gap { from: 10, to: 20, missing_seconds: 1800 }];
        for (begins, why) in [(5, "the agent did not run, or the host was off"), (20, "the history begins later")] {
            let record = Record { begins: Some(begins), gaps: gaps.clone(), ..Record::default() };
            let page = written(&Digest { known_seconds: 1, record, ..Digest::default() });
            assert!(page.contains(why), "{page}");
        }
    }
}
