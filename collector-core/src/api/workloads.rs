//! What the workloads are like at one moment, a line each: what `/api/v1/workloads` answers and `headroom workloads`
//! prints. Figures are as the metrics have them, in seconds, bytes or as a count; what is not known is absent.

use serde::{Deserialize, Serialize};

use crate::count::sum;
use crate::signal::transfer::Memory;
use crate::signal::{oom, reclaim, transfer};
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::workload::Workload;

/// All workloads at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// In the order of their names.
    pub workloads: Vec<Line>,
}

/// One workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Its name.
    pub workload: String,
    /// What sort of workload it is.
    pub kind: String,
    /// The Kubernetes namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The container in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The path of its own cgroup.
    pub cgroup: String,
    /// Whether the agent itself is in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agent: bool,
    /// Whether it is gone: its series stay a while, so that a last look can see them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Memory charged to it and what is below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The same less the page cache that was not used lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_working_set_bytes: Option<u64>,
    /// Its own hard limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Swap that it uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Host memory that it holds pinned for GPUs; only an agent sees that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_bytes: Option<u64>,
    /// CPU time since it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// Time in which some task of it waited for memory (PSI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_waiting_seconds: Option<f64>,
    /// Time in which some task of it waited for IO (PSI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_waiting_seconds: Option<f64>,
    /// Time in which some task of it waited for a CPU (PSI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_waiting_seconds: Option<f64>,
    /// How often its tasks had to free memory before they got any; only an agent sees that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim_stalls: Option<u64>,
    /// For how long, summed over the tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim_stall_seconds: Option<f64>,
    /// Its processes that the OOM killer killed while the agent ran, as `headroom_oom_kills_total` has it. Without an agent,
    /// the kernel's own count since the cgroup was made, on cgroup v2 with what is nested in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
}

impl Summary {
    /// What the view knows.
    pub fn of(view: &View) -> Summary {
        let known = Known {
            stalls: reclaim::STALLS.iter().any(|need| view.coverage.sees(need)),
            kills: view.coverage.sees(oom::KILLS),
            pinned: view.coverage.sees(transfer::HELD[Memory::Pinned as usize]),
        };
        let own = view.workloads.own();
        let line = |workload: &Workload| Line {
            agent: own.is_some_and(|own| std::ptr::eq(own, workload)),
            ..Line::of(workload, &known)
        };
        Summary { time: view.time, workloads: view.workloads.iter().map(line).collect() }
    }
}

/// Which of the kernel's numbers are known.
struct Known {
    stalls: bool,
    kills: bool,
    pinned: bool,
}

impl Line {
    fn of(workload: &Workload, known: &Known) -> Line {
        let statistic = |statistic| workload.statistics.get(statistic);
        let seconds = |name| statistic(name).map(|ns| ns as f64 / 1e9);
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let [name, namespace, pod, container] = workload.labels();
        let reclaim = &workload.amounts.reclaim;
        Line {
            workload: name.to_owned(),
            kind: workload.identity.kind.label().to_owned(),
            namespace: named(namespace),
            pod: named(pod),
            container: named(container),
            cgroup: workload.identity.top.to_string(),
            agent: false,
            gone: workload.gone_since().is_some(),
            memory_bytes: statistic(Statistic::MemoryCurrent),
            memory_working_set_bytes: statistic(Statistic::MemoryWorkingSet),
            memory_limit_bytes: statistic(Statistic::MemoryLimit),
            swap_bytes: statistic(Statistic::MemorySwap),
            pinned_bytes: known.pinned.then(|| workload.amounts.transfer.bytes_held(Memory::Pinned)),
            cpu_seconds: seconds(Statistic::CpuUsage),
            memory_waiting_seconds: seconds(Statistic::MemoryPressureSome),
            io_waiting_seconds: seconds(Statistic::IoPressureSome),
            cpu_waiting_seconds: seconds(Statistic::CpuPressureSome),
            reclaim_stalls: known.stalls.then(|| sum(reclaim.iter().map(|reclaim| reclaim.stalls))),
            reclaim_stall_seconds: known.stalls.then(|| sum(reclaim.iter().map(|reclaim| reclaim.ns)) as f64 / 1e9),
            oom_kills: match known.kills {
                true => Some(sum(workload.amounts.oom_kills.iter().copied())),
                false => statistic(Statistic::MemoryEventOomKill),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test::{ID, engine};
    use crate::sample::{Reading, Sample};
    use crate::signal::reclaim::Kind;

    #[test]
    fn what_a_recording_says_may_be_more_than_there_can_be() {
        let mut engine = engine();
        for kind in [Kind::Direct, Kind::Memcg] {
            let (stalls, ns) = (u64::MAX, u64::MAX);
            let counts = reclaim::Reading::Counts { cgroup: Some(ID), kind, stalls, ns, bytes: 0, target_bytes: 0 };
            engine.apply(&Sample { time: 20, reading: Reading::Reclaim(counts) });
        }
        let workload = engine.view().workloads.iter().find(|workload| &*workload.identity.top == "/a").unwrap();
        assert_eq!(
            Line::of(workload, &Known { stalls: true, kills: true, pinned: false }).reclaim_stalls,
            Some(u64::MAX)
        );
    }
}
