//! `[network]`: its rows.

use std::time::Duration;

use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

pub(super) const ENABLED: Setting = without_flag(
    "network.enabled",
    Kind::Switch(|config| &mut config.network.enabled),
    "Whether to read interfaces, RDMA ports and network namespaces. Without, a verdict about a need of the network is unknown.",
);

pub(super) const EXCLUDE: Setting = without_flag(
    "network.exclude",
    Kind::Patterns(|config| &mut config.network.exclude),
    "Interfaces of the host to leave out; * matches any text. Unless set, those that lead into containers or only pass on what another \
          carries.",
);

pub(super) const INTERVAL: Setting = without_flag(
    "network.interval",
    Kind::Duration(|config| &mut config.network.interval, Duration::from_millis(500), Duration::from_secs(60)),
    "Interval of reading the network, on a separate thread. The speeds of links and the default route are read once a minute.",
);

pub(super) const NAMESPACES: Setting = without_flag(
    "network.namespaces",
    Kind::Switch(|config| &mut config.network.namespaces),
    "Whether to count what workloads send and receive in network namespaces of their own, as containers and pods have them. It is \
          read from outside, in /proc; no namespace is entered.",
);
