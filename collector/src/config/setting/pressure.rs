//! `[pressure]`: its rows.

use std::time::Duration;

use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

/// The kernel's bounds of a PSI window (WINDOW_MIN_US and WINDOW_MAX_US in kernel/sched/psi.c).
const WINDOW_MIN: Duration = Duration::from_millis(500);
const WINDOW_MAX: Duration = Duration::from_secs(10);

pub(super) const MEMORY_WAITING: Setting = without_flag(
    "pressure.memory_waiting",
    Kind::Duration(|config| &mut config.pressure.memory_waiting, Duration::ZERO, WINDOW_MAX),
    "Set a PSI trigger: the kernel reports at once when at least one task waited for memory for this long \
          within pressure.memory_window. Each report is logged and counted. \"0s\" sets no trigger; pressure \
          is measured in any case.",
);

pub(super) const MEMORY_STALLED: Setting = without_flag(
    "pressure.memory_stalled",
    Kind::Duration(|config| &mut config.pressure.memory_stalled, Duration::ZERO, WINDOW_MAX),
    "The same trigger for all non-idle tasks waiting for memory at the same time.",
);

pub(super) const MEMORY_WINDOW: Setting = without_flag(
    "pressure.memory_window",
    Kind::Duration(|config| &mut config.pressure.memory_window, WINDOW_MIN, WINDOW_MAX),
    "Window of both memory triggers; each fires at most once per window. Without CAP_SYS_RESOURCE, triggers \
          need Linux 6.4 and a window that is a multiple of two seconds.",
);

pub(super) const IO_WAITING: Setting = without_flag(
    "pressure.io_waiting",
    Kind::Duration(|config| &mut config.pressure.io_waiting, Duration::ZERO, WINDOW_MAX),
    "The same trigger for at least one task waiting for IO, which is normal on many hosts.",
);

pub(super) const IO_STALLED: Setting = without_flag(
    "pressure.io_stalled",
    Kind::Duration(|config| &mut config.pressure.io_stalled, Duration::ZERO, WINDOW_MAX),
    "The same trigger for all non-idle tasks waiting for IO at the same time.",
);

pub(super) const IO_WINDOW: Setting = without_flag(
    "pressure.io_window",
    Kind::Duration(|config| &mut config.pressure.io_window, WINDOW_MIN, WINDOW_MAX),
    "Window of both IO triggers.",
);

pub(super) const CPU_WAITING: Setting = without_flag(
    "pressure.cpu_waiting",
    Kind::Duration(|config| &mut config.pressure.cpu_waiting, Duration::ZERO, WINDOW_MAX),
    "The same trigger for at least one task waiting for a CPU, which is normal on many hosts.",
);

pub(super) const CPU_WINDOW: Setting = without_flag(
    "pressure.cpu_window",
    Kind::Duration(|config| &mut config.pressure.cpu_window, WINDOW_MIN, WINDOW_MAX),
    "Window of the CPU trigger.",
);
