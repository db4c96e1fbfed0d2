//! `[latency]`: from when on the latency of a model server is worse than its own of the last hours.

use std::time::Duration;

use collector_core::latency::Limits;

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Latency {
    pub enabled: bool,
    /// How much longer than usual is worse, as a share.
    pub worse: f64,
    /// How long requests are looked at together.
    pub window: Duration,
    /// How far back windows are compared with.
    pub baseline: Duration,
    /// Windows at like load that it takes.
    pub learn: usize,
    /// Requests that a window must have.
    pub requests: usize,
    /// What has been worse for so long is usual from then on.
    pub accept: Duration,
}

impl Default for Latency {
    fn default() -> Latency {
        let Limits { enabled, worse, window_ns, baseline_ns, learn, requests, accept_ns } = Limits::default();
        let [window, baseline, accept] = [window_ns, baseline_ns, accept_ns].map(Duration::from_nanos);
        Latency { enabled, worse, window, baseline, learn, requests: requests as usize, accept }
    }
}

impl Latency {
    pub fn limits(&self) -> Limits {
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Limits {
            enabled: self.enabled,
            worse: self.worse,
            window_ns: ns(self.window),
            baseline_ns: ns(self.baseline),
            learn: self.learn,
            requests: self.requests as u64,
            accept_ns: ns(self.accept),
        }
    }
}
