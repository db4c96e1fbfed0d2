//! [`Level`]: how degraded the host is, 0 to 4, and what follows from it; and [`Limits`]: how much of each resource the operator lets the
//! host use. Data only: `engine/level` decides which level holds.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::pattern::Patterns;

/// In JSON its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[repr(u8)]
pub enum Level {
    #[default]
    Normal = 0,
    Light = 1,
    Moderate = 2,
    Heavy = 3,
    Critical = 4,
}

/// Priorities of work, from background to critical; a level admits them from one on.
pub const PRIORITIES: [&str; 5] = ["background", "low", "normal", "high", "critical"];

/// The use of a limit from which levels 1 to 4 hold.
const THRESHOLDS: [(f64, Level); 4] =
    [(1.0, Level::Critical), (0.95, Level::Heavy), (0.85, Level::Moderate), (0.70, Level::Light)];

impl Level {
    pub const ALL: [Level; 5] = [Level::Normal, Level::Light, Level::Moderate, Level::Heavy, Level::Critical];

    /// The level of this use, as a share of its limit.
    pub fn of(share: f64) -> Level {
        THRESHOLDS.iter().find(|(from, _)| share >= *from).map_or(Level::Normal, |(_, level)| *level)
    }

    pub fn number(self) -> u8 {
        self as u8
    }

    pub fn name(self) -> &'static str {
        ["normal", "light", "moderate", "heavy", "critical"][self as usize]
    }

    /// The share of its work that a program which adapts should do.
    pub fn factor(self) -> f64 {
        [1.0, 1.0, 0.5, 0.25, 0.0][self as usize]
    }

    /// The lowest priority that may still start, an index of [`PRIORITIES`].
    pub fn least_priority(self) -> u8 {
        [0, 0, 0, 2, 4][self as usize]
    }

    /// The next higher level.
    pub fn raised(self) -> Level {
        Level::ALL[(self as usize + 1).min(Level::ALL.len() - 1)]
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.number(), self.name())
    }
}

impl From<Level> for u8 {
    fn from(level: Level) -> u8 {
        level as u8
    }
}

impl TryFrom<u8> for Level {
    type Error = String;

    fn try_from(number: u8) -> Result<Level, String> {
        Level::ALL.get(usize::from(number)).copied().ok_or_else(|| format!("{number} is no level from 0 to 4"))
    }
}

/// Shares, 0 to 1, that the operator lets the host use, and what counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Of the host's memory.
    pub memory: f64,
    /// Of all CPU time.
    pub cpu: f64,
    /// Of each of `filesystems`.
    pub filesystem: f64,
    /// Of each GPU's memory.
    pub gpu: f64,
    /// Mount points.
    pub filesystems: Vec<Arc<str>>,
    /// Names of the workloads whose GPU memory is held on purpose.
    pub model_servers: Patterns,
    /// Of these the first that fits the host counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
}

/// How much of their memory hosts of some size should use: above it work of low priority waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// For hosts with so much memory or more, in bytes.
    #[serde(default)]
    pub from: u64,
    /// For hosts with a GPU, or for those without; absent: for both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<bool>,
    /// The share of the memory, 0 to 1.
    pub memory: f64,
}

impl Target {
    fn fits(&self, memory: u64, gpu: bool) -> bool {
        memory >= self.from && self.gpu.is_none_or(|wanted| wanted == gpu)
    }
}

impl Limits {
    /// The share of its memory that a host with so many bytes should use.
    pub fn target(&self, memory: u64, gpu: bool) -> Option<f64> {
        self.targets.iter().find(|target| target.fits(memory, gpu)).map(|target| target.memory)
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory: 0.9,
            cpu: 1.0,
            filesystem: 0.95,
            gpu: 0.97,
            filesystems: Vec::new(),
            model_servers: Patterns::default(),
            targets: Vec::new(),
        }
    }
}

/// A change of the level of the host, or of a GPU.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// The GPU's number; absent for the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Arc<str>>,
    pub state: State,
    pub from: Level,
    pub to: Level,
    /// Whether it is known; otherwise it may be higher.
    pub known: bool,
    /// One sentence, with the reasons.
    pub summary: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    Raised,
    Lowered,
    /// It may be higher now: something is missing.
    Unknown,
    /// It is known again.
    Known,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_factors_and_priorities_are_those_that_are_documented() {
        for (share, number, factor, priority) in [
            (0.0, 0, 1.0, 0),
            (0.6999, 0, 1.0, 0),
            (0.70, 1, 1.0, 0),
            (0.8499, 1, 1.0, 0),
            (0.85, 2, 0.5, 0),
            (0.95, 3, 0.25, 2),
            (0.9999, 3, 0.25, 2),
            (1.0, 4, 0.0, 4),
            (7.0, 4, 0.0, 4),
        ] {
            let level = Level::of(share);
            assert_eq!((level.number(), level.factor(), level.least_priority()), (number, factor, priority), "{share}");
        }
        assert_eq!(Level::ALL.map(Level::raised).map(Level::number), [1, 2, 3, 4, 4]);
    }

    #[test]
    fn the_first_target_that_fits_the_host_counts() {
        let target = |from, gpu, memory| Target { from, gpu, memory };
        let targets = vec![target(0, Some(false), 0.5), target(96, None, 0.65), target(32, Some(true), 0.6)];
        let limits = Limits { targets, ..Limits::default() };
        for (memory, gpu, share) in [
            (200, true, Some(0.65)),
            (96, true, Some(0.65)),
            (95, true, Some(0.6)),
            (31, true, None),
            (200, false, Some(0.5)),
        ] {
            assert_eq!(limits.target(memory, gpu), share, "{memory} {gpu}");
        }
        assert_eq!(Limits::default().target(1 << 40, true), None);
    }

    #[test]
    fn a_level_is_a_number_in_json() {
        assert_eq!(serde_json::to_string(&Level::ALL).unwrap(), "[0,1,2,3,4]");
        assert_eq!(serde_json::from_str::<Level>("3").unwrap(), Level::Heavy);
        assert!(serde_json::from_str::<Level>("5").unwrap_err().to_string().contains("no level"));
    }
}
