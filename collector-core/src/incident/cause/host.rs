//! Causes of OOM kills on a host that is out of memory.

use super::facts::{Facts, grown};
use super::neighbour::{GREW, growth, held, holds};
use super::oom::KINDS;
use super::{Finding, Rule};
use crate::amount::bytes;
use crate::incident::Consumer;
use crate::incident::ran_out::{self, RanOut};

/// The root cgroup: what is in no service, container or session.
const ROOT: &str = "/";
/// A workload that did not grow filled the host if it holds this share of its memory.
const PART: f64 = 0.25;

/// The workload that filled the host: the one that grew most, if by at least [`GREW`] and if that is known up to the kill; else
/// the one that holds most, if [`PART`] or more. Page cache that can be dropped does not count.
fn filler<'a>(facts: &Facts<'a>) -> Option<(&'a Consumer, u64)> {
    if ran_out::of(facts.incident) != RanOut::Host {
        return None;
    }
    let total = facts.evidence.host.total_bytes?;
    let consumers = &facts.evidence.consumers;
    let part = |number: f64, share: f64| number >= share * total as f64;
    let grew = consumers.iter().max_by_key(|it| growth(facts, it)).filter(|it| {
        let own = Some(it.workload.as_str()) == facts.workload();
        part(growth(facts, it) as f64, GREW) && (own || facts.is_fresh())
    });
    let most = || consumers.iter().max_by_key(|it| holds(it)).filter(|it| part(holds(it) as f64, PART));
    Some((grew.or_else(most)?, total))
}

fn host_finding(facts: &Facts<'_>, filler: &Consumer, total: u64, tail: &str, next: String) -> Finding {
    let held = bytes(filler.memory_bytes.unwrap_or(0));
    let who = match filler.workload.as_str() {
        ROOT => "processes outside of all services and containers (in the root cgroup)",
        name => name,
    };
    Finding {
        sentence: format!(
            "The host ran out of memory: {who} held {held} of its {}{}{tail}{}",
            bytes(total),
            grown(filler, facts.span()),
            facts.asked(),
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
    when: "The host was out of memory. Another workload than the victim's grew most in the last minute, by a tenth of the host's memory or more; or, if none grew that much, it holds most, a quarter or more. Page cache that can be dropped does not count.",
    find: |facts| {
        let workload = facts.workload().filter(|_| facts.is_host())?;
        let (filler, total) = filler(facts).filter(|(filler, _)| filler.workload != workload)?;
        let own = facts.evidence.consumers.iter().find(|it| it.workload == workload);
        let next = match filler.workload.as_str() {
            ROOT => "Find these processes (ps -eo pid,rss,comm,cgroup --sort -rss), and start them in a unit or container of their own, which can be limited. The victim was only the process that the kernel picked.".to_owned(),
            name => format!("Limit the memory of {name} (MemoryMax=, a container's limit), or move it to another host. The victim was only the process that the kernel picked."),
        };
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
        let next = match workload {
            ROOT => {
                "Find out why it grew (headroom workloads, ps -eo pid,rss,comm,cgroup --sort -rss), and start it in a unit or container of its own, which can be limited."
            }
            _ => {
                "Find out why it grew. Lower its memory use (fewer workers, smaller batches or caches), or move it to a host with more memory. A memory limit keeps its next kill from hitting others."
            }
        };
        Some(host_finding(facts, filler, total, "", next.to_owned()))
    },
};
