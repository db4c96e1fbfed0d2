//! Causes of OOM kills on a host that is out of memory.

use super::facts::{Facts, grown};
use super::neighbour::{GREW, held};
use super::oom::KINDS;
use super::{Finding, Rule};
use crate::amount::bytes;
use crate::incident::Consumer;

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
