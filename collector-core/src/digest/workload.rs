//! What a report says of workloads: which matter, and what the others hold together.

use std::collections::BTreeMap;

use super::block::{Block, Picture, Stroke, Table};
use super::draw::{Listed, Setting, curve, memory_chart, most};
use super::words::{UNKNOWN, bytes, cpus, duration, shown};
use super::{Digest, Event, Figures};
use crate::amount::percent;

/// At most this many that matter are listed, and so many have a large picture.
const WORKLOADS: usize = 40;
const CHARTS: usize = 6;
/// Who held this share of the host's memory matters.
const LARGE: f64 = 0.01;
/// Who came this near to its limit has a large picture.
const NEAR: f64 = 0.8;
/// Shorter stalls do not matter, in seconds.
const STALLED: f64 = 1.0;

/// Those with incidents first, then those that came nearest to their limit or held most of the host.
fn ranked(digest: &Digest) -> Vec<&Figures> {
    let total = digest.host.memory_limit_bytes.map(|total| total as f64);
    let of_host = |it: &Figures| it.memory_bytes.max.zip(total).map_or(0.0, |(most, total)| most / total);
    let weight = |it: &Figures| it.limit_used_ratio.unwrap_or(0.0).max(of_host(it));
    let mut ranked: Vec<&Figures> = digest.workloads.iter().collect();
    ranked.sort_by(|one, other| {
        let trouble = (other.incidents > 0).cmp(&(one.incidents > 0));
        trouble.then_with(|| weight(other).total_cmp(&weight(one))).then_with(|| one.workload.cmp(&other.workload))
    });
    ranked
}

/// Whether a workload is worth a line: it has a limit, an incident, stalls, GPU memory, or held more than 1 % of the host's memory.
fn matters(it: &Figures, digest: &Digest) -> bool {
    let large = match (it.memory_bytes.max, digest.host.memory_limit_bytes) {
        (Some(most), Some(total)) => most >= LARGE * total as f64,
        // What 1 % is, is not known.
        (most, None) => most.is_some(),
        (None, _) => false,
    };
    large
        || it.incidents > 0
        || it.memory_limit_bytes.is_some()
        || it.stall_seconds.is_some_and(|time| time >= STALLED)
        || it.vram_bytes.max.is_some_and(|most| most > 0.0)
}

/// Those that are listed, and the others.
pub(super) fn split(digest: &Digest, listed: Listed) -> (Vec<&Figures>, Vec<&Figures>) {
    let ranked = ranked(digest);
    let (mut chosen, mut rest): (Vec<_>, Vec<_>) = match listed {
        Listed::Important => ranked.into_iter().partition(|it| matters(it, digest)),
        _ => (ranked, Vec::new()),
    };
    let most = match listed {
        Listed::Important => WORKLOADS,
        Listed::First(count) => count,
        Listed::All => usize::MAX,
    };
    rest.extend(chosen.split_off(most.min(chosen.len())));
    (chosen, rest)
}

/// What those that are not listed hold together.
pub(super) fn left_out(rest: &[&Figures], digest: &Digest) -> Option<Block> {
    let largest = rest.iter().filter_map(|it| it.memory_bytes.max).reduce(f64::max)?;
    // They need not have run at the same time.
    let mut sums: BTreeMap<u64, f64> = BTreeMap::new();
    for (time, value) in rest.iter().flat_map(|it| &it.memory_mean) {
        *sums.entry(*time).or_default() += value.unwrap_or(0.0);
    }
    let together = sums.into_values().reduce(f64::max)?;
    let total = digest.host.memory_limit_bytes;
    let of_host = total.map_or(String::new(), |total| format!(" ({} of the host)", percent(together / total as f64)));
    let (largest, together) = (bytes(largest), bytes(together));
    Some(Block::Paragraph(match rest.len() {
        1 => format!("1 other workload is not listed: it held {largest} at most{of_host}."),
        count => format!(
            "{count} other workloads are not listed: each held {largest} at most, and all of them together {together}{of_host}."
        ),
    }))
}

pub(super) fn workloads(blocks: &mut Vec<Block>, digest: &Digest, setting: &Setting) {
    blocks.push(Block::Head("Workloads".to_owned()));
    if digest.workloads.is_empty() {
        return blocks.push(Block::Paragraph("Nothing is known of workloads.".to_owned()));
    }
    let (listed, rest) = split(digest, setting.listed);
    let head = ["WORKLOAD", "PEAK", "LIMIT", "USED", "MEAN", "INCIDENTS", "WAITED", "STALLS", "CPUS", "GPU PEAK"];
    let mut table = Table::new(head, 1);
    let mut pictures = Vec::new();
    for it in &listed {
        table.rows.push(vec![
            it.workload.clone().unwrap_or_default(),
            shown(it.memory_bytes.max, bytes),
            limit(it),
            shown(it.limit_used_ratio, percent),
            shown(it.memory_bytes.mean, bytes),
            incidents(it, digest),
            shown(it.memory_waiting_seconds, duration),
            shown(it.stall_seconds, duration),
            shown(it.cpus.mean, cpus),
            shown(it.vram_bytes.max, bytes),
        ]);
        let curves = vec![curve("memory", Stroke::Solid, &it.memory), curve("limit", Stroke::Dashed, &it.limit)];
        pictures.push(Picture { span: (digest.from, digest.to), top: most(&curves), curves });
    }
    table.pictures = Some(("MEMORY", pictures));
    blocks.push(Block::Table(table));
    blocks.extend(left_out(&rest, digest));
    if listed.iter().any(|it| it.memory_limit_bytes.is_some()) {
        let text = "USED is the largest share of the limit that was in force at that time. WAITED is the time in which some task of it \
                    waited for memory (cgroup v2 only), STALLS the time in which its tasks waited in direct reclaim or compaction, \
                    summed over them.";
        blocks.push(Block::Paragraph(text.to_owned()));
    }
    let worth = |it: &&&Figures| {
        it.incidents > 0 || it.limit_used_ratio >= Some(NEAR) || it.memory_limit_before_bytes.is_some()
    };
    for it in listed.iter().filter(worth).take(CHARTS) {
        let of = |event: &&Event| event.workload == it.workload;
        let marks = digest.incidents.iter().filter(of).map(|event| (event.time, event.kind.to_owned())).collect();
        let title = format!("{}: memory", it.workload.as_deref().unwrap_or_default());
        blocks.extend(memory_chart(&title, "limit", it, digest, &setting.zone, marks));
    }
}

/// How many incidents a workload had; none are known where the journal does not reach.
pub(super) fn incidents(it: &Figures, digest: &Digest) -> String {
    match it.incidents {
        0 if !digest.knows_events() => UNKNOWN.to_owned(),
        count => count.to_string(),
    }
}

fn limit(it: &Figures) -> String {
    let now = it.memory_limit_bytes.map(|limit| limit as f64);
    match it.memory_limit_before_bytes {
        Some(before) => format!("{} \u{2192} {}", bytes(before as f64), shown(now, bytes)),
        None => now.map_or("none".to_owned(), bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Spread;
    use super::*;

    const GIB: f64 = (1u64 << 30) as f64;

    fn held(name: &str, most: f64) -> Figures {
        let memory_bytes = Spread { mean: Some(most / 2.0), max: Some(most) };
        let memory_mean = vec![(0, Some(most / 2.0))];
        Figures { workload: Some(name.to_owned()), memory_bytes, memory_mean, ..Figures::default() }
    }

    fn digest() -> Digest {
        let workloads = vec![
            held("large", 2.0 * GIB),
            Figures { limit_used_ratio: Some(0.99), memory_limit_bytes: Some(1 << 20), ..held("limited", 1e6) },
            Figures { incidents: 1, ..held("killed", 1e6) },
            Figures { stall_seconds: Some(3.0), ..held("stalled", 1e6) },
            Figures { vram_bytes: Spread { mean: None, max: Some(1.0) }, ..held("gpu", 1e6) },
            held("small", 1e6),
            held("early", 5e5),
            held("other", 7e5),
        ];
        let host = Figures { memory_limit_bytes: Some(100 << 30), ..Figures::default() };
        Digest { host, workloads, ..Digest::default() }
    }

    fn names(listed: &[&Figures]) -> Vec<String> {
        listed.iter().filter_map(|it| it.workload.clone()).collect()
    }

    #[test]
    fn who_matters_is_listed_and_the_others_are_counted() {
        let digest = digest();
        let (listed, rest) = split(&digest, Listed::Important);
        assert_eq!(names(&listed), ["killed", "limited", "large", "gpu", "stalled"]);
        assert_eq!(names(&rest), ["small", "other", "early"]);
        let Some(Block::Paragraph(said)) = left_out(&rest, &digest) else { panic!() };
        let wanted = "3 other workloads are not listed: each held 977 KiB at most, and all of them together 1.05 MiB (0 % of the host).";
        assert_eq!(said, wanted);
        assert_eq!(split(&digest, Listed::All).0.len(), 8);
        let (first, rest) = split(&digest, Listed::First(6));
        assert_eq!((first.len(), names(&rest)), (6, vec!["other".to_owned(), "early".to_owned()]));
        assert!(left_out(&[], &digest).is_none());
    }

    #[test]
    fn many_that_matter_are_bounded() {
        let workloads = (0..60).map(|number| held(&format!("w{number:02}"), 2.0 * GIB)).collect();
        let digest = Digest { workloads, ..digest() };
        let (listed, rest) = split(&digest, Listed::Important);
        assert_eq!((listed.len(), rest.len()), (WORKLOADS, 60 - WORKLOADS));
    }
}
