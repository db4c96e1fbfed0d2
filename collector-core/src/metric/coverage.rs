//! The agent about itself: state of probes and sources, losses, and cost of the eBPF programs.

use super::row::{Detail, Kind, Metric, Unit, Value};
use crate::sample::{Origin, ProbeState};
use crate::signal::cgroup;
use crate::stage::Stage;
use crate::view::coverage::CGROUP_EVENTS as EVENTS;

const STATES: [(ProbeState, &str); 6] = [
    (ProbeState::Attached, "attached"),
    (ProbeState::Disabled, "disabled"),
    (ProbeState::Unneeded, "unneeded"),
    (ProbeState::Waiting, "waiting"),
    (ProbeState::Unsupported, "unsupported"),
    (ProbeState::Failed, "failed"),
];

pub const BUILD_INFO: Metric = Metric {
    name: "headroom_build_info",
    kind: Kind::Info,
    unit: None,
    detail: Detail::Always,
    help: "Version of Headroom, and release of the kernel that it runs on.",
    labels: &["version", "kernel"],
    needs: &[],
    read: |view, emit| match &view.build {
        Some(build) => emit.info(&[&build.version, &build.kernel]),
        None => Ok(()),
    },
};

pub const PROBE_STATE: Metric = Metric {
    name: "headroom_probe_state",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Used,
    help: "State of each probe: 1 for the state that it is in; at metrics.detail = full also 0 for the others.",
    labels: &["probe", "state"],
    needs: &[],
    read: |view, emit| {
        for (program, (holds, _)) in &view.coverage.probes {
            for (state, label) in STATES {
                emit.gauge(&[program, label], Value::Int(u64::from(state == *holds)))?;
            }
        }
        Ok(())
    },
};

pub const SOURCE_UP: Metric = Metric {
    name: "headroom_source_up",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "1 if everything of the source could be read the last time, else 0.",
    labels: &["source"],
    needs: &[],
    read: |view, emit| {
        for (source, health) in &view.coverage.sources {
            emit.gauge(&[source], Value::Int(health.up.into()))?;
        }
        Ok(())
    },
};

pub const SOURCE_SECONDS: Metric = Metric {
    name: "headroom_source_seconds",
    kind: Kind::Gauge,
    unit: Some(Unit::Seconds),
    detail: Detail::Always,
    help: "Time that the last read of the source took.",
    labels: &["source"],
    needs: &[],
    read: |view, emit| {
        for (source, health) in &view.coverage.sources {
            emit.gauge(&[source], Value::seconds(health.ns))?;
        }
        Ok(())
    },
};

pub const LISTENER_UP: Metric = Metric {
    name: "headroom_listener_up",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "1 if the agent listens on its TCP address (tcp) or its Unix socket (socket), 0 if that could not be opened yet.",
    labels: &["listener"],
    needs: &[],
    read: |view, emit| {
        let Some(endpoint) = &view.coverage.endpoint else { return Ok(()) };
        for (listener, open) in [("tcp", endpoint.tcp), ("socket", endpoint.socket)] {
            if let Some(open) = open {
                emit.gauge(&[listener], Value::Int(open.into()))?;
            }
        }
        Ok(())
    },
};

pub const HTTP_DENIED: Metric = Metric {
    name: "headroom_http_denied_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Requests that the agent denied: a failed TLS handshake, a wrong password, or on the loopback address a host name \
           that is none of this host's.",
    labels: &["reason"],
    needs: &[],
    read: |view, emit| {
        let Some(endpoint) = &view.coverage.endpoint else { return Ok(()) };
        let reasons = [("handshake", endpoint.handshake), ("host", endpoint.host), ("password", endpoint.password)];
        for (reason, count) in reasons {
            emit.counter(&[reason], Value::Int(count), view.started)?;
        }
        Ok(())
    },
};

pub const SAMPLES: Metric = Metric {
    name: "headroom_samples_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Samples that the agent processed, by where they came from.",
    labels: &["source"],
    needs: &[],
    read: |view, emit| {
        for origin in Origin::ALL {
            let samples = view.coverage.samples[origin as usize];
            emit.counter(&[origin.label()], Value::Int(samples), view.started)?;
        }
        Ok(())
    },
};

pub const CGROUP_EVENTS: Metric = Metric {
    name: "headroom_cgroup_events_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Creations, removals and renames of cgroups, and moves of processes into them, in all hierarchies.",
    labels: &["event"],
    needs: &cgroup::EVENTS,
    read: |view, emit| {
        for (need, event) in EVENTS.into_iter().enumerate() {
            if emit.sees(need) {
                emit.counter(&[event], Value::Int(view.coverage.cgroup_events[need]), view.started)?;
            }
        }
        Ok(())
    },
};

pub const BPF_RUNS: Metric = Metric {
    name: "headroom_bpf_runs_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Runs of the eBPF program, counted only while the kernel measures them.",
    labels: &["program"],
    needs: &[],
    read: |view, emit| {
        for (program, cost) in &view.coverage.programs {
            emit.counter(&[program], Value::Int(cost.runs), cost.created)?;
        }
        Ok(())
    },
};

pub const BPF_RUN_SECONDS: Metric = Metric {
    name: "headroom_bpf_run_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: Detail::Used,
    help: "Time that the eBPF program ran, counted only while the kernel measures it.",
    labels: &["program"],
    needs: &[],
    read: |view, emit| {
        for (program, cost) in &view.coverage.programs {
            emit.counter(&[program], Value::seconds(cost.ns), cost.created)?;
        }
        Ok(())
    },
};

pub const WORKLOADS: Metric = Metric {
    name: "headroom_workloads",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Workloads that have series of their own, including those that ended a moment ago.",
    labels: &[],
    needs: &[],
    read: |view, emit| emit.gauge(&[], Value::Int(view.workloads.count() as u64)),
};

pub const LOST: Metric = Metric {
    name: "headroom_lost_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Items that were dropped, by the stage that dropped them.",
    labels: &["stage"],
    needs: &[],
    read: |view, emit| {
        for stage in Stage::ALL {
            // What this exposition leaves out is not in the view yet.
            let cut = if stage == Stage::Series { emit.left_out() } else { 0 };
            let lost = view.coverage.lost(stage).saturating_add(cut);
            // Only a recording of another version contains these.
            if stage != Stage::Unknown || lost > 0 {
                emit.counter(&[stage.label()], Value::Int(lost), view.started)?;
            }
        }
        Ok(())
    },
};
