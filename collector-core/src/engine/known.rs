//! What is known of a number is declared once, beside its signal: metric, history, summary and incident agree, whatever
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
use crate::series::Series;
use crate::signal::{block, cgroup, fault, oom, reclaim, transfer};
use crate::statistic::workload::{Statistic, Values};

const SECOND: u64 = 1_000_000_000;

/// An engine for which all programs but one are attached, after a workload did something of everything, and was killed.
fn engine(missing: &str) -> (Engine, Incident) {
    let mut engine = Engine::new();
    let mut incident = None;
    let mut apply = |time: u64, reading: Reading| {
        for outcome in engine.apply(&Sample { time: time * SECOND, reading }) {
            if let Outcome::Incident(told) = outcome {
                incident = Some(*told);
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

/// Whether a metric has any series of the workload `/a`, with this value among its labels.
fn shown(engine: &Engine, name: &str, label: &str) -> bool {
    let metric = METRICS.iter().find(|metric| metric.name == name).unwrap();
    let mut shown = false;
    visit(engine.view(), metric, Part::Whole, &mut |labels, _, _| {
        shown |= labels[0] == "/a" && (label.is_empty() || labels.contains(&label));
    });
    shown
}

#[test]
fn metric_history_summary_and_incident_know_the_same() {
    let programs = SIGNALS.iter().flat_map(|signal| signal.probes).map(|probe| probe.program);
    let mut hidden = 0;
    for missing in std::iter::once("").chain(programs) {
        let (engine, incident) = engine(missing);
        let summary = Summary::of(engine.view());
        let line = summary.workloads.iter().find(|line| line.workload == "/a").unwrap();
        let evidence = &incident.evidence;
        let kept = |series: Series| evidence.history.workload.contains_key(series.name());
        let figures = evidence.workload.as_ref().unwrap();
        let consumer = evidence.consumers.iter().find(|consumer| consumer.workload == "/a").unwrap();
        for (name, label, known) in [
            (
                "headroom_workload_pinned_host_bytes",
                "",
                vec![
                    kept(Series::Pinned),
                    figures.pinned_bytes.is_some(),
                    consumer.pinned_bytes.is_some(),
                    line.pinned_bytes.is_some(),
                ],
            ),
            ("headroom_workload_gpu_transfer_bytes_total", "host_to_device", vec![kept(Series::HostToDevice)]),
            ("headroom_workload_gpu_transfer_bytes_total", "device_to_host", vec![kept(Series::DeviceToHost)]),
            ("headroom_workload_major_page_faults_total", "", vec![kept(Series::MajorFaults)]),
            ("headroom_workload_block_bytes_total", "read", vec![kept(Series::Read)]),
            ("headroom_workload_block_bytes_total", "write", vec![kept(Series::Write), consumer.io_bytes.is_some()]),
            (
                "headroom_workload_reclaim_stalls_total",
                "",
                vec![kept(Series::Stalls), line.reclaim_stalls.is_some(), consumer.stall_seconds.is_some()],
            ),
            ("headroom_oom_kills_total", "", vec![line.oom_kills.is_some()]),
        ] {
            let shown = shown(&engine, name, label);
            assert!(known.iter().all(|known| *known == shown), "{name} {label} without {missing}: {shown} {known:?}");
            hidden += usize::from(!shown);
        }
    }
    // The test sees something: pinned memory alone is unknown without any of three programs.
    assert!(hidden >= 8, "{hidden}");
}
