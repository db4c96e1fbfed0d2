//! Two periods beside each other: what became better or worse, in words and numbers.

use super::block::{Block, Finding, Table, Weight};
use super::draw::{Setting, memory_chart, period, share};
use super::words::{UNKNOWN, bytes, cpus, duration, shown, sum};
use super::workload::{left_out, split};
use super::zone::Zone;
use super::{Digest, Figures, summary};
use crate::amount::percent;

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
    ("OOM kills a day", |it| known(it).then(|| a_day(it, it.kills as f64)), count, Sense::LessIsBetter),
    ("incidents a day", |it| known(it).then(|| a_day(it, it.incidents.len() as f64)), count, Sense::LessIsBetter),
    ("alerts a day", |it| known(it).then(|| a_day(it, sum(&it.alerts) as f64)), count, Sense::LessIsBetter),
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
        blocks.push(Block::Findings(findings(before, after)));
    }
    blocks.push(Block::Head("Host".to_owned()));
    let mut table = Table::new(["", "before", "after", "change", "so it is"], 1);
    for (what, read, show, sense) in NUMBERS {
        let (one, other) = (read(before), read(after));
        if one.is_some() || other.is_some() {
            let judged = verdict(one, other, sense).map_or(UNKNOWN, |(_, word)| word);
            let (one_text, other_text) = (shown(one, show), shown(other, show));
            table.rows.push(vec![what.to_owned(), one_text, other_text, change(one, other), judged.to_owned()]);
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

fn findings(before: &Digest, after: &Digest) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut same = Vec::new();
    for (what, read, show, sense) in NUMBERS {
        let (one, other) = (read(before), read(after));
        let (Some((weight, _)), Some(before), Some(after)) = (verdict(one, other, sense), one, other) else { continue };
        match weight {
            Weight::Same if sense == Sense::LessIsBetter => same.push(what),
            Weight::Better | Weight::Worse => {
                let change = change(one, other);
                let text = format!("{what}: {} before, {} after ({change}).", show(before), show(after));
                findings.push(Finding { weight, text });
            }
            _ => {}
        }
    }
    let near: Vec<String> = after.workloads.iter().filter_map(|it| of_limit(it, before)).take(5).collect();
    findings.extend(near.into_iter().map(|text| Finding { weight: Weight::Note, text }));
    if !same.is_empty() {
        findings.push(Finding { weight: Weight::Same, text: format!("{}.", same.join(", ")) });
    }
    for (what, digest) in [("before", before), ("after", after)] {
        let watched = digest.known_seconds as f64 / (digest.to.saturating_sub(digest.from) as f64 / 1e9).max(1.0);
        if watched < ENOUGH {
            let text = format!("Of the time {what}, {} is known: too little to judge by.", percent(watched));
            findings.push(Finding { weight: Weight::Note, text });
        }
    }
    findings.sort_by_key(|finding| finding.weight);
    findings
}

/// What became of a workload's room below its limit, if much did.
fn of_limit(it: &Figures, before: &Digest) -> Option<String> {
    let then = before.workloads.iter().find(|other| other.workload == it.workload)?;
    let (one, other) = (then.limit_used_ratio?, it.limit_used_ratio?);
    let name = it.workload.as_deref()?;
    ((one - other).abs() >= 0.1 && one.max(other) >= 0.5).then(|| {
        let [before, now] = [then, it].map(|it| shown(it.memory_limit_bytes.map(|limit| limit as f64), bytes));
        let limit = if before == now { String::new() } else { format!(", which was {before} and is {now}") };
        format!("{name} came to {} of its memory limit{limit}; before, to {}.", percent(other), percent(one))
    })
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
    let find =
        |digest: &Digest, it: &Figures| digest.workloads.iter().find(|other| other.workload == it.workload).cloned();
    let (listed, rest) = split(after, setting.listed);
    let gone = split(before, setting.listed).0.into_iter().filter(|it| find(after, it).is_none());
    for it in listed.iter().copied().chain(gone) {
        let [one, other] = [before, after].map(|digest| find(digest, it));
        let [peak_before, peak_after] = [&one, &other].map(|it| it.as_ref().and_then(|it| it.memory_bytes.max));
        let used = |it: &Option<Figures>| shown(it.as_ref().and_then(|it| it.limit_used_ratio), percent);
        let incidents = |it: &Option<Figures>| it.as_ref().map_or(UNKNOWN.to_owned(), |it| it.incidents.to_string());
        table.rows.push(vec![
            it.workload.clone().unwrap_or_default(),
            shown(peak_before, bytes),
            shown(peak_after, bytes),
            match (peak_before, peak_after) {
                (None, Some(_)) => "new".to_owned(),
                (Some(_), None) => "gone".to_owned(),
                _ => change(peak_before, peak_after),
            },
            used(&one),
            used(&other),
            incidents(&one),
            incidents(&other),
        ]);
    }
    match table.rows.is_empty() {
        true => blocks.push(Block::Paragraph("Nothing is known of workloads.".to_owned())),
        false => blocks.push(Block::Table(table)),
    }
    blocks.extend(left_out(&rest, after));
}

/// What a change means; none if one of the numbers is not known.
fn verdict(before: Option<f64>, after: Option<f64>, sense: Sense) -> Option<(Weight, &'static str)> {
    let (before, after) = before.zip(after)?;
    let largest = before.abs().max(after.abs());
    let less = match after - before {
        difference if difference.abs() <= SMALL * largest => return Some((Weight::Same, "about the same")),
        difference => difference < 0.0,
    };
    Some(match (sense, less) {
        (Sense::LessIsBetter, true) => (Weight::Better, "better"),
        (Sense::LessIsBetter, false) => (Weight::Worse, "worse"),
        (Sense::Neither, true) => (Weight::Note, "less"),
        (Sense::Neither, false) => (Weight::Note, "more"),
    })
}

fn change(before: Option<f64>, after: Option<f64>) -> String {
    match before.zip(after) {
        Some((before, after)) if before > 0.0 => match (after / before - 1.0) * 100.0 {
            change if change.abs() < 0.5 => "0 %".to_owned(),
            change => format!("{change:+.0} %"),
        },
        Some((_, after)) if after > 0.0 => "from none".to_owned(),
        Some(_) => "0 %".to_owned(),
        None => UNKNOWN.to_owned(),
    }
}

fn known(digest: &Digest) -> bool {
    digest.known_seconds > 0
}

fn a_day(digest: &Digest, number: f64) -> f64 {
    share(digest, number) * 86400.0
}

fn count(value: f64) -> String {
    format!("{value:.1}")
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
    use super::super::draw::Listed;
    use super::*;

    fn digest(kills: u64, waiting: f64) -> Digest {
        let host = Figures { memory_waiting_seconds: Some(waiting), ..Figures::default() };
        Digest { to: 86_400_000_000_000, known_seconds: 86_400, kills, host, ..Digest::default() }
    }

    #[test]
    fn a_change_is_told_in_words_and_the_worse_comes_first() {
        let (before, after) = (digest(0, 864.0), digest(2, 86.4));
        let findings = findings(&before, &after);
        let said: Vec<_> = findings.iter().map(|it| (it.weight.word(), &*it.text)).collect();
        assert_eq!(
            said,
            [
                ("Worse", "OOM kills a day: 0.0 before, 2.0 after (from none)."),
                ("Better", "share of time waiting for memory: 1.0 % before, 0.1 % after (-90 %)."),
                ("Same", "incidents a day, alerts a day."),
            ]
        );
        let setting = Setting { host: "h".to_owned(), zone: Zone::utc(), listed: Listed::Important };
        let words = super::super::text(&compared(&before, &after, &setting), 120, false);
        assert!(words.contains("from none") && words.contains("worse") && words.contains("better"), "{words}");
    }

    #[test]
    fn a_change_of_a_number_that_is_good_neither_way_is_not_judged() {
        assert_eq!(verdict(Some(4.0), Some(2.0), Sense::Neither), Some((Weight::Note, "less")));
        assert_eq!(verdict(Some(100.0), Some(104.0), Sense::LessIsBetter), Some((Weight::Same, "about the same")));
        assert_eq!(verdict(Some(0.0), Some(0.0), Sense::LessIsBetter), Some((Weight::Same, "about the same")));
        assert_eq!(verdict(None, Some(1.0), Sense::LessIsBetter), None);
        let little = Digest { known_seconds: 3600, ..digest(0, 0.0) };
        assert!(findings(&little, &digest(0, 0.0)).iter().any(|it| it.text.contains("too little to judge by")));
    }
}
