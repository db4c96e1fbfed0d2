//! [`Standing`]: how the latency of a model compares with its own of the last hours. Decides nothing.

use crate::latency::{Measure, State};

/// As of the last window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Standing {
    /// In the order of [`Measure::all`]; those that were compared at least once, or that cannot be yet.
    pub lines: Vec<Line>,
    /// The load of the last window.
    pub load: Load,
}

/// One number of the last window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Line {
    pub measure: Measure,
    pub state: State,
    /// Seconds, in the last window in which there were enough requests.
    pub now: f64,
    /// Seconds, usual at like load: the median of `like` windows. Absent while there are too few.
    pub usual: Option<f64>,
    /// Windows at like load.
    pub like: usize,
    /// The end of that window, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The beginning of the first window in which it was worse, if it is.
    pub since: Option<u64>,
    /// That window alone was worse by as much as counts.
    pub over: bool,
}

/// How much a model had to do in a window. Unknown values are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Mean of the requests that it worked on.
    pub running: Option<f64>,
    /// Mean of the requests that waited.
    pub waiting: Option<f64>,
    /// Tokens in the prompt of a request.
    pub prompt: Option<f64>,
    /// Tokens made for a request.
    pub output: Option<f64>,
    /// Tokens made a second, or requests ended a second where tokens are not known.
    pub rate: Option<f64>,
    /// Requests that ended.
    pub requests: Option<u64>,
}

impl Standing {
    /// Of all measures: worse if one is, learning unless one could be compared.
    pub fn state(&self) -> State {
        self.lines.iter().map(|line| line.state).max().unwrap_or_default()
    }

    /// Since when something is worse.
    pub fn since(&self) -> Option<u64> {
        self.worse().filter_map(|line| line.since).min()
    }

    /// What is worse.
    pub fn worse(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(|line| line.state == State::Worse)
    }
}

impl Line {
    /// How many times as long as usual.
    pub fn ratio(&self) -> Option<f64> {
        self.usual.filter(|usual| *usual > 0.0).map(|usual| self.now / usual)
    }
}
