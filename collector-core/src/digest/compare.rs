//! Two periods beside each other: what became better or worse, in words and numbers.

use std::collections::BTreeMap;

use super::block::{Block, Finding, Table, Weight};
use super::draw::{Setting, memory_chart, period, share};
use super::words::{UNKNOWN, bytes, cpus, duration, shown, sum};
use super::workload::{incidents, left_out, split};
use super::{Digest, Figures, summary};
use crate::amount::percent;
use crate::zone::Zone;

/// Changes below this share are none.
const SMALL: f64 = 0.05;
/// Less than this share of a period is not enough to judge it.
const ENOUGH: f64 = 0.5;

/// Whether less of a number is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    LessIsBetter,
    /// It depends on what the change was for.
    Neither,
}

type Read = fn(&Digest) -> Option<f64>;
type Show = fn(f64) -> String;

const NUMBERS: [(&str, Read, Show, Sense); 12] = [
    ("OOM kills a day", |it| events_a_day(it, it.kills), count, Sense::LessIsBetter),
    ("incidents a day", |it| events_a_day(it, it.incidents.len() as u64), count, Sense::LessIsBetter),
    ("alerts a day", |it| events_a_day(it, sum(&it.alerts)), count, Sense::LessIsBetter),
    (
        "share of time waiting for memory",
        |it| it.host.memory_waiting_seconds.map(|time| share(it, time)),
        percent,
        Sense::LessIsBetter,
    ),
    (
        "share of time waiting for IO",
        |it| it.host.io_waiting_seconds.map(|time| share(it, time)),
        percent,
        Sense::LessIsBetter,
    ),
    ("reclaim stalls a day", |it| it.host.stall_seconds.map(|time| a_day(it, time)), duration, Sense::LessIsBetter),
    ("memory in use, peak", |it| it.host.memory_bytes.max, bytes, Sense::Neither),
    ("memory in use, mean", |it| it.host.memory_bytes.mean, bytes, Sense::Neither),
    ("CPUs in use, mean", |it| it.host.cpus.mean, cpus, Sense::Neither),
    ("GPU memory, peak", |it| it.host.vram_bytes.max, bytes, Sense::Neither),
    ("GPU used time, mean", gpu_used, percent, Sense::Neither),
    ("GPUs slowed by heat or power, a day", gpu_slowed, duration, Sense::LessIsBetter),
];

/// Two periods beside each other.
pub fn compared(before: &Digest, after: &Digest, setting: &Setting) -> Vec<Block> {
    let zone = &setting.zone;
    let mut blocks = vec![
        Block::Title(format!("{}: before and after", setting.host)),
        Block::Paragraph(in_short("Before", before, zone)),
        Block::Paragraph(in_short("After", after, zone)),
    ];
    if known(before) && known(after) {
        blocks.push(Block::Findings(findings(before, after, zone)));
    }
    blocks.push(Block::Head("Host".to_owned()));
    let mut table = Table::new(["", "before", "after", "change", "verdict"], 1);
    for (what, read, show, sense) in NUMBERS {
        let (one, other) = (read(before), read(after));
        if one.is_some() || other.is_some() {
            let judged = verdict(one, other, sense, show).map_or(UNKNOWN, |(_, word)| word);
            let (one_text, other_text) = (shown(one, show), shown(other, show));
            table.rows.push(vec![what.to_owned(), one_text, other_text, change(one, other, show), judged.to_owned()]);
        }
    }
    blocks.push(Block::Table(table));
    for (title, digest) in [("Before: memory in use", before), ("After: memory in use", after)] {
        blocks.extend(memory_chart(title, "all memory", &digest.host, digest, zone, Vec::new()));
    }
    workloads(&mut blocks, before, after, setting);
    blocks
}

fn in_short(what: &str, digest: &Digest, zone: &Zone) -> String {
    let findings = summary::findings(digest, zone);
    format!("{what}: {}. {}", period(digest, zone), summary::headline(digest, &findings))
}

fn findings(before: &Digest, after: &Digest, zone: &Zone) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut same = Vec::new();
    for (what, read, show, sense) in NUMBERS {
        let (one, other) = (read(before), read(after));
        let Some((weight, _)) = verdict(one, other, sense, show) else { continue };
        match weight {
            Weight::Same if sense == Sense::LessIsBetter => same.push(what),
            Weight::Better | Weight::Worse => {
                let (change, [one, other]) = (change(one, other, show), [one, other].map(|value| shown(value, show)));
                let text = format!("{what}: {one} before, {other} after ({change}).");
                findings.push(Finding { weight, text });
            }
            _ => {}
        }
    }
    let note = |text: String| Finding { weight: Weight::Note, text };
    let known_before = by_name(before);
    let near = after.workloads.iter().filter_map(|it| of_limit(it, known_before.get(it.workload.as_deref()?)?));
    findings.extend(near.take(5).map(note));
    if !same.is_empty() {
        findings.push(Finding { weight: Weight::Same, text: format!("{}.", same.join(", ")) });
    }
    for (what, digest) in [("before", before), ("after", after)] {
        let watched = digest.known_seconds as f64 / digest.record.whole_seconds.max(1) as f64;
        if watched < ENOUGH {
            let recorded = percent(watched);
            findings.push(note(format!("Only {recorded} of the period {what} was recorded: too little to compare.")));
        }
    }
    let mut unknown: Vec<String> =
        [before, after].into_iter().filter_map(|digest| summary::unknown_events(digest, zone)).collect();
    unknown.dedup();
    findings.extend(unknown.into_iter().map(note));
    findings.sort_by_key(|finding| finding.weight);
    findings
}

/// What became of a workload's room below its limit, if much did.
fn of_limit(it: &Figures, then: &Figures) -> Option<String> {
    let (one, other) = (then.limit_used_ratio?, it.limit_used_ratio?);
    let name = it.workload.as_deref()?;
    ((one - other).abs() >= 0.1 && one.max(other) >= 0.5).then(|| {
        let [before, now] = [then, it].map(|it| shown(it.memory_limit_bytes.map(|limit| limit as f64), bytes));
        let limit = if before == now { String::new() } else { format!(" (limit changed from {before} to {now})") };
        format!("{name} reached {} of its memory limit{limit}; before: {}.", percent(other), percent(one))
    })
}

fn by_name(digest: &Digest) -> BTreeMap<&str, &Figures> {
    digest.workloads.iter().filter_map(|it| Some((it.workload.as_deref()?, it))).collect()
}

fn workloads(blocks: &mut Vec<Block>, before: &Digest, after: &Digest, setting: &Setting) {
    blocks.push(Block::Head("Workloads".to_owned()));
    let head = [
        "WORKLOAD",
        "PEAK BEFORE",
        "PEAK AFTER",
        "CHANGE",
        "OF LIMIT BEFORE",
        "OF LIMIT AFTER",
        "INCIDENTS BEFORE",
        "INCIDENTS AFTER",
    ];
    let mut table = Table::new(head, 1);
    let [known_before, known_after] = [before, after].map(by_name);
    let (listed, rest) = split(after, setting.listed);
    let gone = split(before, setting.listed).0.into_iter();
    let gone = gone.filter(|it| it.workload.as_deref().is_some_and(|name| !known_after.contains_key(name)));
    for it in listed.iter().copied().chain(gone) {
        let name = it.workload.as_deref().unwrap_or_default();
        let [one, other] = [&known_before, &known_after].map(|known| known.get(name).copied());
        let [peak_before, peak_after] = [one, other].map(|it| it?.memory_bytes.max);
        let used = |it: Option<&Figures>| shown(it.and_then(|it| it.limit_used_ratio), percent);
        let had = |digest, it: Option<&Figures>| it.map_or(UNKNOWN.to_owned(), |it| incidents(it, digest));
        table.rows.push(vec![
            name.to_owned(),
            shown(peak_before, bytes),
            shown(peak_after, bytes),
            match (peak_before, peak_after) {
                (None, Some(_)) => "new".to_owned(),
                (Some(_), None) => "gone".to_owned(),
                _ => change(peak_before, peak_after, bytes),
            },
            used(one),
            used(other),
            had(before, one),
            had(after, other),
        ]);
    }
    match table.rows.is_empty() {
        true => blocks.push(Block::Paragraph("Nothing is known of workloads.".to_owned())),
        false => blocks.push(Block::Table(table)),
    }
    blocks.extend(left_out(&rest, after));
}

/// What a change means; none if one of the numbers is not known. One that cannot be seen in them is none.
fn verdict(before: Option<f64>, after: Option<f64>, sense: Sense, show: Show) -> Option<(Weight, &'static str)> {
    let (before, after) = before.zip(after)?;
    let largest = before.abs().max(after.abs());
    let less = match after - before {
        difference if difference.abs() <= SMALL * largest || show(before) == show(after) => {
            return Some((Weight::Same, "about the same"));
        }
        difference => difference < 0.0,
    };
    Some(match (sense, less) {
        (Sense::LessIsBetter, true) => (Weight::Better, "better"),
        (Sense::LessIsBetter, false) => (Weight::Worse, "worse"),
        (Sense::Neither, true) => (Weight::Note, "less"),
        (Sense::Neither, false) => (Weight::Note, "more"),
    })
}

fn change(before: Option<f64>, after: Option<f64>, show: Show) -> String {
    match before.zip(after) {
        Some((before, after)) if show(before) == show(after) => "0 %".to_owned(),
        Some((before, after)) if before > 0.0 => match (after / before - 1.0) * 100.0 {
            change if change.abs() < 0.5 => "0 %".to_owned(),
            change => format!("{change:+.0} %"),
        },
        Some((_, after)) if after > 0.0 => "from 0".to_owned(),
        Some(_) => "0 %".to_owned(),
        None => UNKNOWN.to_owned(),
    }
}

fn known(digest: &Digest) -> bool {
    digest.known_seconds > 0
}

fn events_a_day(digest: &Digest, number: u64) -> Option<f64> {
    (known(digest) && digest.knows_events()).then(|| a_day(digest, number as f64))
}

fn a_day(digest: &Digest, number: f64) -> f64 {
    share(digest, number) * 86400.0
}

fn count(value: f64) -> String {
    // One kill in a month is not none.
    let digits = if value > 0.0 && value < 0.095 { 3 } else { 1 };
    format!("{value:.digits$}")
}

fn gpu_used(digest: &Digest) -> Option<f64> {
    let used: Vec<f64> = digest.gpus.iter().filter_map(|gpu| gpu.utilization_ratio.mean).collect();
    (!used.is_empty()).then(|| used.iter().sum::<f64>() / used.len() as f64)
}

fn gpu_slowed(digest: &Digest) -> Option<f64> {
    let times = digest.gpus.iter().filter_map(|gpu| gpu.throttled_seconds);
    times.reduce(|sum, more| sum + more).map(|time| a_day(digest, time))
}

#[cfg(test)]
mod tests {
    use super::super::Spread;
    use super::super::draw::Listed;
    use super::super::gap::Record;
    use super::*;

    fn digest(kills: u64, waiting: f64) -> Digest {
        let host = Figures { memory_waiting_seconds: Some(waiting), ..Figures::default() };
        let record = Record { whole_seconds: 86_400, ..Record::default() };
        let of_a_day = Digest { to: 86_400_000_000_000, known_seconds: 86_400, record, ..Digest::default() };
        Digest { events_from: Some(0), kills, host, ..of_a_day }
    }

    fn said(before: &Digest, after: &Digest) -> Vec<(&'static str, String)> {
        findings(before, after, &Zone::utc()).into_iter().map(|it| (it.weight.word(), it.text)).collect()
    }

    fn written(before: &Digest, after: &Digest) -> String {
        let setting = Setting { host: "h".to_owned(), zone: Zone::utc(), listed: Listed::Important };
        super::super::text(&compared(before, after, &setting), 160, false)
    }

    #[test]
    fn a_change_is_told_in_words_and_the_worse_comes_first() {
        let (before, after) = (digest(0, 864.0), digest(2, 86.4));
        let wanted = [
            ("Worse", "OOM kills a day: 0.0 before, 2.0 after (from 0)."),
            ("Better", "share of time waiting for memory: 1.0 % before, 0.1 % after (-90 %)."),
            ("Same", "incidents a day, alerts a day."),
        ];
        assert_eq!(said(&before, &after), wanted.map(|(word, text)| (word, text.to_owned())));
        let words = written(&before, &after);
        assert!(words.contains("from 0") && words.contains("worse") && words.contains("better"), "{words}");
    }

    #[test]
    fn a_change_of_a_number_that_is_good_neither_way_is_not_judged() {
        let same = Some((Weight::Same, "about the same"));
        assert_eq!(verdict(Some(4.0), Some(2.0), Sense::Neither, count), Some((Weight::Note, "less")));
        assert_eq!(verdict(Some(100.0), Some(104.0), Sense::LessIsBetter, count), same);
        assert_eq!(verdict(Some(0.0), Some(0.0), Sense::LessIsBetter, count), same);
        assert_eq!(verdict(None, Some(1.0), Sense::LessIsBetter, count), None);
    }

    #[test]
    fn a_change_that_the_numbers_do_not_show_is_none_but_a_kill_in_a_month_is_one() {
        let (before, after) = (digest(0, 8.64), digest(0, 17.28));
        assert_eq!(said(&before, &after).len(), 1, "0.01 % and 0.02 %");
        assert!(!written(&before, &after).contains("+100 %"));
        let month = |kills| Digest { known_seconds: 30 * 86_400, ..digest(kills, 0.0) };
        assert_eq!(said(&month(0), &month(1))[0].1, "OOM kills a day: 0.0 before, 0.033 after (from 0).");
    }

    #[test]
    fn a_period_that_is_not_over_is_enough_if_all_of_it_is_recorded_and_a_tenth_is_not() {
        let enough = |known_seconds, whole_seconds| {
            let record = Record { whole_seconds, ..Record::default() };
            let part = Digest { known_seconds, record, ..digest(0, 0.0) };
            !said(&part, &digest(0, 0.0)).iter().any(|(_, text)| text.contains("too little"))
        };
        assert!(enough(900, 900) && !enough(900, 9000));
        let little = Digest { known_seconds: 17_280, ..digest(0, 0.0) };
        let text = "Only 20 % of the period before was recorded: too little to compare.".to_owned();
        assert!(said(&little, &digest(0, 0.0)).contains(&("Note", text)));
    }

    #[test]
    fn what_the_journal_no_longer_keeps_is_not_compared() {
        let used = |limit_used_ratio, incidents| {
            let memory_bytes = Spread { mean: None, max: Some(1e9) };
            let limit_used_ratio = Some(limit_used_ratio);
            Figures {
                workload: Some("web".to_owned()),
                limit_used_ratio,
                memory_bytes,
                incidents,
                ..Figures::default()
            }
        };
        let before = Digest { events_from: Some(1), workloads: vec![used(0.5, 0)], ..digest(0, 0.0) };
        let after = Digest { workloads: vec![used(0.9, 7)], ..digest(2, 0.0) };
        let findings = said(&before, &after);
        assert!(!findings.iter().any(|(word, _)| *word == "Worse"), "{findings:?}");
        let note = "Incidents and alerts before 1970-01-01 00:00 are no longer kept.".to_owned();
        assert!(findings.contains(&("Note", note)), "{findings:?}");
        let near = "web reached 90 % of its memory limit; before: 50 %.".to_owned();
        assert!(findings.contains(&("Note", near)), "{findings:?}");
        let page = written(&before, &after);
        let row = page.lines().find(|line| line.trim_start().starts_with("web ")).unwrap_or_default();
        let cells: Vec<&str> = row.split_whitespace().rev().take(2).collect();
        assert_eq!(cells, ["7", UNKNOWN], "{page}");
    }
}
