//! `[guard]`: what holds for commands that `headroom guard` starts.

use super::row::{Setting, without_flag};
use crate::config::kind::Kind;

/// Whether to start something that no agent was asked about.
pub const NO_AGENT_NAMES: [&str; 2] = ["allow", "deny"];

pub const NO_AGENT: Setting = without_flag(
    "guard.no_agent",
    Kind::Choice(|config| &mut config.guard.no_agent, &NO_AGENT_NAMES),
    "Whether headroom guard runs a command, and headroom wait succeeds, when no agent answers: allow does, with a warning; \
          deny does not.",
);

pub const STARTS: Setting = without_flag(
    "guard.starts",
    Kind::Count(|config| &mut config.guard.starts, 0, 1_000_000),
    "Starts of one unit of one user a minute; who starts more waits. 0 allows any number.",
);
