//! What a kubelet leaves to the host: the limit of all pods against the host's memory.

use super::found::{Found, object};
use super::{Check, workloads};
use crate::action::Object;
use crate::advice::{Evidence, Unit};
use crate::amount::bytes;
use crate::identity::Kind;
use crate::statistic::host;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::workload::Workload;

pub(super) const CHECK: Check = Check {
    name: "kubelet_reserved",
    holds: "The limit of all pods (Node Allocatable: memory.max of kubepods) leaves memory to the host.",
    otherwise: "Pods may take all memory of the node: the kernel then kills processes of the system, or the kubelet itself.",
    needs: "The cgroup of all pods, its limit, and the host's memory.",
    unused: "No kubelet has pods here.",
    judge,
};

const CGROUPS: [&str; 2] = ["kubepods", "kubepods.slice"];

fn judge(view: &View, found: &mut Found) {
    for pods in workloads(view).filter(|workload| is_of_all_pods(workload)) {
        let Some(total) = view.host.statistics.get(host::Statistic::MemoryTotal) else {
            found.lacks(Object::Host, "the memory of the host");
            continue;
        };
        if pods.statistics.get(Statistic::MemoryCurrent).is_none() {
            found.lacks(object(pods), format!("the limit of {}", pods.name));
            continue;
        }
        let limit = pods.statistics.get(Statistic::MemoryLimit).filter(|limit| *limit < total);
        let Some(limit) = limit else {
            let is = match pods.statistics.get(Statistic::MemoryLimit) {
                None => format!("{} has no limit of memory: the kubelet enforces no Node Allocatable.", pods.name),
                Some(limit) => format!(
                    "The limit of {} is {}, all of the host's memory: nothing is reserved for the system.",
                    pods.name,
                    bytes(limit)
                ),
            };
            let next = "Set systemReserved and kubeReserved (memory) in the kubelet's configuration, and enforceNodeAllocatable: [pods].";
            let mut evidence = vec![Evidence::measured("memory of the host", total as f64, Unit::Bytes)];
            let set = pods.statistics.get(Statistic::MemoryLimit);
            evidence.extend(set.map(|limit| Evidence::configured("limit of all pods", limit as f64, Unit::Bytes)));
            found.fails(object(pods), is, next, evidence);
            continue;
        };
        found.says(format!("Pods may take {}, which leaves {} to the host.", bytes(limit), bytes(total - limit)));
    }
}

/// Not those of a node that is itself a container: its memory is not the host's.
fn is_of_all_pods(workload: &Workload) -> bool {
    let identity = &workload.identity;
    let last = identity.top.rsplit('/').next().unwrap_or_default();
    identity.kind == Kind::Slice && identity.owner.is_none() && CGROUPS.contains(&last)
}
