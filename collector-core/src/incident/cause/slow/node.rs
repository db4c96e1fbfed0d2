//! Slow because memory or CPUs are far from the GPU: in another memory node (NUMA).

use super::{BOTH, both, numbers, shown};
use crate::incident::cause::facts::Facts;
use crate::incident::cause::{Finding, Rule};
use crate::view::slow::Fact;

/// So much more of its memory than before must be far.
const MEMORY_BY: f64 = 0.25;
/// Its tasks may no longer run near the GPU.
const CPUS_BY: f64 = 0.5;
/// Who moves less to and from its GPU, in bytes per second, hardly feels it; unknown is no reason to think so.
const COPIES: f64 = 1e6;

pub(in crate::incident::cause) const REMOTE: Rule = Rule {
    name: "numa_remote",
    kinds: BOTH,
    when: "On a host with several memory nodes, 25 % more of its memory than before, half as much again, is in other nodes than its GPU; or its tasks may no longer run on any CPU of the GPU's node. Not if it is known to copy less than 1 MB a second.",
    find: |facts| {
        let memory = facts.worse(Fact::RemoteMemory, MEMORY_BY);
        let cpus = facts.worse(Fact::RemoteCpus, CPUS_BY);
        if memory.is_none() && cpus.is_none() || !copies(facts) {
            return None;
        }
        let memory = memory.map(|worse| {
            format!("{} of its memory is in other memory nodes than its GPU", both(Fact::RemoteMemory, worse))
        });
        let cpus = cpus.map(|_| "its tasks may no longer run on the CPUs of its GPU's node".to_owned());
        let said: Vec<String> = memory.into_iter().chain(cpus).collect();
        let rate = facts
            .now(Fact::ToGpu)
            .map_or(String::new(), |rate| format!("; it copies {} to its GPU", shown(Fact::ToGpu, rate)));
        Some(Finding {
            sentence: format!("{} is far from its GPU: {}{rate}", facts.slowed(), said.join(", and ")),
            next: format!(
                "Check what moved it: cpuset.cpus and cpuset.mems of {}, numactl, a full node. Bind it to the GPU's node (cpuset, AllowedCPUs= and AllowedMemoryNodes=, docker --cpuset-cpus and --cpuset-mems) and start it again: memory stays where it was first touched.",
                facts.slowed()
            ),
            numbers: numbers(facts, &[Fact::RemoteMemory, Fact::RemoteCpus, Fact::ToGpu, Fact::FromGpu]),
        })
    },
};

fn copies(facts: &Facts<'_>) -> bool {
    let ways = [Fact::ToGpu, Fact::FromGpu].map(|fact| facts.now(fact));
    ways.iter().any(|rate| rate.is_none_or(|rate| rate >= COPIES))
}
