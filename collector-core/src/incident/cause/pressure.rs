//! Causes of memory and IO pressure. The workload of the incident is the one that waited most.

use super::facts::{Facts, Reread, grown};
use super::{Finding, Rule};
use crate::amount::{bytes, percent, seconds};
use crate::count::sum;
use crate::incident::{Consumer, Kind};
use crate::series::Series;

pub(super) const MEMORY: &[Kind] = &[Kind::MemoryPressure];
pub(super) const IO: &[Kind] = &[Kind::IoPressure];

/// A workload is at its limit from this share of it.
const NEAR: f64 = 0.9;
/// The host is short of memory if less than this share of it is available.
const SHORT: f64 = 0.1;
/// One workload explains the IO from this share of it.
const MOST: f64 = 0.5;
/// Waiting for memory is named as a cause from this share of the time.
const WAITED: f64 = 0.1;

/// The workload that waited most, with its memory and its limit in bytes, if it is at that limit.
fn at_limit<'a>(facts: &Facts<'a>) -> Option<(&'a str, u64, u64)> {
    let figures = facts.figures()?;
    let (memory, limit) = (figures.memory_bytes?, figures.limit_bytes.filter(|limit| *limit > 0)?);
    (memory as f64 >= NEAR * limit as f64).then_some((&figures.workload, memory, limit))
}

/// How long the workload waited, in seconds and as text: `some task of it waited for 12 s of 60 s`.
pub(super) fn waited(facts: &Facts<'_>) -> Option<(f64, String)> {
    let name = &facts.figures()?.workload;
    let consumer = facts.evidence.consumers.iter().find(|it| it.workload == *name)?;
    let span = seconds(facts.span()?);
    match (consumer.waiting_seconds, consumer.stall_seconds) {
        (Some(waiting), _) if waiting > 0.0 => {
            Some((waiting, format!("at least one of its tasks waited for {} of {span}", seconds(waiting))))
        }
        (_, Some(stalls)) if stalls > 0.0 => {
            Some((stalls, format!("its tasks spent {} of {span} in reclaim, summed over tasks", seconds(stalls))))
        }
        _ => None,
    }
}

pub(super) const PAGE_CACHE_THRASH: Rule = Rule {
    name: "page_cache_thrash",
    kinds: MEMORY,
    when: "The workload that waited most uses 90 % of its own limit or more, half of that or more is page cache (figures at most 30 s old), and it read more than that from disk in the last minute.",
    find: |facts| {
        let (name, memory, limit) = at_limit(facts)?;
        let Reread { cache, share, read } = facts.reread()?;
        Some(Finding {
            sentence: format!(
                "{name} keeps reading data that does not fit into its limit of {}: {} of its memory is page cache, and it read {} in the last minute",
                bytes(limit), percent(share), bytes(read),
            ),
            next: "Raise its limit by the size of what it keeps reading (a mapped model file, for instance), or bypass the page cache (direct IO).".to_owned(),
            numbers: vec![
                ("limit_bytes", Some(limit as f64)),
                ("used_bytes", Some(memory as f64)),
                ("cache_bytes", Some(cache as f64)),
                ("read_bytes", Some(read as f64)),
            ],
        })
    },
};

pub(super) const NEAR_ITS_LIMIT: Rule = Rule {
    name: "near_its_limit",
    kinds: MEMORY,
    when: "The workload that waited most uses 90 % of its own limit or more.",
    find: |facts| {
        let (name, memory, limit) = at_limit(facts)?;
        let (waiting, text) = waited(facts)?;
        Some(Finding {
            sentence: format!(
                "{name} is at its own limit ({} of {}), so its tasks must reclaim memory before they can allocate: {text}",
                bytes(memory),
                bytes(limit),
            ),
            next: "Raise its limit, or lower its memory use. Otherwise an OOM kill may follow.".to_owned(),
            numbers: vec![
                ("limit_bytes", Some(limit as f64)),
                ("used_bytes", Some(memory as f64)),
                ("waiting_seconds", Some(waiting)),
            ],
        })
    },
};

pub(super) const HOST_SHORT: Rule = Rule {
    name: "host_short",
    kinds: MEMORY,
    when: "Less than a tenth of the host's memory is available.",
    find: |facts| {
        let host = &facts.evidence.host;
        let (total, available) = (host.total_bytes.filter(|total| *total > 0)?, host.available_bytes?);
        if available as f64 >= SHORT * total as f64 {
            return None;
        }
        let consumers = &facts.evidence.consumers;
        let grew = consumers.iter().max_by_key(|it| it.growth_bytes);
        let grew = grew.filter(|it| it.growth_bytes.unwrap_or(0) as f64 >= 0.05 * total as f64);
        let who = |who: &Consumer| {
            format!("; {} holds {}{}", who.workload, bytes(who.memory_bytes.unwrap_or(0)), grown(who, facts.span()))
        };
        let most = grew.or_else(|| consumers.iter().max_by_key(|it| it.memory_bytes));
        Some(Finding {
            sentence: format!(
                "The host is short of memory: {} of {} available{}",
                bytes(available),
                bytes(total),
                most.map_or(String::new(), who),
            ),
            next: "Limit or move the workload that holds most. Until then all workloads compete for memory.".to_owned(),
            numbers: vec![
                ("total_bytes", Some(total as f64)),
                ("available_bytes", Some(available as f64)),
                ("top_bytes", most.and_then(|most| most.memory_bytes).map(|bytes| bytes as f64)),
                ("top_growth_bytes", most.and_then(|most| most.growth_bytes).map(|bytes| bytes as f64)),
            ],
        })
    },
};

/// The mean of the known values of a host series.
fn mean(facts: &Facts<'_>, series: Series) -> Option<f64> {
    let line = facts.evidence.history.host.get(series.name())?;
    let known = || line.iter().flatten();
    (known().count() > 0).then(|| known().sum::<f64>() / known().count() as f64)
}

pub(super) const SWAPPING: Rule = Rule {
    name: "io_for_memory",
    kinds: IO,
    when: "At least one task waited for memory for a tenth of the last minute or more, while swap was in use.",
    find: |facts| {
        let waiting = mean(facts, Series::MemoryWaiting).filter(|waiting| *waiting >= WAITED)?;
        let host = &facts.evidence.host;
        let swap = host.swap_total_bytes?.checked_sub(host.swap_free_bytes?).filter(|swap| *swap > 0)?;
        Some(Finding {
            sentence: format!(
                "The disks are busy because memory is short: at least one task waited for memory for {} of the time, and {} are swapped out",
                percent(waiting),
                bytes(swap),
            ),
            next: "Fix the memory first: check which workload is at its limit and which one grew (headroom workloads). The IO will drop with it.".to_owned(),
            numbers: vec![("memory_waiting_ratio", Some(waiting)), ("swap_bytes", Some(swap as f64))],
        })
    },
};

pub(super) const IO_BY_ONE: Rule = Rule {
    name: "io_by_one",
    kinds: IO,
    when: "One workload did half or more of all IO in the last minute.",
    find: |facts| {
        let all = sum(facts.evidence.consumers.iter().filter_map(|it| it.io_bytes));
        let most = facts.evidence.consumers.iter().max_by_key(|it| it.io_bytes)?;
        let io = most.io_bytes.filter(|io| *io > 0 && *io as f64 >= MOST * all as f64)?;
        Some(Finding {
            sentence: format!(
                "{} did {} of the IO in the last minute: {} read and written",
                most.workload,
                percent(io as f64 / all as f64),
                bytes(io),
            ),
            next: format!("Limit the IO of {} (io.max, IOWeight=), or move it to a disk of its own.", most.workload),
            numbers: vec![("io_bytes", Some(io as f64)), ("all_io_bytes", Some(all as f64))],
        })
    },
};

pub(super) fn unknown(facts: &Facts<'_>) -> Finding {
    let (what, next) = match facts.incident.kind {
        Kind::IoPressure => (
            "IO",
            "Check headroom_block_io_service_seconds: a disk whose times rose without more IO is slow itself, or shared.",
        ),
        _ => (
            "memory",
            "Run `headroom workloads --sort stalls`, and check which workloads reclaim: headroom_workload_reclaimed_bytes_total.",
        ),
    };
    let most = waited(facts)
        .and_then(|(waiting, text)| Some((waiting, format!("; {} most: {text}", facts.figures()?.workload))));
    Finding {
        sentence: format!(
            "Tasks waited for {what}, and no single workload explains it{}",
            most.as_ref().map_or("", |(_, text)| text),
        ),
        next: next.to_owned(),
        numbers: vec![("waiting_seconds", most.as_ref().map(|(waiting, _)| *waiting))],
    }
}
