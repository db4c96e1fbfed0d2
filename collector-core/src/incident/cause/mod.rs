//! Finds the cause of an incident: the first rule that applies. A rule reads only the evidence of that incident, and names the
//! numbers that it rests on. If no rule applies, the cause is [`NOT_KNOWN`].

mod facts;
mod filled;
mod gpu;
mod hold;
mod host;
mod killed;
mod leak;
mod lowered;
mod neighbour;
mod node;
mod oom;
mod parts;
mod pressure;
mod rise;
mod slow;
#[cfg(test)]
mod tests;

use super::{Cause, Incident, Kind};
use facts::Facts;
pub(crate) use pressure::{Role, subject};

#[derive(Debug)]
pub struct Rule {
    pub name: &'static str,
    pub kinds: &'static [Kind],
    /// When it applies, as the documentation says it.
    pub when: &'static str,
    find: fn(&Facts<'_>) -> Option<Finding>,
}

/// All rules, in the order in which they are tried. For a kill: first what makes the other questions pointless (a kill on
/// request, full memory nodes, a limit that was lowered); then who filled a limit that several share; then what filled the
/// workload's own; then how its memory grew; last the host. For pressure: first what a workload's own settings do to it.
/// For slowness: first what the server itself ran out of; then what the workload's memory and its limits do to it, the more special
/// first (who is at its memory.high reclaims as well); then the CPU, GPUs, the disk and the network.
pub const RULES: &[Rule] = &[
    node::REQUESTED,
    node::NODES_FULL,
    lowered::LOWERED,
    filled::PINNED,
    neighbour::LEFT_BEHIND,
    neighbour::PROTECTED,
    neighbour::GROWN_BY_ANOTHER,
    neighbour::PARENTS_LIMIT,
    filled::PAGE_CACHE,
    filled::SHARED_MEMORY,
    filled::KERNEL_MEMORY,
    filled::FILE_PAGES,
    filled::SWAP_FULL,
    oom::STEADY_GROWTH,
    filled::OTHER_PROCESSES,
    oom::SUDDEN_SPIKE,
    oom::LIMIT_TOO_LOW,
    oom::OWN_LIMIT,
    host::HOST_BY_ANOTHER,
    host::HOST_BY_VICTIM,
    hold::FROZEN,
    hold::AT_MEMORY_HIGH,
    pressure::PAGE_CACHE_THRASH,
    pressure::NEAR_ITS_LIMIT,
    pressure::HOST_SHORT,
    hold::AT_IO_MAX,
    pressure::SWAPPING,
    pressure::IO_BY_ONE,
    gpu::XID,
    gpu::DRIVER_GONE,
    killed::BY_A_PROCESS,
    leak::PROCESSES,
    leak::PROCESS,
    slow::server::KV_EXHAUSTED,
    slow::server::QUEUE,
    slow::memory::READ_AGAIN,
    slow::memory::SWAP,
    slow::memory::AT_HIGH,
    slow::memory::RECLAIM,
    slow::cpu::THROTTLED,
    slow::cpu::STEAL,
    slow::cpu::RUN_QUEUE,
    slow::gpu::LINK_DEGRADED,
    slow::gpu::LINK_SATURATED,
    slow::starved::PAGEABLE,
    slow::node::REMOTE,
    slow::gpu::CLOCKS,
    slow::gpu::ERROR,
    slow::gpu::SHARED,
    slow::server::OFFLOAD,
    slow::starved::IO_LIMIT,
    slow::disk::NEIGHBOUR,
    slow::starved::CACHE_MISSES,
    slow::disk::SLOW_DISK,
    slow::network::SATURATED,
];

/// The cause if no rule applies.
pub const NOT_KNOWN: &str = "not_known";

struct Finding {
    sentence: String,
    next: String,
    numbers: Vec<(&'static str, Option<f64>)>,
}

pub fn find(incident: &Incident) -> Cause {
    let facts = Facts::of(incident);
    let rules = RULES.iter().filter(|rule| rule.kinds.contains(&incident.kind));
    let found = rules.filter_map(|rule| Some((rule.name, (rule.find)(&facts)?))).next();
    let (rule, mut finding) = found.unwrap_or_else(|| (NOT_KNOWN, unknown(&facts)));
    if facts.is_unseen() {
        finding.sentence += "; only the kernel's count shows the kill, and not which process it was";
        finding.next += " The kernel log (dmesg) names the process; headroom doctor says why no probe sees kills.";
    }
    let numbers = finding.numbers.into_iter().filter_map(|(name, number)| Some((name.to_owned(), number?)));
    Cause { rule: rule.to_owned(), sentence: finding.sentence, next: finding.next, numbers: numbers.collect() }
}

/// The finding if no rule applies: what is known, and what is missing.
fn unknown(facts: &Facts<'_>) -> Finding {
    match facts.incident.kind {
        Kind::Oom => oom::unknown(facts),
        Kind::MemoryPressure | Kind::IoPressure => pressure::unknown(facts),
        Kind::GpuLost => gpu::unknown(facts),
        Kind::Killed => killed::unknown(facts),
        Kind::Latency | Kind::GpuStarved => slow::unknown(facts),
        Kind::Leak => leak::unknown(facts),
    }
}
