//! Causes of memory and IO pressure, and the one workload that label, title and sentence of such an incident are about.

use super::facts::{Facts, Reread, grown, total};
use super::{Finding, Rule};
use crate::amount::{bytes, percent, seconds};
use crate::count::sum;
use crate::incident::{Consumer, Evidence, Host, Incident, Kind};
use crate::series::Series;
use crate::view::host::Memory;

pub(super) const MEMORY: &[Kind] = &[Kind::MemoryPressure];
pub(super) const IO: &[Kind] = &[Kind::IoPressure];
const BOTH: &[Kind] = &[Kind::MemoryPressure, Kind::IoPressure];

/// A workload is at its limit from this share of it.
const NEAR: f64 = 0.9;
/// One workload explains the IO from this share of it.
const MOST: f64 = 0.5;
/// Waiting for memory is named as a cause from this share of the time.
const WAITED: f64 = 0.1;

/// A workload that holds or grew by this share of the host's memory explains why it is short.
const GREW: f64 = 0.05;

/// What makes a workload the subject of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It waited longest.
    Waits,
    /// It did most of the IO.
    Uses,
    /// It took most of the memory of a host that is short of it.
    Holds,
}

/// The workload that an incident is about: the one that explains it, if one does, else the one that waited longest.
pub(crate) fn subject(incident: &Incident) -> Option<(String, Role)> {
    let facts = Facts::of(incident);
    let consumers = &facts.evidence.consumers;
    let waited = |it: &&Consumer| {
        let stalls = it.stall_seconds.filter(|_| incident.kind == Kind::MemoryPressure);
        it.waiting_seconds > Some(0.0) || stalls > Some(0.0)
    };
    let waits = consumers.first().filter(waited);
    let (explains, role) = match incident.kind {
        Kind::IoPressure => (most_io(&facts).map(|(most, ..)| most), Role::Uses),
        _ => {
            let at_limit = |it: &Consumer| is_near(it.memory_bytes, it.limit_bytes);
            let own = waits.is_some_and(at_limit);
            (
                short(&facts.evidence.host).filter(|_| !own).and_then(|(total, _)| took(facts.evidence, total)),
                Role::Holds,
            )
        }
    };
    let name = |it: &Consumer, role| (it.workload.clone(), role);
    explains.map(|it| name(it, role)).or(waits.map(|it| name(it, Role::Waits)))
}

fn is_near(memory: Option<u64>, limit: Option<u64>) -> bool {
    memory.zip(limit.filter(|limit| *limit > 0)).is_some_and(|(memory, limit)| memory as f64 >= NEAR * limit as f64)
}

/// Total and available memory of a host that is short of it.
fn short(host: &Host) -> Option<(u64, u64)> {
    let memory = Memory { total: host.total_bytes?, available: host.available_bytes? };
    memory.is_short().then_some((memory.total, memory.available))
}

/// The workload that took the host's memory: the one that grew most, if by a lot, else the largest.
fn took(evidence: &Evidence, total: u64) -> Option<&Consumer> {
    let grew = evidence.consumers.iter().max_by_key(|it| it.growth_bytes);
    let grew = grew.filter(|it| it.growth_bytes.unwrap_or(0) as f64 >= GREW * total as f64);
    grew.or_else(|| evidence.consumers.iter().filter(|it| it.memory_bytes.is_some()).max_by_key(|it| it.memory_bytes))
}

/// The workload that did most of the host's IO, the bytes of it, and all bytes.
fn most_io<'a>(facts: &Facts<'a>) -> Option<(&'a Consumer, u64, u64)> {
    let consumers = &facts.evidence.consumers;
    let most = consumers.iter().max_by_key(|it| it.io_bytes)?;
    let host = [Series::Read, Series::Write].map(|series| total(&facts.host_points(series)));
    let host = host.into_iter().flatten().reduce(u64::saturating_add);
    let all = host.unwrap_or(0).max(sum(consumers.iter().filter_map(|it| it.io_bytes)));
    let io = most.io_bytes.filter(|io| *io > 0 && *io as f64 >= MOST * all as f64)?;
    Some((most, io, all))
}

/// The workload of the incident, with its memory and its limit in bytes, if it is at that limit.
fn at_limit<'a>(facts: &Facts<'a>) -> Option<(&'a str, u64, u64)> {
    let figures = facts.figures()?;
    let (memory, limit) = (figures.memory_bytes?, figures.limit_bytes?);
    is_near(Some(memory), Some(limit)).then_some((&figures.workload, memory, limit))
}

/// The workload of the incident among those that waited.
pub(super) fn consumer<'a>(facts: &Facts<'a>) -> Option<&'a Consumer> {
    let name = &facts.figures()?.workload;
    facts.evidence.consumers.iter().find(|it| it.workload == *name)
}

/// How long the workload waited, in seconds and as text: `some task of it waited for 12 s of 60 s`.
pub(super) fn waited(facts: &Facts<'_>) -> Option<(f64, String)> {
    let consumer = consumer(facts)?;
    let span = seconds(facts.span()?);
    let stalls = consumer.stall_seconds.filter(|_| facts.incident.kind == Kind::MemoryPressure);
    match (consumer.waiting_seconds, stalls) {
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
    kinds: BOTH,
    when: "Half of the workload's memory or more is page cache (figures at most 30 s old), it read more than that from disk during the storm, and it uses 90 % of its own limit or more. For IO pressure it is enough that tasks waited for memory for a tenth of the storm.",
    find: |facts| {
        let Reread { cache, share, read } = facts.reread()?;
        let span = seconds(facts.span()?);
        let figures = facts.figures()?;
        let name = &figures.workload;
        let (what, limit) = match at_limit(facts) {
            Some((_, _, limit)) => (format!("its limit of {}", bytes(limit)), Some(limit)),
            None => {
                mean(facts, Series::MemoryWaiting)
                    .filter(|waiting| facts.incident.kind == Kind::IoPressure && *waiting >= WAITED)?;
                ("memory".to_owned(), None)
            }
        };
        Some(Finding {
            sentence: format!(
                "{name} keeps reading data that does not fit into {what}: {} of its memory is page cache, and it read {} in {span}",
                percent(share), bytes(read),
            ),
            next: match limit {
                Some(_) => "Raise its limit by the size of what it keeps reading (a mapped model file, for instance), or bypass the page cache (direct IO).",
                None => "Leave it more memory: move or limit what else takes the host's memory, or use a smaller model. To limit its IO makes it slower still.",
            }.to_owned(),
            numbers: vec![
                ("limit_bytes", limit.map(|limit| limit as f64)),
                ("used_bytes", figures.memory_bytes.map(|memory| memory as f64)),
                ("cache_bytes", Some(cache as f64)),
                ("read_bytes", Some(read as f64)),
            ],
        })
    },
};

pub(super) const NEAR_ITS_LIMIT: Rule = Rule {
    name: "near_its_limit",
    kinds: MEMORY,
    when: "The workload of the incident waited, and uses 90 % of its own limit or more, at the height of the storm.",
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
    when: "Less than a tenth of the host's memory is available at the height of the storm.",
    find: |facts| {
        let (total, available) = short(&facts.evidence.host)?;
        let who = |who: &Consumer| {
            format!("; {} holds {}{}", who.workload, bytes(who.memory_bytes.unwrap_or(0)), grown(who, facts.span()))
        };
        let most = took(facts.evidence, total);
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

/// The mean of the known values of a host series, while the storm lasted.
fn mean(facts: &Facts<'_>, series: Series) -> Option<f64> {
    let points = facts.host_points(series);
    (!points.is_empty()).then(|| points.iter().map(|(_, value)| value).sum::<f64>() / points.len() as f64)
}

pub(super) const SWAPPING: Rule = Rule {
    name: "io_for_memory",
    kinds: IO,
    when: "At least one task waited for memory for a tenth of the storm or more, while swap was in use.",
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
    when: "One workload did half or more of the host's IO during the storm.",
    find: |facts| {
        let (most, io, all) = most_io(facts)?;
        let other = facts.evidence.consumers.first().filter(|it| it.waiting_seconds > Some(0.0));
        let other = other.filter(|it| it.workload != most.workload);
        Some(Finding {
            sentence: format!(
                "{} did {} of the host's IO: {} read and written in {}{}",
                most.workload,
                percent(io as f64 / all as f64),
                bytes(io),
                seconds(facts.span()?),
                other.map_or(String::new(), |it| format!("; {} waited longest", it.workload)),
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
