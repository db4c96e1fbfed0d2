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
    "How much longer than usual is worse: 0.15 is 15 %. It must also be more than chance explains: the less two windows differ otherwise, \
          and the more requests they have, the less is found. Within a bucket of the server's histogram, the mean must have risen, too.",
);

pub(super) const WINDOW: Setting = without_flag(
    "latency.window",
    Kind::Duration(|config| &mut config.latency.window, Duration::from_millis(100), HOUR),
    "How long requests are looked at together. Two of three windows that are worse begin an incident, two that are not end it. With \
          another window, all is learned anew.",
);

pub(super) const BASELINE: Setting = without_flag(
    "latency.baseline",
    Kind::Duration(|config| &mut config.latency.baseline, Duration::from_secs(1), DAYS),
    "How far back windows count as usual. The last 60 of them are kept for each doubling of the requests that run at once.",
);

pub(super) const LEARN: Setting = without_flag(
    "latency.learn",
    Kind::Count(|config| &mut config.latency.learn, 2, 40),
    "Number of windows at like load without which nothing is compared.",
);

pub(super) const REQUESTS: Setting = without_flag(
    "latency.requests",
    Kind::Count(|config| &mut config.latency.requests, 1, 1_000_000),
    "Number of requests without which a window says nothing of a 95th percentile or a mean; a 99th takes five times as many. Ten tokens \
          count as a request where tokens are timed. A window with too few becomes up to five times as long.",
);

pub(super) const ACCEPT: Setting = without_flag(
    "latency.accept",
    Kind::Duration(|config| &mut config.latency.accept, Duration::from_secs(1), DAYS),
    "What has been worse for this long is usual from then on, and the incident is over. Until then nothing is learned from it.",
);
