//! Words about circuit breakers: why a command failed, and whether its unit may start. Data only.

pub mod unit;

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Characters of the name of a unit.
pub const LONGEST: usize = 64;

/// Why a command failed. Commands that ended well, or because somebody asked them to, did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = FailureCause)]
pub enum Cause {
    /// The OOM killer killed it, or a process of it.
    Oom,
    /// The number of the signal that ended it.
    Signal(u8),
    /// The exit code, which is not 0.
    Exit(u8),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Oom => f.write_str("OOM kill"),
            Cause::Signal(number) => write!(f, "signal {number}"),
            Cause::Exit(code) => write!(f, "exit code {code}"),
        }
    }
}

/// Whether a unit may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = CircuitState)]
pub enum State {
    /// It may.
    #[default]
    Closed,
    /// One may start, to see whether it works again; or that one runs.
    Probing,
    /// It may not yet.
    Open,
}

impl State {
    /// The value of `headroom_circuit_state`.
    pub fn number(self) -> u64 {
        self as u64
    }

    pub fn name(self) -> &'static str {
        ["closed", "probing", "open"][self as usize]
    }
}
