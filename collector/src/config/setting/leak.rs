//! `[leak]`: its row.

use std::time::Duration;

use super::HOUR;
use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

pub(super) const WINDOW: Setting = without_flag(
    "leak.window",
    Kind::Duration(|config| &mut config.leak.window, Duration::from_secs(1), HOUR),
    "Length of the windows in which memory that leaks is looked for: the least that a workload holds in each must rise, over five of them \
          at least and ten at most, not before two and a half windows after its start. Longer than the usual cycle of a garbage collector or a batch; \
          shorter ones find leaks sooner, and take for a leak what only warms up.",
);
