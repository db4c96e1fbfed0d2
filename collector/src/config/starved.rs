//! `[starved]`: when a job uses its GPU much less than it usually does.

use std::time::Duration;

use collector_core::starved;

/// `[starved]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Starved {
    pub enabled: bool,
    /// Share of the usual utilization.
    pub fall: f64,
    pub window: Duration,
    /// How long a job is watched before anything is usual.
    pub baseline: Duration,
}

impl Default for Starved {
    fn default() -> Starved {
        let starved::Settings { enabled, fall, window, baseline } = starved::Settings::default();
        let [window, baseline] = [window, baseline].map(Duration::from_nanos);
        Starved { enabled, fall, window, baseline }
    }
}

impl Starved {
    pub fn settings(&self) -> starved::Settings {
        let [window, baseline] = [self.window, self.baseline].map(|time| time.as_nanos() as u64);
        starved::Settings { enabled: self.enabled, fall: self.fall, window, baseline }
    }
}
