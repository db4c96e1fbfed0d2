//! The evidence of memory that leaks: how fast, until when it fits, and which process grew.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::latency::duration;
use crate::amount::bytes;
use crate::view::leak::Kind;

/// Amounts in bytes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = MemoryLeak)]
pub struct Leak {
    /// `anon`, `shared`, `kernel`, `pinned` or `vram`.
    pub memory: String,
    /// Since when what it holds at least rises, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// How fast that rises, and between which paces, with 90 % confidence.
    pub bytes_per_hour: f64,
    pub between_bytes_per_hour: [f64; 2],
    /// What it held of this kind when that was judged last, of how much, and what was left to all who share that.
    pub held_bytes: u64,
    pub of_bytes: u64,
    pub left_bytes: u64,
    /// In how many seconds nothing would be left, from then on; at this pace, and at the earliest. 0: now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exhausted_in_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest_in_seconds: Option<f64>,
    /// Whether it used no more CPU time meanwhile; absent: that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steady: Option<bool>,
    /// It leaks no more: it stopped, started again, or is gone.
    pub over: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<LeakProcess>,
}

/// The process of it that grew most. What it held when it was first looked at is a bound if it was not among the largest then.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct LeakProcess {
    pub pid: u32,
    /// Empty where only the GPU's driver names it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comm: String,
    pub before_bytes: u64,
    pub now_bytes: u64,
    /// Between these two, in seconds.
    pub seconds: f64,
    /// It started in between.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub new: bool,
    /// Its share of what all processes of the workload grew by, 0 to 1.
    pub share: f64,
    /// Processes of the workload then and now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<[u32; 2]>,
}

impl Leak {
    /// The kind of memory, as a person says it.
    pub fn kind_name(&self) -> &'static str {
        Kind::ALL.iter().find(|kind| kind.label() == self.memory).map_or("memory", |kind| kind.name())
    }

    /// `1.20 GiB an hour`.
    pub fn pace(&self) -> String {
        format!("{} an hour", bytes(self.bytes_per_hour.max(0.0) as u64))
    }

    /// `full in 3 h (2 h at the earliest)`.
    pub fn left(&self) -> Option<String> {
        match (self.exhausted_in_seconds?, self.earliest_in_seconds) {
            (0.0, _) => Some("full now".to_owned()),
            (seconds, Some(earliest)) if earliest < 0.95 * seconds => {
                Some(format!("full in {} ({} at the earliest)", span(seconds), span(earliest)))
            }
            (seconds, _) => Some(format!("full in {}", span(seconds))),
        }
    }
}

/// `90 s`, `12 min`, `3.2 h`, `5.1 d`.
fn span(seconds: f64) -> String {
    match seconds {
        it if it < 120.0 => duration(it),
        it if it < 7200.0 => format!("{:.0} min", it / 60.0),
        it if it < 48.0 * 3600.0 => format!("{:.1} h", it / 3600.0),
        it => format!("{:.1} d", it / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_is_left_is_told_with_its_bound() {
        let left = |seconds, earliest| {
            let leak = Leak { exhausted_in_seconds: seconds, earliest_in_seconds: earliest, ..Leak::default() };
            leak.left().unwrap_or_default()
        };
        assert_eq!(left(Some(4.0 * 3600.0), Some(3.0 * 3600.0)), "full in 4.0 h (3.0 h at the earliest)");
        assert_eq!(left(Some(600.0), Some(590.0)), "full in 10 min");
        assert_eq!([left(Some(0.0), None), left(None, None)], ["full now", ""]);
    }
}
