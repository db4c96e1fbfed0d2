//! The workloads at one moment, one line each: the answers of `/api/v1/workloads`, and what `headroom workloads` prints.
//! Figures are the same as in the metrics: seconds, bytes or counts. What is not known is absent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::alerts;
use super::problem::Problem;
use super::process::Processes;
use crate::alert::Alert;
use crate::view::View;
use crate::view::number::{Known, Number};
use crate::view::workload::Workload;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// When the numbers were last read, at a tick, in nanoseconds since the Unix epoch: answers with the same one have the same
    /// counters. Absent before the first tick.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<u64>,
    /// Sorted by name.
    pub workloads: Vec<Line>,
}

/// One workload at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Detail {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    pub workload: Line,
    /// The alerts that fire about it: the most severe first, of those the newest.
    #[serde(default)]
    pub alerts: Vec<Alert>,
    /// Its processes, read when somebody asks; absent where nobody reads them, as in a recording.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes: Option<Processes>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Line {
    pub workload: String,
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
    /// The container in the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The path of its own cgroup.
    pub cgroup: String,
    /// Whether the agent runs in it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agent: bool,
    /// Whether it has ended. Its series stay for a while, so that a last scrape can read them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// Memory charged to it, and to the cgroups below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The same, minus the page cache that was not used recently.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_working_set_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    /// Swap used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
    /// Pinned host memory that it holds for GPUs. Known only to a running agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned_bytes: Option<u64>,
    /// CPU time since its cgroup was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<f64>,
    /// CPU time per second of the last one: CPUs in use. Known only to a running agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_cores: Option<f64>,
    /// Time in which some task of it waited for memory (PSI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_waiting_seconds: Option<f64>,
    /// Time in which some task of it waited for IO (PSI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub io_waiting_seconds: Option<f64>,
    /// Time in which some task of it waited for a CPU (PSI).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_waiting_seconds: Option<f64>,
    /// Times that its tasks had to free memory before they got any. Known only to a running agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim_stalls: Option<u64>,
    /// Time of these stalls, summed over the tasks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reclaim_stall_seconds: Option<f64>,
    /// Page faults that needed IO.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub major_faults: Option<u64>,
    /// Bytes read from block devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_read_bytes: Option<u64>,
    /// Bytes written to block devices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_written_bytes: Option<u64>,
    /// Processes of it that the OOM killer killed while the agent ran, as in `headroom_oom_kills_total`. Without an agent:
    /// the kernel's count since the cgroup was created, on cgroup v2 including the cgroups nested in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oom_kills: Option<u64>,
}

impl Summary {
    pub fn of(view: &View) -> Summary {
        let known = Known::of(&view.coverage);
        let workloads = view.workloads.iter().map(|workload| Line::within(view, workload, known)).collect();
        Summary { time: view.time, measured: view.history.last(), workloads }
    }
}

impl Detail {
    pub fn of(view: &View, name: &str) -> Result<Detail, Problem> {
        let workload = view.workloads.iter().find(|workload| workload.labels()[0] == name);
        let workload = workload.ok_or_else(|| Problem::unknown(format!("there is no workload {name:?}")))?;
        let known = Known::of(&view.coverage);
        let (workload, alerts) =
            (Line::within(view, workload, known), alerts::those(view, |alert| alerts::is_about(alert, name)));
        Ok(Detail { time: view.time, workload, alerts, processes: None })
    }
}

impl Line {
    fn within(view: &View, workload: &Workload, known: Known) -> Line {
        let own = view.workloads.own();
        Line { agent: own.is_some_and(|own| std::ptr::eq(own, workload)), ..Line::of(workload, known) }
    }

    fn of(workload: &Workload, known: Known) -> Line {
        let number = |number: Number| number.of(workload, known);
        let seconds = |number: Number| number.value(workload, known);
        let named = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        let [name, namespace, pod, container] = workload.labels();
        Line {
            workload: name.to_owned(),
            kind: workload.identity.kind.label().to_owned(),
            namespace: named(namespace),
            pod: named(pod),
            container: named(container),
            cgroup: workload.identity.top.to_string(),
            agent: false,
            gone: workload.gone_since().is_some(),
            memory_bytes: number(Number::Memory),
            memory_working_set_bytes: number(Number::WorkingSet),
            memory_limit_bytes: number(Number::Limit),
            swap_bytes: number(Number::Swap),
            pinned_bytes: number(Number::Pinned),
            cpu_seconds: seconds(Number::Cpu),
            cpu_cores: workload.cpu_pace(),
            memory_waiting_seconds: seconds(Number::MemoryWaiting),
            io_waiting_seconds: seconds(Number::IoWaiting),
            cpu_waiting_seconds: seconds(Number::CpuWaiting),
            reclaim_stalls: number(Number::ReclaimStalls),
            reclaim_stall_seconds: seconds(Number::ReclaimStall),
            major_faults: number(Number::MajorFaults),
            block_read_bytes: number(Number::BlockRead),
            block_written_bytes: number(Number::BlockWritten),
            oom_kills: number(Number::OomKills),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test::{ID, engine};
    use crate::sample::{Reading, Sample, Statistics};
    use crate::signal::reclaim::{self, Kind};
    use crate::statistic::{Statistic as _, workload as statistic};

    #[test]
    fn impossible_amounts_of_a_recording_saturate() {
        let mut engine = engine();
        for kind in [Kind::Direct, Kind::Memcg] {
            let (stalls, ns) = (u64::MAX, u64::MAX);
            let counts = reclaim::Reading::Counts { cgroup: Some(ID), kind, stalls, ns, bytes: 0, target_bytes: 0 };
            engine.apply(&Sample { time: 20, reading: Reading::Reclaim(counts) });
        }
        let workload = engine.view().workloads.iter().find(|workload| &*workload.identity.top == "/a").unwrap();
        assert_eq!(Line::of(workload, Known::MET).reclaim_stalls, Some(u64::MAX));
    }

    #[test]
    fn a_workload_is_found_by_the_name_that_its_line_has() {
        let engine = engine();
        let Summary { time, workloads, .. } = Summary::of(engine.view());
        assert!(workloads.iter().any(|line| line.cgroup == "/a"), "{workloads:?}");
        for workload in workloads {
            let detail = Detail::of(engine.view(), &workload.workload).unwrap();
            assert_eq!(detail, Detail { time, workload, alerts: Vec::new(), processes: None });
        }
        let problem = Detail::of(engine.view(), "/b\u{202e}").unwrap_err();
        assert_eq!((problem.status, &*problem.detail), (404, "there is no workload \"/b\\u{202e}\""));
    }

    #[test]
    fn each_figure_equals_the_number_of_its_name() {
        let mut engine = engine();
        let values = statistic::Statistic::ALL.iter().map(|it| (*it, 1_000_000_000 + *it as u64)).collect();
        engine.apply(&Sample { time: 20, reading: Reading::Statistics(Statistics { cgroup: ID, values, turn: true }) });
        let workload = engine.view().workloads.of(ID).unwrap();
        let line = serde_json::to_value(Line::of(workload, Known::MET)).unwrap();
        let figures: Vec<_> = line.as_object().unwrap().iter().filter(|(_, value)| value.is_number()).collect();
        assert!(!line.as_object().unwrap().contains_key("cpu_cores"), "there was no second before");
        assert_eq!(figures.len(), 15, "{figures:?}");
        for (name, value) in figures {
            let number = Number::ALL.iter().find(|number| number.name() == name).unwrap();
            assert_eq!(value.as_f64(), number.value(workload, Known::MET), "{name}");
        }
    }
}
