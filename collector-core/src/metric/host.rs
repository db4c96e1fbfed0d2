//! Reclaim and compaction stalls of the whole host, and kswapd.

use super::row::{Detail, Kind, Metric, Unit, Value};
use crate::signal::{compaction, kswapd, reclaim};

pub const RECLAIM_STALL_SECONDS: Metric = Metric {
    name: "headroom_host_reclaim_stall_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    detail: Detail::By(&[("direct", Detail::Always), ("", Detail::Used)]),
    help: "Stalls of tasks that had to free memory before they got any, by duration, and by reason: for the host (direct) or for a cgroup's limit (memcg).",
    labels: &["kind"],
    needs: &reclaim::STALLS,
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

pub const COMPACTION_STALL_SECONDS: Metric = Metric {
    name: "headroom_host_compaction_stall_seconds",
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    detail: Detail::Used,
    help: "Stalls of tasks that had to compact memory before they got a contiguous block, by duration.",
    labels: &[],
    needs: &[compaction::STALLS],
    read: |view, emit| emit.histogram(&[], &view.host.compaction, view.started),
};

pub const KSWAPD_AWAKE_SECONDS: Metric = Metric {
    name: "headroom_host_kswapd_awake_seconds_total",
    kind: Kind::Counter,
    unit: Some(Unit::Seconds),
    detail: Detail::Always,
    help: "Time in which the kernel's background reclaim (kswapd) of the memory node was awake, including its short sleeps between passes.",
    labels: &["node"],
    needs: &[kswapd::AWAKE],
    read: |view, emit| {
        for (number, node) in &view.host.nodes {
            emit.counter(&[itoa::Buffer::new().format(*number)], Value::seconds(node.awake_ns), node.created)?;
        }
        Ok(())
    },
};

pub const KSWAPD_WAKES: Metric = Metric {
    name: "headroom_host_kswapd_wakes_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Times that the kernel's background reclaim (kswapd) of the memory node was woken from sleep.",
    labels: &["node"],
    needs: &[kswapd::WAKES],
    read: |view, emit| {
        for (number, node) in &view.host.nodes {
            emit.counter(&[itoa::Buffer::new().format(*number)], Value::Int(node.wakes), node.created)?;
        }
        Ok(())
    },
};
