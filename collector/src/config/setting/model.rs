//! `[models]`: its rows.

use std::time::Duration;

use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

pub(super) const ENABLED: Setting = without_flag(
    "models.enabled",
    Kind::Switch(|config| &mut config.models.enabled),
    "Whether to find model servers on this host and to ask them, and those of [[model_server]], what they say of themselves. \
          [models.md](models.md) says how they are found, and what is asked.",
);

pub(super) const INTERVAL: Setting = without_flag(
    "models.interval",
    Kind::Duration(|config| &mut config.models.interval, Duration::from_millis(200), Duration::from_secs(600)),
    "Interval of asking each model server, on a separate thread, and of looking for new ones if there are new processes. One that \
          answers at length is asked less often.",
);

pub(super) const EXCLUDE: Setting = without_flag(
    "models.exclude",
    Kind::Patterns(|config| &mut config.models.exclude),
    "Model servers to leave out, by name, such as vllm:8000 or ollama:*, or by the path of their cgroup, such as /user.slice/*; * \
          matches any text.",
);
