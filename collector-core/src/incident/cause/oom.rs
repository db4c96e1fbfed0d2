//! Causes of OOM kills at the workload's own limit, by how its memory grew; and what is said if no rule applies.

use super::facts::Facts;
use super::{Finding, Rule};
use crate::amount::{bytes, percent, seconds};
use crate::incident::Kind;
use crate::incident::ran_out::{self, RanOut};
use crate::incident::shape::Shape;
use crate::series::Series;

pub(super) const KINDS: &[Kind] = &[Kind::Oom];

pub(super) const SUDDEN_SPIKE: Rule = Rule {
    name: "sudden_spike",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Its memory rose by more than 15 % of the limit within 10 s, and by three times what it rose before in the same time, its own start left out.",
    find: |facts| {
        let hit = facts.own()?;
        let Shape::Spike { growth, seconds: took } = facts.shape(hit.bytes) else { return None };
        Some(Finding {
            sentence: format!(
                "{} grew by {} within {}{} and hit {}{}",
                hit.workload,
                bytes(growth as u64),
                seconds(took),
                facts.mostly(hit.bytes, took),
                hit.named(),
                facts.asked(),
            ),
            next: format!(
                "Find out what it started at that time (loading a model, a large request, a batch). If that is normal, raise {} to leave room for it.",
                hit.advised()
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("growth_bytes", Some(growth)),
                ("growth_seconds", Some(took)),
            ],
        })
    },
};

pub(super) const STEADY_GROWTH: Rule = Rule {
    name: "steady_growth",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Its memory rose in a straight line for the last 15 s or longer, by 3 % or more, and was never nearly as high before.",
    find: |facts| {
        let hit = facts.own()?;
        let Shape::Growth { growth, seconds: took } = facts.shape(hit.bytes) else { return None };
        let rate = growth / took;
        Some(Finding {
            sentence: format!(
                "{} grew steadily, by {} in the last {} at {}/s{}, until it hit {}{}",
                hit.workload,
                bytes(growth as u64),
                seconds(took),
                bytes(rate as u64),
                facts.mostly(hit.bytes, took),
                hit.named(),
                facts.asked(),
            ),
            next: format!(
                "Check whether it also grows without new work: that is a leak, and a higher limit only delays the next kill. If it was still filling a cache or loading, raise {}.",
                hit.advised()
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("growth_bytes", Some(growth)),
                ("growth_seconds", Some(took)),
                ("growth_bytes_per_second", Some(rate)),
            ],
        })
    },
};

pub(super) const LIMIT_TOO_LOW: Rule = Rule {
    name: "limit_too_low",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Its memory had been within 15 % of the limit for the last 15 s or longer.",
    find: |facts| {
        let hit = facts.own()?;
        let Shape::Steady { seconds: took } = facts.shape(hit.bytes) else { return None };
        let stalled: f64 = facts.points(Series::Stalls).iter().map(|(_, stalls)| stalls).sum();
        let waited =
            if stalled >= 0.1 { format!("; its tasks spent {} in reclaim", seconds(stalled)) } else { String::new() };
        Some(Finding {
            sentence: format!(
                "{} had been at {} for the last {}: the limit is too low for its working set{waited}{}",
                hit.workload,
                hit.named(),
                seconds(took),
                facts.asked(),
            ),
            next: format!(
                "Raise {}, or lower its memory use (fewer workers, smaller batches or caches).",
                hit.advised()
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("near_limit_seconds", Some(took)),
                ("stall_seconds", Some(stalled)),
            ],
        })
    },
};

pub(super) const OWN_LIMIT: Rule = Rule {
    name: "own_limit",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. The last minute does not show how its memory grew.",
    find: |facts| {
        let hit = facts.own()?;
        let read = hit.limit.used_bytes.map_or(String::new(), |used| {
            format!(": {} of it was used when last read", percent(used as f64 / hit.bytes as f64))
        });
        Some(Finding {
            sentence: format!("{} hit {}{read}{}", hit.workload, hit.named(), facts.asked()),
            next: format!(
                "Raise {}, or lower its memory use (fewer workers, smaller batches or caches). Its memory over a longer time (headroom_workload_memory_current_bytes) shows whether it only peaks or keeps growing.",
                hit.advised()
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("used_bytes", hit.limit.used_bytes.map(|bytes| bytes as f64)),
            ],
        })
    },
};

pub(super) fn unknown(facts: &Facts<'_>) -> Finding {
    let (sentence, next) = match ran_out::of(facts.incident) {
        RanOut::Limit => of_limit(facts),
        RanOut::Host => of_host(facts),
        _ => (
            "The kernel did not report whether a memory limit or the host was out of memory".to_owned(),
            "Check the kernel log (dmesg): it is after “constraint=”.".to_owned(),
        ),
    };
    let host = &facts.evidence.host;
    Finding {
        sentence: sentence + &facts.asked(),
        next,
        numbers: vec![
            ("total_bytes", host.total_bytes.filter(|_| facts.is_host()).map(|bytes| bytes as f64)),
            ("available_bytes", host.available_bytes.filter(|_| facts.is_host()).map(|bytes| bytes as f64)),
            ("pinned_bytes", host.pinned_bytes.filter(|_| facts.is_host()).map(|bytes| bytes as f64)),
        ],
    }
}

fn of_host(facts: &Facts<'_>) -> (String, String) {
    let sentence = "The host ran out of memory, but no workload is charged with enough of it to explain that";
    let pinned = match facts.evidence.host.pinned_bytes {
        Some(pinned) if pinned > 0 => format!("memory pinned by drivers ({})", bytes(pinned)),
        _ => "memory pinned by drivers".to_owned(),
    };
    let next = format!(
        "Check what the kernel itself holds: MemAvailable, Slab and Unevictable in /proc/meminfo, huge pages, and {pinned}."
    );
    (sentence.to_owned(), next)
}

/// What is known of a limit that was hit if its size is not known, or not which of several it was.
fn of_limit(facts: &Facts<'_>) -> (String, String) {
    let workload = facts.workload().unwrap_or("an unknown workload");
    let limit = facts.evidence.limit.as_ref();
    if let Some(named) = limit.and_then(|limit| limit.workload.as_deref()) {
        return (
            format!("{named} hit its limit, but the size of that limit could not be read"),
            "Check memory.max of that cgroup. If it is gone, check where its limit is configured (unit, container or pod).".to_owned(),
        );
    }
    let later = if facts.incident.complete { "" } else { ", and what is read after the kill may settle it" };
    let known = facts.evidence.candidates.iter().filter_map(|it| Some((it.bytes?, it.workload.as_deref()?)));
    let known: Vec<String> = known.map(|(limit, of)| format!("that of {} of {of}", bytes(limit))).collect();
    let sentence = match known.as_slice() {
        [] => format!(
            "The limit of {workload} or of a cgroup above it was hit, but not known which: this kernel does not report it, and the limits that could be read do not settle it"
        ),
        [one] => {
            format!("A limit was hit, {one} or one that was not read yet: this kernel does not report which{later}")
        }
        [several @ .., last] => format!(
            "One of these limits was hit, {} or {last}: this kernel does not report which{later}",
            several.join(", ")
        ),
    };
    (sentence, "Check the kernel log (dmesg): it names the cgroup whose limit was hit after “oom_memcg=”.".to_owned())
}
