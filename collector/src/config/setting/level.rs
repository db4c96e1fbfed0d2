//! `[level]`: its rows.

use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

/// Limits that are less say nothing.
const LEAST: f64 = 0.01;

pub(super) const MEMORY_LIMIT: Setting = without_flag(
    "level.memory_limit",
    Kind::Share(|config| &mut config.level.memory_limit, LEAST, 1.0),
    "Share of the host's memory that may be used. The level is 0 below 70 % of a limit, 1 to 85 %, 2 to 95 %, 3 below 100 %, 4 from \
          there on; docs/level.md describes it.",
);
pub(super) const CPU_LIMIT: Setting = without_flag(
    "level.cpu_limit",
    Kind::Share(|config| &mut config.level.cpu_limit, LEAST, 1.0),
    "Share of all CPU time that may be used, as a mean of 30 s. With 1, busy CPUs alone lead to level 3 at most.",
);
pub(super) const FILESYSTEM_LIMIT: Setting = without_flag(
    "level.filesystem_limit",
    Kind::Share(|config| &mut config.level.filesystem_limit, LEAST, 1.0),
    "Share of each filesystem in level.filesystems that may be used.",
);
pub(super) const FILESYSTEMS: Setting = without_flag(
    "level.filesystems",
    Kind::Mounts(|config| &mut config.level.filesystems),
    "Mount points of the filesystems that count. While one of them is not mounted or does not answer, the level is not known.",
);
pub(super) const GPU_LIMIT: Setting = without_flag(
    "level.gpu_limit",
    Kind::Share(|config| &mut config.level.gpu_limit, LEAST, 1.0),
    "Share of each GPU's memory that may be used, besides what model servers hold. Each GPU has a level of its own, which concerns \
          only what starts on it.",
);
pub(super) const MODEL_SERVERS: Setting = without_flag(
    "level.model_servers",
    Kind::Patterns(|config| &mut config.level.model_servers),
    "Workloads, by the names of `headroom workloads`, that hold GPU memory on purpose; * matches any text. Only those count that the \
          host itself started: a user's own service of that name does not.",
);
