//! `[history]`: its rows.

use std::time::Duration;

use super::YEARS;
use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

pub(super) const MEMORY: Setting = without_flag(
    "history.memory",
    Kind::Count(|config| &mut config.history.memory, 0, 1 << 40),
    "Bytes that the history may take in memory; no more than an eighth of the agent's memory limit. Beyond it, the workloads that \
          matter least keep five minutes instead of a day, and then one instead of five; that one, which incidents show, stays.",
);

pub(super) const WORKLOADS: Setting = without_flag(
    "history.workloads",
    Kind::Count(|config| &mut config.history.workloads, 0, 100_000),
    "Workloads whose last hour and last day are kept in memory: those with incidents, near their limit or growing first. \
          Of the others it is the last five minutes, and quarters of an hour on disk.",
);

pub(super) const MAX_AGE: Setting = without_flag(
    "history.max_age",
    Kind::Duration(|config| &mut config.history.max_age, Duration::from_secs(1), YEARS),
    "How long quarters of an hour of all workloads are kept in history.db, beside the journal. It goes by whole days (UTC).",
);

pub(super) const MAX_BYTES: Setting = without_flag(
    "history.max_bytes",
    Kind::Count(|config| &mut config.history.max_bytes, 0, 1 << 40),
    "Maximum size of that file in bytes. The oldest days are removed to make room. 0 writes none; other values below \
          1048576 count as 1048576. The write-ahead log is not included.",
);
