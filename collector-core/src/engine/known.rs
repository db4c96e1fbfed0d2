//! What a number needs to be known is declared once, beside its signal: metric, history, summary and incident agree, whichever
//! program is missing.

use collector_common::SIGNALS;

use super::Engine;
use super::test::{ID, start};
use crate::api::workloads::Summary;
use crate::incident::Incident;
use crate::metric::METRICS;
use crate::metric::visit::{Part, visit};
use crate::outcome::Outcome;
use crate::sample::{Probe, ProbeState, Reading, Sample, Start, Statistics};
use crate::signal::{block, cgroup, fault, oom, reclaim, transfer};
use crate::statistic::workload::{Statistic, Values};
use crate::view::number::{Known, Number};

const SECOND: u64 = 1_000_000_000;

/// An engine with all programs attached but one, after a kill of a workload with transfers, reclaim, faults and IO. The kernel's
/// files have no counts that could stand in for a missing program.
fn engine(missing: &str) -> (Engine, Incident) {
    let mut engine = Engine::new();
    let mut incident = None;
    let mut apply = |time: u64, reading: Reading| {
        for outcome in engine.apply(&Sample { time: time * SECOND, reading }) {
            if let Outcome::Incident(reported) = outcome {
                incident = Some(*reported);
            }
        }
    };
    apply(10, Reading::Start(Start { workload_max: 10, ..start() }));
    for program in SIGNALS.iter().flat_map(|signal| signal.probes).map(|probe| probe.program) {
        let state = if program == missing { ProbeState::Disabled } else { ProbeState::Attached };
        apply(10, Reading::Probe(Probe { program: program.into(), state, reason: None }));
    }
    apply(10, Reading::Cgroup(cgroup::Reading::Born { id: ID, path: "/a".into() }));
    let cgroup = Some(ID);
    for time in 11..14 {
        let values = Values::from_iter([(Statistic::MemoryCurrent, 1 << 20)]);
        apply(time, Reading::Statistics(Statistics { cgroup: ID, values, turn: true }));
        apply(time, Reading::Transfer(transfer::Reading::Held { cgroup, bytes: [4096, 4096] }));
        let (calls, bytes, refused) = ([1; 3], [1 << 20; 3], [0; 2]);
        apply(time, Reading::Transfer(transfer::Reading::Counts { cgroup, calls, bytes, refused }));
        for kind in reclaim::Kind::ALL {
            let counts = reclaim::Reading::Counts { cgroup, kind, stalls: 1, ns: 1000, bytes: 1, target_bytes: 0 };
            apply(time, Reading::Reclaim(counts));
        }
        apply(time, Reading::Fault(fault::Reading::Counts { cgroup, counts: [1; 8] }));
        for operation in [block::Operation::Read, block::Operation::Write] {
            let io = block::Reading::Workload { cgroup, operation, ios: 1, bytes: 512, ns: 1 };
            apply(time, Reading::Block(io));
        }
        apply(time, Reading::Tick);
    }
    let kill = serde_json::json!({"cgroup": ID, "scope": "memcg", "pid": 7, "tid": 7, "comm": "python",
        "uid": 0, "score_adj": 0, "trigger_pid": 7, "trigger_comm": "python"});
    apply(14, Reading::Oom(oom::Reading::Kill(serde_json::from_value(kill).unwrap())));
    apply(20, Reading::Tick);
    (engine, incident.unwrap())
}

/// Whether a metric has a series of the workload `/a` with this label value.
fn shown(engine: &Engine, name: &str, label: &str) -> bool {
    let metric = METRICS.iter().find(|metric| metric.name == name).unwrap();
    let mut shown = false;
    visit(engine.view(), metric, Part::Whole, &mut |labels, _, _| {
        shown |= labels[0] == "/a" && (label.is_empty() || labels.contains(&label));
    });
    shown
}

/// The metric, and its label value, for a number that a probe counts.
fn metric(number: Number) -> (&'static str, &'static str) {
    match number {
        Number::BlockRead => ("headroom_workload_block_bytes_total", "read"),
        Number::BlockWritten => ("headroom_workload_block_bytes_total", "write"),
        Number::ReclaimStalls => ("headroom_workload_reclaim_stalls_total", ""),
        Number::ReclaimStall | Number::Stall => ("headroom_workload_reclaim_stall_seconds_total", ""),
        Number::CompactionStalls => ("headroom_workload_compaction_stalls_total", ""),
        Number::CompactionStall => ("headroom_workload_compaction_stall_seconds_total", ""),
        Number::DirtyWaits => ("headroom_workload_dirty_waits_total", ""),
        Number::DirtyWait => ("headroom_workload_dirty_wait_seconds_total", ""),
        Number::MajorFaults => ("headroom_workload_major_page_faults_total", ""),
        Number::OomKills => ("headroom_oom_kills_total", ""),
        Number::HostToDevice => ("headroom_workload_gpu_transfer_bytes_total", "host_to_device"),
        Number::DeviceToHost => ("headroom_workload_gpu_transfer_bytes_total", "device_to_host"),
        Number::Pinned => ("headroom_workload_pinned_host_bytes", ""),
        Number::GpuAllocated => ("headroom_workload_gpu_allocated_bytes", ""),
        other => panic!("which metric shows {other:?}?"),
    }
}

/// What is reported for the workload `/a`: the line of the summary, and the incident's figures and consumer.
fn reported(engine: &Engine, incident: &Incident) -> [serde_json::Value; 3] {
    let summary = Summary::of(engine.view());
    let line = summary.workloads.iter().find(|line| line.workload == "/a").unwrap();
    let evidence = &incident.evidence;
    let consumer = evidence.consumers.iter().find(|consumer| consumer.workload == "/a").unwrap();
    let figures = evidence.workload.as_ref().unwrap();
    [serde_json::to_value(line), serde_json::to_value(figures), serde_json::to_value(consumer)].map(Result::unwrap)
}

#[test]
fn metric_history_summary_and_incident_know_the_same() {
    let programs = SIGNALS.iter().flat_map(|signal| signal.probes).map(|probe| probe.program);
    let (engine, incident) = engine("");
    let everything = reported(&engine, &incident);
    // Pinned memory in all three; reclaim stalls, their time, major faults, block IO and kills in the line, and stalls among the
    // consumers.
    let compared = Number::ALL.iter().filter(|number| !number.needs().is_empty());
    let compared = compared.flat_map(|number| everything.iter().filter(|all| all.get(number.name()).is_some()));
    assert_eq!(compared.count(), 10);
    let mut hidden = 0;
    for missing in std::iter::once("").chain(programs) {
        let (engine, incident) = self::engine(missing);
        let view = engine.view();
        let workload = view.workloads.of(ID).unwrap();
        let reported = reported(&engine, &incident);
        for number in Number::ALL.iter().copied().filter(|number| !number.needs().is_empty()) {
            let (name, label) = metric(number);
            let shown = shown(&engine, name, label);
            let mut known = vec![number.of(workload, Known::of(&view.coverage)).is_some()];
            if let Some(series) = number.series() {
                known.push(incident.evidence.history.workload.contains_key(series.name()));
            }
            for (now, _) in reported.iter().zip(&everything).filter(|(_, all)| all.get(number.name()).is_some()) {
                known.push(now.get(number.name()).is_some());
            }
            if matches!(number, Number::BlockRead | Number::BlockWritten) {
                known.push(reported[2].get("io_bytes").is_some());
            }
            assert!(known.iter().all(|known| *known == shown), "{name} {label} without {missing}: {shown} {known:?}");
            hidden += usize::from(!shown);
        }
    }
    // The test is effective: pinned memory alone is unknown if any of three programs is missing.
    assert!(hidden >= 8, "{hidden}");
}
