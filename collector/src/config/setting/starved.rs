//! `[starved]`: its rows.

use std::time::Duration;

use super::row::{Setting, without_flag};
use super::{DAY, HOUR};
use crate::config::kind::Kind;

pub(super) const ENABLED: Setting = without_flag(
    "starved.enabled",
    Kind::Switch(|config| &mut config.starved.enabled),
    "Whether to find jobs that use their GPU much less than they usually do because of the host. They are reported as incidents of the \
          kind gpu_starved, and only with a cause.",
);

pub(super) const FALL: Setting = without_flag(
    "starved.fall",
    Kind::Share(|config| &mut config.starved.fall, 0.1, 0.9),
    "How far the utilization of a GPU must fall below what is usual for the job there, as a share of that. A fall by less than a tenth \
          of the GPU's time never counts.",
);

pub(super) const WINDOW: Setting = without_flag(
    "starved.window",
    Kind::Duration(|config| &mut config.starved.window, Duration::from_secs(3), HOUR),
    "For how long it must be so low. A sixth of that time may be higher.",
);

pub(super) const BASELINE: Setting = without_flag(
    "starved.baseline",
    Kind::Duration(|config| &mut config.starved.baseline, Duration::from_secs(3), DAY),
    "How long a job is watched on a GPU before anything is usual for it. Usual is the median of the last 240 windows at most: two hours, \
          unless starved.window says otherwise.",
);
