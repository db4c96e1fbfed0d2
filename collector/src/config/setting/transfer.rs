//! `[transfer]`: its rows.

use std::time::Duration;

use super::HOUR;
use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

pub(super) const ENABLED: Setting = without_flag(
    "transfer.enabled",
    Kind::Switch(|config| &mut config.transfer.enabled),
    "Trace calls of the CUDA driver: copies between host and GPU, pinned host memory, device memory. \
          Each traced call takes some microseconds longer, in a virtual machine up to twenty. The agent \
          then keeps CAP_SYS_PTRACE and CAP_SYS_ADMIN to find libraries and attach probes to them when \
          processes load them.",
);

pub(super) const SCAN: Setting = without_flag(
    "transfer.scan",
    Kind::Duration(|config| &mut config.transfer.scan, Duration::from_millis(100), HOUR),
    "Interval of searching for processes with a CUDA driver library that is not probed yet. The agent checks \
          each process when it is new, and then at doubling intervals up to one minute.",
);
