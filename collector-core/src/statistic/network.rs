//! Statistics of the network: of interfaces and RDMA ports of the host, and of network namespaces. Directions are seen from whoever has
//! the interface.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cgroup::Id;

super::statistics! {
    {
        /// Bytes received.
        ReceiveBytes: Counter = "receive_bytes",
        /// Packets received.
        ReceivePackets: Counter = "receive_packets",
        /// Packets that arrived damaged, or that there was no room for in the device.
        ReceiveErrors: Counter = "receive_errors",
        /// Packets that arrived and were dropped.
        ReceiveDrops: Counter = "receive_drops",
        /// Bytes sent.
        TransmitBytes: Counter = "transmit_bytes",
        /// Packets sent.
        TransmitPackets: Counter = "transmit_packets",
        /// Packets that could not be sent.
        TransmitErrors: Counter = "transmit_errors",
        /// Packets that were dropped before they were sent.
        TransmitDrops: Counter = "transmit_drops",
        /// What the link carries in each direction, in bits a second.
        Speed: Limit = "speed",
        /// 1 if it has a link.
        Up: Gauge = "up",
    }
}

/// Those that count traffic: the first of the table.
pub const TRAFFIC: [Statistic; 8] = [
    Statistic::ReceiveBytes,
    Statistic::ReceivePackets,
    Statistic::ReceiveErrors,
    Statistic::ReceiveDrops,
    Statistic::TransmitBytes,
    Statistic::TransmitPackets,
    Statistic::TransmitErrors,
    Statistic::TransmitDrops,
];

/// Traffic by [`TRAFFIC`].
pub type Traffic = [u64; TRAFFIC.len()];

/// Absolute numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Reading {
    /// An interface of the host (`eth0`), or an RDMA port (`mlx5_0:1`).
    Interface {
        device: Arc<str>,
        /// The default route leads through it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        route: bool,
        /// Absent if it is gone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        values: Option<Values>,
    },
    /// A network namespace other than the host's: all of its interfaces together, without its loopback.
    Namespace {
        /// A number that no other namespace has as long as it lives.
        namespace: u64,
        /// Cgroups with a process in it, by path.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        cgroups: Vec<Id>,
        /// Absent if it is gone, or nobody known is in it any more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        values: Option<Values>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traffic_is_at_the_places_of_its_statistics() {
        for (place, statistic) in TRAFFIC.into_iter().enumerate() {
            assert_eq!(statistic as usize, place);
        }
    }
}
