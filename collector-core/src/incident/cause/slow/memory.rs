//! Slow for want of memory: files are read again, memory is swapped, or must be reclaimed before it can be allocated.

use super::{BOTH, both, numbers, shown};
use crate::amount::{bytes, percent};
use crate::incident::Kind;
use crate::incident::cause::facts::Facts;
use crate::incident::cause::{Finding, Rule};
use crate::view::slow::Fact;

/// Pages that are read again explain slowness from so many bytes per second.
const AGAIN_BY: f64 = 1e6;
/// Reclaim explains it from so many seconds of all tasks per second.
const RECLAIM_BY: f64 = 0.02;
/// A workload is at its limit, or at its memory.high, from these shares.
const AT_LIMIT: f64 = 0.9;
const AT_HIGH_SHARE: f64 = 0.95;
/// … or, as a mean of a time in which it grew, from this one, if it was at its limit so often a second.
const GREW_TO_LIMIT: f64 = 0.75;
const LIMIT_EVENTS: f64 = 1.0;
/// A host with less than this share available is short of memory.
const SHORT: f64 = 0.1;
/// The host reclaims for itself from so many bytes per second.
const RECLAIMED_BY: f64 = 1e6;

/// What presses memory out of the workload.
enum Pressed {
    Limit(f64),
    High(f64),
    Host,
    Unknown,
}

fn pressed(facts: &Facts<'_>) -> Pressed {
    let memory = facts.now(Fact::Memory);
    let at =
        |limit: Option<f64>, share: f64| limit.filter(|limit| memory.is_some_and(|memory| memory >= share * limit));
    let often = facts.now(Fact::LimitEvents).is_some_and(|events| events >= LIMIT_EVENTS);
    let limited = if often { GREW_TO_LIMIT } else { AT_LIMIT };
    let short = facts.now(Fact::HostAvailable).is_some_and(|available| available < SHORT)
        || facts.worse(Fact::HostReclaimed, RECLAIMED_BY).is_some();
    match () {
        () if at(facts.now(Fact::MemoryHigh), AT_HIGH_SHARE).is_some() => {
            Pressed::High(facts.now(Fact::MemoryHigh).unwrap_or(0.0))
        }
        () if at(facts.now(Fact::MemoryLimit), limited).is_some() => {
            Pressed::Limit(facts.now(Fact::MemoryLimit).unwrap_or(0.0))
        }
        () if short => Pressed::Host,
        () => Pressed::Unknown,
    }
}

impl Pressed {
    /// `: it is at its own limit of 1 GiB`.
    fn text(&self, facts: &Facts<'_>) -> String {
        let changed = |fact: Fact, now: f64| match facts.usual(fact) {
            Some(before) if (before - now).abs() > 0.01 * now => format!(" (before: {})", bytes(before as u64)),
            None => " (before: none)".to_owned(),
            Some(_) => String::new(),
        };
        match *self {
            Pressed::Limit(limit) => {
                format!(": it is at its own limit of {}{}", bytes(limit as u64), changed(Fact::MemoryLimit, limit))
            }
            Pressed::High(high) => {
                format!(": it is at its memory.high of {}{}", bytes(high as u64), changed(Fact::MemoryHigh, high))
            }
            Pressed::Host => format!(": the host is short of memory{}{}", available(facts), grew(facts)),
            Pressed::Unknown => String::new(),
        }
    }

    fn next(&self, facts: &Facts<'_>) -> String {
        match self {
            Pressed::Limit(_) => "Raise its memory limit by what it reads again, or use a smaller model, a shorter context or a smaller cache.".to_owned(),
            Pressed::High(_) => "Raise memory.high (MemoryHigh=; in Kubernetes it follows from the memory limit), or lower its memory use.".to_owned(),
            Pressed::Host => match growing(facts) {
                Some((name, _)) => format!("Limit or move {name}, or protect {} (memory.low, MemoryLow=).", facts.slowed()),
                None => format!("Check who holds the host's memory (headroom workloads), and protect {} (memory.low, MemoryLow=).", facts.slowed()),
            },
            Pressed::Unknown => format!("Check the limits above {} (headroom workloads), and who else uses the host's memory.", facts.slowed()),
        }
    }
}

fn available(facts: &Facts<'_>) -> String {
    facts
        .now(Fact::HostAvailable)
        .map_or(String::new(), |available| format!(", {} of it available", percent(available)))
}

/// The neighbour that grew most.
fn growing<'a>(facts: &Facts<'a>) -> Option<(&'a str, u64)> {
    let neighbours = &facts.evidence.slow.as_ref()?.neighbours;
    let most = neighbours.iter().filter(|it| it.growth_bytes > Some(0)).max_by_key(|it| it.growth_bytes)?;
    Some((&most.workload, most.growth_bytes?.unsigned_abs()))
}

fn grew(facts: &Facts<'_>) -> String {
    growing(facts).map_or(String::new(), |(name, growth)| format!("; {name} grew by {}", bytes(growth)))
}

const MEMORY: &[Fact] = &[Fact::Memory, Fact::MemoryLimit, Fact::MemoryHigh, Fact::File, Fact::HostAvailable];

pub(in crate::incident::cause) const READ_AGAIN: Rule = Rule {
    name: "read_again",
    kinds: BOTH,
    when: "At least 1 MB a second more of its file pages than before was dropped from memory and soon read again, half as much again, and no more came back from swap: of a model server the weights of a mapped model, of other work its data set.",
    find: |facts| {
        let worse = facts.worse(Fact::RefaultFile, AGAIN_BY)?;
        // Whoever swaps reads some of its program again as well.
        let swaps = facts.worse(Fact::RefaultAnon, AGAIN_BY);
        if swaps.is_some_and(|swaps| swaps.now > worse.now) {
            return None;
        }
        let what = match facts.incident.kind {
            Kind::Latency => "weights, most likely: a mapped model that does not stay in memory",
            _ => "its data does not stay in the page cache",
        };
        let faults = facts
            .worse(Fact::MajorFaults, 1.0)
            .map_or(String::new(), |faults| format!(", with {} major faults", both(Fact::MajorFaults, faults)));
        let pressed = pressed(facts);
        Some(Finding {
            sentence: format!(
                "{} reads files again that were just dropped from memory ({what}): {}{faults}{}",
                facts.slowed(),
                both(Fact::RefaultFile, worse),
                pressed.text(facts),
            ),
            next: pressed.next(facts),
            numbers: [numbers(facts, &[Fact::RefaultFile, Fact::MajorFaults, Fact::Read]), numbers(facts, MEMORY)]
                .concat(),
        })
    },
};

pub(in crate::incident::cause) const SWAP: Rule = Rule {
    name: "swapped",
    kinds: BOTH,
    when: "At least 1 MB a second more of its own pages than before came back from swap, half as much again (refaults of anonymous memory).",
    find: |facts| {
        let worse = facts.worse(Fact::RefaultAnon, AGAIN_BY)?;
        let pressed = pressed(facts);
        Some(Finding {
            sentence: format!(
                "Memory of {} is swapped out and needed again: {} came back{}{}",
                facts.slowed(),
                both(Fact::RefaultAnon, worse),
                facts
                    .now(Fact::Swap)
                    .map_or(String::new(), |swap| format!(", {} of it are in swap", shown(Fact::Swap, swap))),
                pressed.text(facts),
            ),
            next: format!(
                "{} To keep it out of swap: memory.swap.max 0 (MemorySwapMax=0), or lock it (mlock).",
                pressed.next(facts)
            ),
            numbers: [numbers(facts, &[Fact::RefaultAnon, Fact::Swap, Fact::HostSwapIn]), numbers(facts, MEMORY)]
                .concat(),
        })
    },
};

pub(in crate::incident::cause) const AT_HIGH: Rule = Rule {
    name: "at_memory_high",
    kinds: BOTH,
    when: "It is at its memory.high, and the kernel throttled it there more often than before, or its tasks spent more time in reclaim.",
    find: |facts| {
        let (memory, high) = (facts.now(Fact::Memory)?, facts.now(Fact::MemoryHigh)?);
        let throttled = facts.worse(Fact::HighEvents, 0.1);
        let reclaims = facts.worse(Fact::Reclaim, RECLAIM_BY);
        let reason = match (throttled, reclaims) {
            (_, Some(reclaims)) => {
                format!("its tasks spent {} s of each second in reclaim", both(Fact::Reclaim, reclaims))
            }
            (Some(throttled), None) => format!("it was throttled {}", both(Fact::HighEvents, throttled)),
            (None, None) => return None,
        };
        (memory >= AT_HIGH_SHARE * high).then(|| Finding {
            sentence: format!(
                "{} is at its memory.high of {} ({} in use), so the kernel makes it reclaim and wait: {reason}",
                facts.slowed(),
                bytes(high as u64),
                bytes(memory as u64),
            ),
            next: Pressed::High(high).next(facts),
            numbers: [numbers(facts, &[Fact::HighEvents, Fact::Reclaim]), numbers(facts, MEMORY)].concat(),
        })
    },
};

pub(in crate::incident::cause) const RECLAIM: Rule = Rule {
    name: "reclaim",
    kinds: BOTH,
    when: "Its tasks spent at least 20 ms of each second more in reclaim or compaction than before, half as much again (where no program sees that, some task of it waited for memory in a tenth of the time more).",
    find: |facts| {
        let reclaims = facts.worse(Fact::Reclaim, RECLAIM_BY).map(|worse| (Fact::Reclaim, "reclaim", worse));
        let compacts =
            || facts.worse(Fact::Compaction, RECLAIM_BY).map(|worse| (Fact::Compaction, "compaction", worse));
        let waits = || {
            let worse = facts.worse(Fact::MemoryWaiting, 0.1)?;
            Some(format!("some task of it waited for memory in {} of the time", both(Fact::MemoryWaiting, worse)))
        };
        let stalls = reclaims
            .or_else(compacts)
            .map(|(fact, what, worse)| format!("its tasks spent {} s of each second in {what}", both(fact, worse)));
        let reason = stalls.or_else(waits)?;
        let pressed = pressed(facts);
        Some(Finding {
            sentence: format!(
                "{} must free memory before it can allocate: {reason}{}",
                facts.slowed(),
                pressed.text(facts)
            ),
            next: pressed.next(facts),
            numbers: [
                numbers(facts, &[Fact::Reclaim, Fact::Compaction, Fact::MemoryWaiting, Fact::HostReclaimed]),
                numbers(facts, MEMORY),
            ]
            .concat(),
        })
    },
};
