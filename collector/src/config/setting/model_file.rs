//! `[model_file]`: its rows.

use std::time::Duration;

use super::row::{Setting, without_flag};
use super::{DAY, HOUR};
use crate::config::kind::Kind;

pub(super) const ENABLED: Setting = without_flag(
    "model_file.enabled",
    Kind::Switch(|config| &mut config.model_file.enabled),
    "Whether to look which model files are in use, how much of each is in the page cache, and at stores of models. Files of processes that \
          are model servers or hold GPU memory are looked at, no others.",
);

pub(super) const INSPECT: Setting = without_flag(
    "model_file.inspect",
    Kind::Switch(|config| &mut config.model_file.inspect),
    "Whether to see which files these processes have mapped and open. The agent then keeps CAP_SYS_PTRACE and CAP_FOWNER and does without \
          Landlock, which forbids looking into other processes. Without, only files that command lines name are known, how much of a file \
          is cached only where the kernel tells everybody or the file is the agent's own user's, and never that a file of a store is unused.",
);

pub(super) const INTERVAL: Setting = without_flag(
    "model_file.interval",
    Kind::Duration(|config| &mut config.model_file.interval, Duration::from_millis(100), HOUR),
    "Interval of looking at the files of these processes, on a separate thread.",
);

pub(super) const STORE_INTERVAL: Setting = without_flag(
    "model_file.store_interval",
    Kind::Duration(|config| &mut config.model_file.store_interval, Duration::from_millis(100), DAY),
    "Interval of listing stores of models: those of [[model_store]], Ollama's and Hugging Face's in their usual places, and those in the \
          homes of users who run model servers or hold GPU memory.",
);

pub(super) const UNUSED_AFTER: Setting = without_flag(
    "model_file.unused_after",
    Kind::Duration(|config| &mut config.model_file.unused_after, Duration::ZERO, Duration::from_secs(90 * 24 * 3600)),
    "A file of a store counts as unused if nobody was seen to use it for this long. What was before the agent's start is not known, and \
          counts as use.",
);
