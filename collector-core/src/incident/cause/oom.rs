//! Causes of OOM kills at the workload's own limit, by how its memory grew; and what is said if no rule applies.

use super::facts::Facts;
use super::{Finding, Rule};
use crate::amount::{bytes, percent, seconds};
use crate::incident::Kind;
use crate::incident::shape::Shape;
use crate::series::Series;
use crate::signal::oom::Scope;

pub(super) const KINDS: &[Kind] = &[Kind::Oom];

pub(super) const SUDDEN_SPIKE: Rule = Rule {
    name: "sudden_spike",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Its memory rose by 30 % of the limit or more within 10 s, three times as fast as before; or it rose evenly, and fast enough to fill the limit within a minute.",
    find: |facts| {
        let hit = facts.own()?;
        let Shape::Spike { growth, seconds: took } = facts.shape(hit.bytes) else { return None };
        Some(Finding {
            sentence: format!(
                "{} grew by {} within {} and hit its own limit of {}",
                hit.workload, bytes(growth as u64), seconds(took), bytes(hit.bytes),
            ),
            next: "Find out what it started at that time (loading a model, a large request, a batch). If that is normal, raise the limit to leave room for it.".to_owned(),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("growth_bytes", Some(growth)),
                ("growth_seconds", Some(took)),
            ],
        })
    },
};

pub(super) const SLOW_LEAK: Rule = Rule {
    name: "slow_leak",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Its memory rose in a straight line for 15 s or longer, by 3 % or more, and so slowly that it takes more than a minute to fill the limit.",
    find: |facts| {
        let hit = facts.own()?;
        let Shape::Leak { growth, seconds: took } = facts.shape(hit.bytes) else { return None };
        let rate = growth / took;
        Some(Finding {
            sentence: format!(
                "{} grew steadily, by {} in the last {} ({}/s), until it hit its own limit of {}: this looks like a leak",
                hit.workload,
                bytes(growth as u64),
                seconds(took),
                bytes(rate as u64),
                bytes(hit.bytes),
            ),
            next: "Check whether it also grows without new work. If so, a higher limit only delays the next kill."
                .to_owned(),
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
    when: "The victim's workload hit its own limit. Its memory had been within a tenth of the limit for 15 s or longer.",
    find: |facts| {
        let hit = facts.own()?;
        let Shape::Steady { seconds: took } = facts.shape(hit.bytes) else { return None };
        let stalled: f64 = facts.points(Series::Stalls).iter().map(|(_, stalls)| stalls).sum();
        let waited =
            if stalled >= 0.1 { format!("; its tasks spent {} in reclaim", seconds(stalled)) } else { String::new() };
        Some(Finding {
            sentence: format!(
                "{} had been at its own limit of {} for the last {}: the limit is too low for its working set{waited}",
                hit.workload,
                bytes(hit.bytes),
                seconds(took),
            ),
            next: "Raise the limit, or lower its memory use (fewer workers, smaller batches or caches).".to_owned(),
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
            sentence: format!("{} hit its own limit of {}{read}", hit.workload, bytes(hit.bytes)),
            next: "Compare the limit with its use at peak load, and check its memory over a longer time than a minute."
                .to_owned(),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("used_bytes", hit.limit.used_bytes.map(|bytes| bytes as f64)),
            ],
        })
    },
};

pub(super) fn unknown(facts: &Facts<'_>) -> Finding {
    let workload = facts.workload().unwrap_or("an unknown workload");
    let (sentence, next) = match facts.evidence.scope {
        Some(Scope::Memcg) => {
            let limit = facts.evidence.limit.as_ref();
            let named = limit.and_then(|limit| limit.workload.as_deref());
            match named {
                Some(named) => (
                    format!("{named} hit its limit, but the size of that limit could not be read"),
                    "Check memory.max of that cgroup. If it is gone, check where its limit is configured (unit, container or pod).".to_owned(),
                ),
                None => (
                    format!("The limit of {workload} or of a cgroup above it was hit, but not known which: this kernel does not report it, and the limits that could be read do not settle it"),
                    "Check the kernel log (dmesg): it names the cgroup whose limit was hit after “oom_memcg=”.".to_owned(),
                ),
            }
        }
        Some(Scope::Host) => (
            "The host ran out of memory, but no workload is charged with enough of it to explain that".to_owned(),
            "Check what the kernel itself holds: MemAvailable, Slab and Unevictable in /proc/meminfo, huge pages, and memory pinned by drivers.".to_owned(),
        ),
        _ => (
            "The kernel did not report whether a memory limit or the host was out of memory".to_owned(),
            "Check the kernel log (dmesg): it is after “constraint=”.".to_owned(),
        ),
    };
    let host = &facts.evidence.host;
    Finding {
        sentence,
        next,
        numbers: vec![
            ("total_bytes", host.total_bytes.filter(|_| facts.is_host()).map(|bytes| bytes as f64)),
            ("available_bytes", host.available_bytes.filter(|_| facts.is_host()).map(|bytes| bytes as f64)),
        ],
    }
}
