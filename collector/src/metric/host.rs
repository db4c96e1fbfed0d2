//! What belongs to the host as a whole.

use collector_common::reclaim::KINDS;

use super::row::{Kind, Metric, Need, Unit, Value};
use crate::signal::reclaim;

/// The programs that see reclaim, by [`reclaim::Kind`].
pub(crate) const RECLAIM: &[Need] =
    &[&[&["reclaim_direct_end", "reclaim_direct_begin"]], &[&["reclaim_memcg_end", "reclaim_memcg_begin"]]];
const _: () = assert!(RECLAIM.len() == KINDS);

/// The programs that see compaction.
pub(super) const COMPACTION: &[Need] = &[&[&["compaction_end", "compaction_begin"]]];

/// How long reclaim stalls were.
pub const RECLAIM_STALL_SECONDS: Metric = Metric {
    name: "headroom_host_reclaim_stall_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    help: "Stalls of tasks that had to free memory before they got any, by why: for the host (direct) or for a cgroup's limit (memcg).",
    labels: &["kind"],
    needs: RECLAIM,
    read: |view, emit| {
        for kind in reclaim::Kind::ALL {
            if !emit.sees(kind as usize) {
                continue;
            }
            emit.histogram(&[kind.label()], &view.host.reclaim[kind as usize], view.started)?;
        }
        Ok(())
    },
};

/// How long compaction stalls were.
pub const COMPACTION_STALL_SECONDS: Metric = Metric {
    name: "headroom_host_compaction_stall_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    help: "Stalls of tasks that had to compact memory before they got a contiguous block.",
    labels: &[],
    needs: COMPACTION,
    read: |view, emit| emit.histogram(&[], &view.host.compaction, view.started),
};

/// How long kswapd was awake.
pub const KSWAPD_AWAKE_SECONDS: Metric = Metric {
    name: "headroom_host_kswapd_awake_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    help: "Time in which the kernel's background reclaim of a memory node was awake, the short naps between its passes included.",
    labels: &["node"],
    needs: &[&[&["kswapd_sleep", "kswapd_wake"]]],
    read: |view, emit| {
        for (number, node) in &view.host.nodes {
            emit.counter(&[itoa::Buffer::new().format(*number)], Value::seconds(node.awake_ns), node.created)?;
        }
        Ok(())
    },
};

/// How often kswapd was woken.
pub const KSWAPD_WAKES: Metric = Metric {
    name: "headroom_host_kswapd_wakes_total",
    kind: Kind::Counter,
    unit: None,
    help: "How often the kernel's background reclaim of a memory node was woken from sleep.",
    labels: &["node"],
    needs: &[&[&["kswapd_wake"]]],
    read: |view, emit| {
        for (number, node) in &view.host.nodes {
            emit.counter(&[itoa::Buffer::new().format(*number)], Value::Int(node.wakes), node.created)?;
        }
        Ok(())
    },
};
