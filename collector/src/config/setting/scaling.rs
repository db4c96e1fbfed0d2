//! `[scaling]`: its rows.

use std::time::Duration;

use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) const ABOVE: Setting = without_flag(
    "scaling.above",
    Kind::Share(|config| &mut config.scaling.above, 0.05, 10.0),
    "Above this load of a model there should be one instance more: the share of what its servers on this host can do at once, as a mean of the \
          last minute. headroom_scaling_desired_instances says how many; the agent starts and stops none.",
);

pub(super) const BELOW: Setting = without_flag(
    "scaling.below",
    Kind::Share(|config| &mut config.scaling.below, 0.0, 1.0),
    "Below this load of a model there should be one instance less.",
);

pub(super) const LEAST: Setting = without_flag(
    "scaling.least",
    Kind::Count(|config| &mut config.scaling.least, 0, 10_000),
    "Least number of instances of a model that servers here have. A model that no server here has is not known, and has no number.",
);

pub(super) const MOST: Setting = without_flag(
    "scaling.most",
    Kind::Count(|config| &mut config.scaling.most, 1, 10_000),
    "There should never be more instances of a model.",
);

pub(super) const COOL_DOWN: Setting = without_flag(
    "scaling.cool_down",
    Kind::Duration(|config| &mut config.scaling.cool_down, Duration::from_secs(1), DAY),
    "Time after a change, and after a model is first seen, in which the number does not change.",
);
