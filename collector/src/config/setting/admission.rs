//! `[admission]`: its rows.

use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

pub(super) const WITHIN_LIMITS: Setting = without_flag(
    "admission.within_limits",
    Kind::Switch(|config| &mut config.admission.within_limits),
    "Whether a verdict also keeps to the limits of [level]. Otherwise it compares with what is free, less a small margin.",
);
