//! Causes of OOM kills without a shortage of the host or of a limit: memory nodes that are full, and kills on request.

use super::facts::Facts;
use super::oom::KINDS;
use super::{Finding, Rule};
use crate::amount::bytes;
use crate::incident::ran_out::{self, RanOut};
use crate::signal::oom::Constraint;

pub(super) const REQUESTED: Rule = Rule {
    name: "requested",
    kinds: KINDS,
    when: "Somebody asked the kernel for an OOM kill (SysRq f). Nothing had run out of memory.",
    find: |facts| {
        let asked = ran_out::of(facts.incident) == RanOut::Nothing;
        asked.then(|| Finding {
            sentence: "Somebody asked the kernel for an OOM kill (SysRq f); nothing had run out of memory".to_owned(),
            next: "Check who may write to /proc/sysrq-trigger or has the console; kernel.sysrq switches it off."
                .to_owned(),
            numbers: memory(facts),
        })
    },
};

pub(super) const NODES_FULL: Rule = Rule {
    name: "nodes_full",
    kinds: KINDS,
    when: "The memory nodes that the victim may use (cpuset or memory policy) were full, not the host. Where the kernel does not report it: a tenth or more of the host's memory was available.",
    find: |facts| {
        let RanOut::Nodes(constraint) = ran_out::of(facts.incident) else { return None };
        let host = &facts.evidence.host;
        let asked = facts.victim().map(|victim| format!("{} ({})", victim.trigger.comm, victim.trigger.pid));
        let asked = asked.unwrap_or_else(|| "the process".to_owned());
        let had = match (host.available_bytes, host.total_bytes) {
            (Some(available), Some(total)) => format!("{} of {}", bytes(available), bytes(total)),
            _ => "memory".to_owned(),
        };
        let (sentence, check) = match constraint {
            Some(Constraint::Cpuset) => (
                format!("The memory nodes in the cpuset of {asked} were full, while the host had {had} available"),
                "Check cpuset.mems of its cgroup",
            ),
            Some(_) => (
                format!(
                    "The memory nodes in the memory policy of {asked} were full, while the host had {had} available"
                ),
                "Check what sets the policy (numactl --membind, mbind, set_mempolicy)",
            ),
            None => (
                format!(
                    "The host still had {had} available, so it was not out of memory as a whole. Most likely the memory nodes that {asked} may use (cpuset or memory policy) were full: this kernel does not report it"
                ),
                "The kernel log (dmesg) has it after “constraint=” and “nodemask=”. Check cpuset.mems of its cgroup, and what sets a memory policy (numactl --membind, mbind)",
            ),
        };
        Some(Finding {
            sentence,
            next: format!(
                "{check}, and how full each node is: numastat -m. Allow more nodes, or prefer a node instead of binding to it."
            ),
            numbers: memory(facts),
        })
    },
};

fn memory(facts: &Facts<'_>) -> Vec<(&'static str, Option<f64>)> {
    let host = &facts.evidence.host;
    let number = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    vec![("total_bytes", number(host.total_bytes)), ("available_bytes", number(host.available_bytes))]
}
