//! The network: interfaces and RDMA ports of the host, and what workloads send and receive in network namespaces of their own.

use std::fmt;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value, WORKLOAD, workload_and};
use crate::statistic::network::Statistic::{self, *};
use crate::view::View;
use crate::view::host::network::Interface;
use crate::view::workload::Workload;

const DEVICE: &[&str] = &["device"];
const DIRECTION: &[&str] = &["device", "direction"];
const DIRECTIONS: [&str; 2] = ["receive", "transmit"];
const COUNTED_FOR: &[&str] = &workload_and("counted_for");

pub const RECEIVE_BYTES: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| counter(view, emit, ReceiveBytes),
    ..counters(
        "headroom_network_receive_bytes_total",
        "Bytes that the host's interface, or RDMA port (device mlx5_0:1), received since the host started. What RDMA moves is in its port, not \
         in the interface.",
    )
};

pub const TRANSMIT_BYTES: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| counter(view, emit, TransmitBytes),
    ..counters(
        "headroom_network_transmit_bytes_total",
        "Bytes that the host's interface, or RDMA port, sent since the host started.",
    )
};

pub const PACKETS: Metric = Metric {
    labels: DIRECTION,
    detail: Detail::Used,
    read: |view, emit| directions(view, emit, [ReceivePackets, TransmitPackets]),
    ..counters("headroom_network_packets_total", "Packets that the host's interface, or RDMA port, received and sent.")
};

pub const ERRORS: Metric = Metric {
    labels: DIRECTION,
    detail: Detail::Used,
    read: |view, emit| directions(view, emit, [ReceiveErrors, TransmitErrors]),
    ..counters(
        "headroom_network_errors_total",
        "Packets that the host's interface, or RDMA port, received damaged or could not send.",
    )
};

pub const DROPS: Metric = Metric {
    labels: DIRECTION,
    detail: Detail::Used,
    read: |view, emit| directions(view, emit, [ReceiveDrops, TransmitDrops]),
    ..counters("headroom_network_drops_total", "Packets that the host's interface, or RDMA port, dropped.")
};

pub const SPEED: Metric = Metric {
    unit: Some(Unit::Bytes),
    read: |view, emit| each(view, emit, |it| it.speed().map(|speed| Value::Int(speed / 8))),
    ..gauge(
        "headroom_network_speed_bytes",
        "Bytes a second that the link of the host's interface, or RDMA port, carries in each direction; absent where the driver does not say, \
         as of most virtual ones.",
    )
};

pub const SPEED_RATIO: Metric = Metric {
    read: |view, emit| each(view, emit, |it| it.speed_ratio().map(Value::Float)),
    ..gauge(
        "headroom_network_speed_ratio",
        "Speed of the link now, as a share (0 to 1) of the fastest that it had since the agent started.",
    )
};

pub const UP: Metric = Metric {
    read: |view, emit| each(view, emit, |it| it.values.get(Up).map(Value::Int)),
    ..gauge("headroom_network_up", "1 if the host's interface, or RDMA port, has a link, else 0.")
};

pub const USED_RATIO: Metric = Metric {
    labels: DIRECTION,
    read: |view, emit| {
        for (device, interface) in &view.host.network.interfaces {
            for (direction, used) in DIRECTIONS.into_iter().zip(interface.used()) {
                let Some(used) = used else { continue };
                emit.gauge(&[device, direction], Value::Float(used))?;
            }
        }
        Ok(())
    },
    ..gauge(
        "headroom_network_used_ratio",
        "Share (0 to 1) of the link of the host's interface, or RDMA port, that traffic took in the last ten seconds; absent where the speed is \
         not known.",
    )
};

pub const WORKLOAD_RECEIVE_BYTES: Metric = Metric {
    unit: Some(Unit::Bytes),
    detail: Detail::Used,
    read: |view, emit| traffic(view, emit, ReceiveBytes),
    ..workload(
        "headroom_workload_network_receive_bytes_total",
        "Bytes that the workload received in a network namespace of its own, without its loopback; what a bridge within it passes on counts \
         again. A namespace that several share, as the containers of a pod do, is counted for one of them: \
         headroom_workload_network_info says for which.",
    )
};

pub const WORKLOAD_TRANSMIT_BYTES: Metric = Metric {
    unit: Some(Unit::Bytes),
    detail: Detail::Used,
    read: |view, emit| traffic(view, emit, TransmitBytes),
    ..workload(
        "headroom_workload_network_transmit_bytes_total",
        "Bytes that the workload sent in a network namespace of its own, counted in the same way.",
    )
};

pub const WORKLOAD_PACKETS: Metric = Metric {
    labels: &workload_and("direction"),
    detail: Detail::Full,
    read: |view, emit| ways(view, emit, [ReceivePackets, TransmitPackets]),
    ..workload(
        "headroom_workload_network_packets_total",
        "Packets that the workload received and sent in a network namespace of its own, counted in the same way.",
    )
};

pub const WORKLOAD_DROPS: Metric = Metric {
    labels: &workload_and("direction"),
    detail: Detail::Used,
    read: |view, emit| ways(view, emit, [ReceiveDrops, TransmitDrops]),
    ..workload(
        "headroom_workload_network_drops_total",
        "Packets that were dropped in a network namespace of the workload's own, counted in the same way.",
    )
};

pub const WORKLOAD_INFO: Metric = Metric {
    name: "headroom_workload_network_info",
    kind: Kind::Info,
    unit: None,
    detail: Detail::Always,
    help: "Always 1, for each workload in a network namespace that is not the host's; counted_for names the workload whose series have the \
           traffic of that namespace.",
    labels: COUNTED_FOR,
    needs: &[],
    read: |view, emit| {
        // A workload may have several namespaces.
        let mut told = std::collections::BTreeSet::new();
        for namespace in view.host.network.namespaces.values() {
            let mut known: Vec<_> = namespace.cgroups.iter().filter_map(|id| view.workloads.of(*id)).collect();
            let Some(first) = known.first().copied() else { continue };
            known.sort_by(|one, other| one.name.cmp(&other.name));
            known.dedup_by(|one, other| one.name == other.name);
            let is_new = |workload: &&Workload| told.insert((workload.name.clone(), first.name.clone()));
            for workload in known.into_iter().filter(|workload| workload.is_shown()).filter(is_new) {
                let [name, namespace, pod, container] = workload.labels();
                emit.info(&[name, namespace, pod, container, &first.name])?;
            }
        }
        Ok(())
    },
};

const fn counters(name: &'static str, help: &'static str) -> Metric {
    Metric {
        name,
        kind: Kind::Counter,
        unit: None,
        detail: Detail::Always,
        help,
        labels: DEVICE,
        needs: &[],
        read: |_, _| Ok(()),
    }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { kind: Kind::Gauge, ..counters(name, help) }
}

const fn workload(name: &'static str, help: &'static str) -> Metric {
    Metric { labels: &WORKLOAD, ..counters(name, help) }
}

fn each(view: &View, emit: &mut Emit<'_>, value: impl Fn(&Interface) -> Option<Value>) -> fmt::Result {
    for (device, interface) in &view.host.network.interfaces {
        if let Some(value) = value(interface) {
            emit.gauge(&[device], value)?;
        }
    }
    Ok(())
}

fn counter(view: &View, emit: &mut Emit<'_>, statistic: Statistic) -> fmt::Result {
    for (device, interface) in &view.host.network.interfaces {
        let Some(number) = interface.values.get(statistic) else { continue };
        emit.number(&[device], number)?;
    }
    Ok(())
}

fn directions(view: &View, emit: &mut Emit<'_>, both: [Statistic; 2]) -> fmt::Result {
    for (device, interface) in &view.host.network.interfaces {
        for (direction, statistic) in DIRECTIONS.into_iter().zip(both) {
            let Some(number) = interface.values.get(statistic) else { continue };
            emit.number(&[device, direction], number)?;
        }
    }
    Ok(())
}

fn traffic(view: &View, emit: &mut Emit<'_>, statistic: Statistic) -> fmt::Result {
    for workload in emit.workloads(view) {
        let number = workload.amounts.network[statistic as usize];
        emit.rare(&workload.labels(), Value::Int(number), 0)?;
    }
    Ok(())
}

fn ways(view: &View, emit: &mut Emit<'_>, both: [Statistic; 2]) -> fmt::Result {
    for workload in emit.workloads(view) {
        for (direction, statistic) in DIRECTIONS.into_iter().zip(both) {
            let [name, namespace, pod, container] = workload.labels();
            let labels = [name, namespace, pod, container, direction];
            emit.rare(&labels, Value::Int(workload.amounts.network[statistic as usize]), 0)?;
        }
    }
    Ok(())
}
