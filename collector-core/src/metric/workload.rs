//! Which workloads had to wait for memory, and from which workloads it was reclaimed.

use std::fmt;

use super::number::rows;
use super::row::{Detail, Emit, Kind, Metric, Unit, Value, workload_and};
use crate::identity::Identity;
use crate::signal::reclaim;
use crate::view::View;
use crate::view::workload::{OTHER, Reclaim, Workload};

const BY_KIND: &[&str] = &workload_and("kind");

pub const INFO: Metric = Metric {
    name: "headroom_workload_info",
    kind: Kind::Info,
    unit: None,
    detail: Detail::Always,
    help: "Workloads that have series of their own: the kind of each, and the path of its cgroup.",
    labels: &["workload", "namespace", "pod", "container", "kind", "cgroup", "runtime", "container_id", "pod_uid"],
    needs: &[],
    read: |view, emit| {
        let all = emit.is_full();
        let shown = |workload: &&Workload| all || workload.is_shown();
        for workload in view.workloads.iter().filter(|workload| &*workload.name != OTHER).filter(shown) {
            let [name, namespace, pod, container] = workload.labels();
            let Identity { kind, runtime, container_id, pod_uid, top, .. } = &workload.identity;
            let [id, uid] = [container_id, pod_uid].map(|id| id.as_deref().unwrap_or_default());
            emit.info(&[name, namespace, pod, container, kind.label(), top, runtime, id, uid])?;
        }
        Ok(())
    },
};

pub const RECLAIM_STALL_SECONDS: Metric = Metric {
    name: "headroom_workload_reclaim_stall_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: Detail::Always,
    help: "Time that the workload's tasks waited while they had to free memory, summed over the tasks.",
    labels: BY_KIND,
    needs: &reclaim::STALLS,
    read: |view, emit| reclaims(view, emit, |reclaim| Value::seconds(reclaim.ns)),
};

pub const RECLAIM_STALLS: Metric = Metric {
    name: "headroom_workload_reclaim_stalls_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Times that a task of the workload had to free memory before it got any.",
    labels: BY_KIND,
    needs: &reclaim::STALLS,
    read: |view, emit| reclaims(view, emit, |reclaim| Value::Int(reclaim.stalls)),
};

pub const RECLAIMED_BYTES: Metric = Metric {
    name: "headroom_workload_reclaimed_bytes_total",
    kind: Kind::Counter,
    unit: Some(Unit::Bytes),
    detail: Detail::Full,
    help: "Memory that the workload's tasks freed while they waited, whichever workload it belonged to.",
    labels: BY_KIND,
    needs: &reclaim::STALLS,
    read: |view, emit| reclaims(view, emit, |reclaim| Value::Int(reclaim.bytes)),
};

pub const RECLAIM_TARGET_BYTES: Metric = Metric {
    name: "headroom_workload_reclaim_target_bytes_total",
    kind: Kind::Counter,
    unit: Some(Unit::Bytes),
    detail: Detail::Used,
    help: "Memory that was freed from the workload and the cgroups below it, whichever workload waited for it; only where the kernel reports it (7.1 and newer).",
    labels: BY_KIND,
    needs: &reclaim::STALLS,
    read: |view, emit| match view.coverage.target_reported {
        true => reclaims(view, emit, |reclaim| Value::Int(reclaim.target_bytes)),
        false => Ok(()),
    },
};

rows! {
    COMPACTION_STALL_SECONDS = "headroom_workload_compaction_stall_seconds_total",
        "Time that the workload's tasks waited while they had to compact memory, summed over the tasks.", CompactionStall, Detail::Used;
    COMPACTION_STALLS = "headroom_workload_compaction_stalls_total",
        "Times that a task of the workload had to compact memory before it got a contiguous block.", CompactionStalls, Detail::Full;
    DIRTY_WAIT_SECONDS = "headroom_workload_dirty_wait_seconds_total",
        "Time that the kernel made the workload's tasks sleep because too many dirty pages waited to be written, summed over the tasks; they may have slept for less.",
        DirtyWait, Detail::Used;
    DIRTY_WAITS = "headroom_workload_dirty_waits_total",
        "Times that the kernel made a task of the workload sleep because too many dirty pages waited to be written.", DirtyWaits, Detail::Full;
}

fn reclaims(view: &View, emit: &mut Emit<'_>, value: fn(&Reclaim) -> Value) -> fmt::Result {
    for workload in emit.workloads(view) {
        let [name, namespace, pod, container] = workload.labels();
        for (need, kind) in reclaim::Kind::ALL.into_iter().enumerate() {
            if emit.sees(need) {
                let amount = value(&workload.amounts.reclaim[kind as usize]);
                emit.counter(&[name, namespace, pod, container, kind.label()], amount, workload.created)?;
            }
        }
    }
    Ok(())
}
