//! Causes of OOM kills.

use super::facts::{Facts, Reread, grown};
use super::{Finding, Rule};
use crate::amount::{bytes, percent, seconds};
use crate::incident::shape::Shape;
use crate::incident::{Consumer, Kind};
use crate::series::Series;
use crate::signal::oom::Scope;

const KINDS: &[Kind] = &[Kind::Oom];

/// Pinned memory is named as a cause from this share of the limit, or of the host's memory.
const PINNED_SHARE: f64 = 0.25;
/// A workload counts as grown from this share of the limit, or of the host's memory.
const GREW: f64 = 0.1;

pub(super) const PINNED: Rule = Rule {
    name: "pinned_memory",
    kinds: KINDS,
    when: "The victim's workload had pinned a quarter or more of its limit (or of the host's memory) for GPUs, and pinned memory made up half or more of its growth.",
    find: |facts| {
        let figures = facts.figures()?;
        let pinned = figures.pinned_bytes?;
        let (whole, of) = match facts.own() {
            Some(hit) => (hit.bytes, "its limit"),
            None if facts.is_host() => (facts.evidence.host.total_bytes?, "the host's memory"),
            None => return None,
        };
        let growth = |series| {
            let points = facts.points(series);
            Some(points.last()?.1 - points.first()?.1)
        };
        let (grew, memory) = (growth(Series::Pinned)?, growth(Series::Memory)?);
        let share = pinned as f64 / whole as f64;
        if share < PINNED_SHARE || grew <= 0.0 || grew < memory / 2.0 {
            return None;
        }
        Some(Finding {
            sentence: format!(
                "{} had pinned {} of host memory for GPUs, {} of {of}, up by {} in the last minute. Pinned memory can neither be swapped nor dropped",
                figures.workload, bytes(pinned), percent(share), bytes(grew as u64),
            ),
            next: "Check for pinned buffers that are allocated repeatedly (offloading, data loaders with pin_memory). Shrink the pool, or raise the limit by what must stay pinned.".to_owned(),
            numbers: vec![
                ("pinned_bytes", Some(pinned as f64)),
                ("pinned_growth_bytes", Some(grew)),
                ("whole_bytes", Some(whole as f64)),
            ],
        })
    },
};

/// The other workload within the limit that grew most, if it grew at least twice as much as the victim's and holds more;
/// and the victim's.
fn other<'a>(facts: &Facts<'a>, among: &'a [Consumer], whole: u64) -> Option<(&'a Consumer, Option<&'a Consumer>)> {
    let workload = facts.workload()?;
    let growth = |consumer: &Consumer| consumer.growth_bytes.unwrap_or(0);
    let other = among.iter().filter(|it| it.workload != workload).max_by_key(|it| growth(it))?;
    let own = among.iter().find(|it| it.workload == workload);
    let own_growth = own.map_or(0, growth).max(0);
    let more = other.memory_bytes > own.and_then(|own| own.memory_bytes);
    (growth(other) as f64 >= GREW * whole as f64 && growth(other) >= 2 * own_growth && more).then_some((other, own))
}

/// What the victim's workload held, and why the kernel picked it nevertheless.
fn held(facts: &Facts<'_>, own: Option<&Consumer>) -> String {
    let Some(victim) = facts.victim() else { return String::new() };
    let held = own.and_then(|own| own.memory_bytes).map_or(String::new(), |held| format!(" held {}", bytes(held)));
    let chosen = match victim.score_adj {
        adj if adj > 0 => format!("; the kernel picked {}, whose oom_score_adj is {adj}", victim.comm),
        _ => String::new(),
    };
    match held.is_empty() {
        true => chosen,
        false => format!(", while {}{held}{chosen}", facts.workload().unwrap_or("the victim's workload")),
    }
}

pub(super) const GROWN_BY_ANOTHER: Rule = Rule {
    name: "grown_by_another",
    kinds: KINDS,
    when: "A cgroup above the victim's workload hit its limit. Another workload below that cgroup holds more memory than the victim's, and grew in the last minute by a tenth of the limit or more, and at least twice as much as the victim's.",
    find: |facts| {
        let hit = facts.hit().filter(|hit| !hit.limit.own)?;
        let (other, own) = other(facts, &facts.evidence.within, hit.bytes)?;
        let grown = grown(other, facts.span());
        Some(Finding {
            sentence: format!(
                "{} filled the limit of {} that all workloads in {} share: it held {}{grown}{}",
                other.workload,
                bytes(hit.bytes),
                hit.workload,
                bytes(other.memory_bytes.unwrap_or(0)),
                held(facts, own),
            ),
            next: format!(
                "Give {} a limit of its own, below that of {}, or find out why it grew. The victim did nothing wrong.",
                other.workload, hit.workload,
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("other_bytes", other.memory_bytes.map(|bytes| bytes as f64)),
                ("other_growth_bytes", other.growth_bytes.map(|bytes| bytes as f64)),
                ("victim_workload_bytes", own.and_then(|own| own.memory_bytes).map(|bytes| bytes as f64)),
            ],
        })
    },
};

pub(super) const PARENTS_LIMIT: Rule = Rule {
    name: "parents_limit",
    kinds: KINDS,
    when: "A cgroup above the victim's workload hit its limit.",
    find: |facts| {
        let hit = facts.hit().filter(|hit| !hit.limit.own)?;
        let workload = facts.workload().unwrap_or("the victim's workload");
        let top = facts.evidence.within.first().filter(|top| top.memory_bytes.is_some());
        let most = match top {
            Some(top) => {
                let held = bytes(top.memory_bytes.unwrap_or(0));
                format!("; {} held most of it when last read: {held}{}", top.workload, grown(top, facts.span()))
            }
            None => "; the workloads in it were not read before the kill".to_owned(),
        };
        Some(Finding {
            sentence: format!(
                "The limit of {} was hit, not that of {workload} itself: all workloads in it share {}{most}",
                hit.workload,
                bytes(hit.bytes)
            ),
            next: format!(
                "Raise the limit of {}, or give each workload in it a limit, so that the sum fits.",
                hit.workload
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("used_bytes", hit.limit.used_bytes.map(|bytes| bytes as f64)),
                ("top_bytes", top.and_then(|top| top.memory_bytes).map(|bytes| bytes as f64)),
            ],
        })
    },
};

pub(super) const PAGE_CACHE: Rule = Rule {
    name: "page_cache",
    kinds: KINDS,
    when: "The victim's workload hit its own limit. Half or more of its memory was page cache (figures at most 30 s old), and it read more than that from disk in the last minute.",
    find: |facts| {
        let hit = facts.own()?;
        let Reread { cache, share, read } = facts.reread()?;
        Some(Finding {
            sentence: format!(
                "{} of the memory of {} was page cache, and it read {} in the last minute: its data does not fit into its limit of {}, so it keeps dropping and reading it",
                percent(share), hit.workload, bytes(read), bytes(hit.bytes),
            ),
            next: "Raise the limit by the size of what it keeps reading, or bypass the page cache (direct IO). Check whether it has many dirty or locked pages, which cannot be dropped.".to_owned(),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("cache_bytes", Some(cache as f64)),
                ("read_bytes", Some(read as f64)),
            ],
        })
    },
};

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

/// The workload that filled the host: the one that grew most, if by at least [`GREW`]; else the one that holds most, if a
/// quarter or more.
fn filler<'a>(facts: &Facts<'a>) -> Option<(&'a Consumer, u64)> {
    let total = facts.evidence.host.total_bytes?;
    let consumers = &facts.evidence.consumers;
    let part = |number: i64, share: f64| number as f64 >= share * total as f64;
    let grew = consumers.iter().max_by_key(|it| it.growth_bytes).filter(|it| part(it.growth_bytes.unwrap_or(0), GREW));
    let holds = || consumers.iter().max_by_key(|it| it.memory_bytes);
    let holds = || holds().filter(|it| part(it.memory_bytes.unwrap_or(0) as i64, 0.25));
    Some((grew.or_else(holds)?, total))
}

fn host_finding(facts: &Facts<'_>, filler: &Consumer, total: u64, tail: &str, next: String) -> Finding {
    let held = bytes(filler.memory_bytes.unwrap_or(0));
    Finding {
        sentence: format!(
            "The host ran out of memory: {} held {held} of its {}{}{tail}",
            filler.workload,
            bytes(total),
            grown(filler, facts.span()),
        ),
        next,
        numbers: vec![
            ("total_bytes", Some(total as f64)),
            ("available_bytes", facts.evidence.host.available_bytes.map(|bytes| bytes as f64)),
            ("held_bytes", filler.memory_bytes.map(|bytes| bytes as f64)),
            ("growth_bytes", filler.growth_bytes.map(|bytes| bytes as f64)),
        ],
    }
}

pub(super) const HOST_BY_ANOTHER: Rule = Rule {
    name: "host_exhausted_by_another",
    kinds: KINDS,
    when: "The host was out of memory. Another workload than the victim's grew most in the last minute, by a tenth of the host's memory or more; or, if none grew that much, it holds most, a quarter or more.",
    find: |facts| {
        let workload = facts.workload().filter(|_| facts.is_host())?;
        let (filler, total) = filler(facts).filter(|(filler, _)| filler.workload != workload)?;
        let own = facts.evidence.consumers.iter().find(|it| it.workload == workload);
        let next = format!(
            "Limit the memory of {} (MemoryMax=, a container's limit), or move it to another host. The victim was only the process that the kernel picked.",
            filler.workload
        );
        Some(host_finding(facts, filler, total, &held(facts, own), next))
    },
};

pub(super) const HOST_BY_VICTIM: Rule = Rule {
    name: "host_exhausted",
    kinds: KINDS,
    when: "The host was out of memory. The victim's workload grew most, or holds most (as above).",
    find: |facts| {
        let workload = facts.workload().filter(|_| facts.is_host())?;
        let (filler, total) = filler(facts).filter(|(filler, _)| filler.workload == workload)?;
        let next = format!(
            "Limit the memory of {workload} (MemoryMax=, a container's limit) to what the host can spare, so that only it fails next time."
        );
        Some(host_finding(facts, filler, total, "", next))
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
