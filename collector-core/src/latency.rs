//! The latency of model servers compared with itself: [`Limits`], from when on it is worse, and [`Measure`], what is compared. Data
//! only: `engine/latency` decides.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::statistic::model::Stage;

/// What counts as worse, and what it is compared with. From the section `[latency]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    pub enabled: bool,
    /// How much longer than the baseline counts as worse: 0.15 is 15 %.
    pub worse: f64,
    /// Requests are looked at together for this long, in nanoseconds.
    pub window_ns: u64,
    /// Older windows are no baseline any more, in nanoseconds.
    pub baseline_ns: u64,
    /// At least this many windows at like load make a baseline.
    pub learn: usize,
    /// A window with fewer requests says nothing.
    pub requests: u64,
    /// What has been worse for this long is the new baseline, in nanoseconds.
    pub accept_ns: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        const SECOND: u64 = 1_000_000_000;
        Limits {
            enabled: true,
            worse: 0.15,
            window_ns: 60 * SECOND,
            baseline_ns: 24 * 3600 * SECOND,
            learn: 15,
            requests: 30,
            accept_ns: 6 * 3600 * SECOND,
        }
    }
}

/// What was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LatencyTimed)]
pub enum Timed {
    /// From the arrival of a request to its first token.
    FirstToken,
    /// Between two tokens.
    BetweenTokens,
    /// A whole request.
    EndToEnd,
    /// A token with its share of the time in the queue, of servers that tell no durations of requests.
    Token,
}

impl Timed {
    pub const ALL: [Timed; 4] = [Timed::FirstToken, Timed::BetweenTokens, Timed::EndToEnd, Timed::Token];

    /// The label `stage`.
    pub fn label(self) -> &'static str {
        match self.stage() {
            Some(stage) => stage.label(),
            None => "token",
        }
    }

    /// For people.
    pub fn title(self) -> &'static str {
        match self.stage() {
            Some(stage) => stage.title(),
            None => "time a token with its wait in the queue",
        }
    }

    /// The stage whose durations servers tell.
    pub fn stage(self) -> Option<Stage> {
        match self {
            Timed::FirstToken => Some(Stage::FirstToken),
            Timed::BetweenTokens => Some(Stage::BetweenTokens),
            Timed::EndToEnd => Some(Stage::EndToEnd),
            Timed::Token => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LatencyQuantile)]
pub enum Quantile {
    /// Of servers that tell no more than a count and a sum.
    Mean,
    P95,
    P99,
}

impl Quantile {
    pub const ALL: [Quantile; 3] = [Quantile::Mean, Quantile::P95, Quantile::P99];

    /// The label `quantile`.
    pub fn label(self) -> &'static str {
        ["mean", "0.95", "0.99"][self as usize]
    }

    /// For people.
    pub fn title(self) -> &'static str {
        ["mean", "p95", "p99"][self as usize]
    }

    /// The share of durations that are shorter; `None` for the mean.
    pub fn share(self) -> Option<f64> {
        [None, Some(0.95), Some(0.99)][self as usize]
    }

    /// How many times as many requests it takes as a p95 does: a p99 rests on one in a hundred of them.
    pub fn requests(self) -> u64 {
        [1, 1, 5][self as usize]
    }
}

/// What is compared: one number of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measure {
    pub timed: Timed,
    pub quantile: Quantile,
}

/// Number of measures.
pub const MEASURES: usize = Timed::ALL.len() * Quantile::ALL.len();

impl Measure {
    pub fn all() -> impl Iterator<Item = Measure> {
        Timed::ALL
            .into_iter()
            .flat_map(|timed| Quantile::ALL.into_iter().map(move |quantile| Measure { timed, quantile }))
    }

    /// Its place in [`Measure::all`].
    pub fn index(self) -> usize {
        self.timed as usize * Quantile::ALL.len() + self.quantile as usize
    }

    /// The mean of the same durations.
    pub fn mean(self) -> Measure {
        Measure { quantile: Quantile::Mean, ..self }
    }
}

/// How a latency compares with its baseline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = LatencyState)]
pub enum State {
    /// There is not enough data: no baseline at like load yet.
    #[default]
    Learning,
    /// As usual, or better.
    Ok,
    /// Worse than usual.
    Worse,
}

impl State {
    pub const ALL: [State; 3] = [State::Learning, State::Ok, State::Worse];

    pub fn label(self) -> &'static str {
        ["learning", "ok", "worse"][self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_measure_has_a_place_of_its_own() {
        let places: Vec<usize> = Measure::all().map(Measure::index).collect();
        assert_eq!(places, (0..MEASURES).collect::<Vec<_>>());
    }
}
