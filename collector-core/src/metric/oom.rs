//! OOM kills, by the victim's workload and by the workload whose limit was hit.

use super::row::{Detail, Kind, Metric, Value, WORKLOAD, workload_and};
use crate::signal::oom::{self, Scope};

pub const KILLS: Metric = Metric {
    name: "headroom_oom_kills_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Processes of the workload that the OOM killer killed, by what had run out of memory: a memory cgroup (memcg) or the host.",
    labels: &workload_and("scope"),
    needs: &[oom::KILLS],
    read: |view, emit| {
        for workload in emit.workloads(view) {
            let [name, namespace, pod, container] = workload.labels();
            for scope in Scope::ALL {
                let kills = workload.amounts.oom_kills[scope.index()];
                let labels = [name, namespace, pod, container, scope.label()];
                match scope {
                    Scope::Unknown => emit.rare(&labels, Value::Int(kills), workload.created)?,
                    _ => emit.counter(&labels, Value::Int(kills), workload.created)?,
                }
            }
        }
        Ok(())
    },
};

pub const LIMIT_KILLS: Metric = Metric {
    name: "headroom_oom_limit_kills_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Processes that the OOM killer killed because the workload was at its own memory limit, whichever workload they belonged to.",
    labels: &WORKLOAD,
    needs: &[oom::LIMITS, oom::KILLS],
    read: |view, emit| {
        if !emit.sees(0) && !view.coverage.limit_reported {
            return Ok(());
        }
        for workload in emit.workloads(view) {
            emit.counter(&workload.labels(), Value::Int(workload.amounts.limit_kills), workload.created)?;
        }
        Ok(())
    },
};
