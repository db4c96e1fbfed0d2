//! `[gpu]`: its rows.

use std::time::Duration;

use super::HOUR;
use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

pub(super) const ENABLED: Setting = without_flag(
    "gpu.enabled",
    Kind::Choice(|config| &mut config.gpu.enabled, &["auto", "on", "off"]),
    "Whether to read GPUs through NVIDIA's NVML library: auto reads them if the library is found, on also \
          reports a missing library, off never loads it.",
);

pub(super) const LIBRARY: Setting = without_flag(
    "gpu.library",
    Kind::OptionalPath(|config| &mut config.gpu.library),
    "Path of the NVML library, libnvidia-ml.so.1. Unless set, the agent searches the linker's paths and those \
          of the usual driver packages, again every minute.",
);

pub(super) const INTERVAL: Setting = without_flag(
    "gpu.interval",
    Kind::Duration(|config| &mut config.gpu.interval, Duration::from_millis(50), HOUR),
    "Interval of reading GPUs, on a separate thread.",
);

pub(super) const DEADLINE: Setting = without_flag(
    "gpu.deadline",
    Kind::Duration(|config| &mut config.gpu.deadline, Duration::from_millis(10), HOUR),
    "Timeout of one NVML call; ten times as long for starting the library. A hung driver may never answer: \
          after this time the GPU series disappear, and a new thread tries again at growing intervals.",
);

pub(super) const PCIE_BUDGET: Setting = without_flag(
    "gpu.pcie_budget",
    Kind::Duration(|config| &mut config.gpu.pcie_budget, Duration::ZERO, HOUR),
    "CPU time per second for PCIe counters of 32 bits, which wrap within fractions of a second. Where that is not enough \
          (headroom doctor says so), windows of 20 ms are measured instead.",
);
