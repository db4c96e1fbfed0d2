//! `[latency]`: its rows.

use std::time::Duration;

use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

const HOUR: Duration = Duration::from_secs(3600);
const DAYS: Duration = Duration::from_secs(14 * 24 * 3600);

pub(super) const ENABLED: Setting = without_flag(
    "latency.enabled",
    Kind::Switch(|config| &mut config.latency.enabled),
    "Whether the latency of each model of a model server is compared with its own of the last hours at like load. What gets worse is an \
          incident.",
);

pub(super) const WORSE: Setting = without_flag(
    "latency.worse",
    Kind::Share(|config| &mut config.latency.worse, 0.05, 10.0),
    "How much longer than usual is worse: 0.15 is 15 %. It must also be more than chance explains: with many requests and steady \
          latencies, smaller changes are found. If both values are in one bucket of the server's histogram, the mean must have risen too.",
);

pub(super) const WINDOW: Setting = without_flag(
    "latency.window",
    Kind::Duration(|config| &mut config.latency.window, Duration::from_millis(100), HOUR),
    "Length of a window: requests in it are judged together. Two of three windows that are worse begin an incident, two that are not \
          end it. A change of this setting discards all baselines.",
);

pub(super) const BASELINE: Setting = without_flag(
    "latency.baseline",
    Kind::Duration(|config| &mut config.latency.baseline, Duration::from_secs(1), DAYS),
    "How far back windows count as usual. The last 60 of them are kept for each doubling of the requests that run at once.",
);

pub(super) const LEARN: Setting = without_flag(
    "latency.learn",
    Kind::Count(|config| &mut config.latency.learn, 2, 40),
    "Windows at like load that are needed before anything is compared.",
);

pub(super) const REQUESTS: Setting = without_flag(
    "latency.requests",
    Kind::Count(|config| &mut config.latency.requests, 1, 1_000_000),
    "Requests that a window needs before its 95th percentile or mean is compared; a 99th percentile needs five times as many. Ten tokens \
          count as a request where tokens are timed. A window with too few becomes up to five times as long.",
);

pub(super) const ACCEPT: Setting = without_flag(
    "latency.accept",
    Kind::Duration(|config| &mut config.latency.accept, Duration::from_secs(1), DAYS),
    "What has been worse for this long is usual from then on, and the incident is over. Until then nothing is learned from it.",
);
