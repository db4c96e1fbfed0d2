//! `[need]`: its rows.

use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

pub(super) const MEMORY: Setting = without_flag(
    "need.memory",
    Kind::Size(|config| &mut config.need.memory),
    "Host memory that this host's own service needs, as declared. Only checked: against [[pool]] and against the host's memory.",
);
pub(super) const RESERVED: Setting = without_flag(
    "need.reserved",
    Kind::Size(|config| &mut config.need.reserved),
    "The part of it that is reserved for the service. Only checked, as need.memory is.",
);
