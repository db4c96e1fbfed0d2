//! The evidence of a model server that answers more slowly than usual: which durations, beside what is usual at like load. Knows nothing
//! of why.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::amount;
use crate::latency::{Quantile, Timed};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct Slowdown {
    pub server: String,
    /// Which program serves: the label `kind` of `headroom_model_server_info`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    pub model: String,
    /// The beginning of the first window in which it was slower, in nanoseconds since the Unix epoch.
    pub since: u64,
    /// The end of the last one.
    pub until: u64,
    /// It is as usual again, or the server is gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub over: bool,
    /// What is slower; the worst first.
    pub measures: Vec<Slower>,
    /// Requests that it worked on, on average in the last of these windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<f64>,
    /// Requests that waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<f64>,
    /// Tokens in the prompt of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_tokens: Option<f64>,
    /// Tokens made for a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<f64>,
}

/// One number that is worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Slower {
    pub timed: Timed,
    pub quantile: Quantile,
    /// In the worst window.
    pub now_seconds: f64,
    /// Usual at like load.
    pub usual_seconds: f64,
    /// Windows of the last hours that this was compared with.
    pub windows: usize,
}

/// A duration in three digits: requests take seconds, and tokens of small models less than a millisecond.
pub fn duration(seconds: f64) -> String {
    match seconds {
        _ if seconds >= 10.0 => amount::seconds(seconds),
        _ if seconds >= 1.0 => format!("{} s", amount::fixed(seconds, 2)),
        _ if seconds >= 0.1 => format!("{} ms", amount::fixed(seconds * 1e3, 0)),
        _ if seconds >= 1e-3 => format!("{} ms", amount::fixed(seconds * 1e3, if seconds < 0.01 { 2 } else { 1 })),
        _ => format!("{} µs", amount::fixed(seconds * 1e6, 0)),
    }
}

impl Slower {
    /// How many times as long as usual.
    pub fn ratio(&self) -> f64 {
        if self.usual_seconds > 0.0 { self.now_seconds / self.usual_seconds } else { 1.0 }
    }

    /// Such as `time to first token p95`.
    pub fn what(&self) -> String {
        match self.quantile {
            Quantile::Mean => format!("mean {}", self.timed.title()),
            Quantile::P95 | Quantile::P99 => format!("{} {}", self.timed.title(), self.quantile.title()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits_and_names_say_what_was_timed() {
        let texts = [250.0, 12.34, 2.104, 0.35, 0.0354, 0.00421, 0.000_35].map(duration);
        assert_eq!(texts, ["4 min", "12 s", "2.10 s", "350 ms", "35.4 ms", "4.21 ms", "350 µs"]);
        let slower = |timed, quantile| Slower { timed, quantile, now_seconds: 3.0, usual_seconds: 2.0, windows: 20 };
        assert_eq!(slower(Timed::FirstToken, Quantile::P95).what(), "time to first token p95");
        assert_eq!(slower(Timed::BetweenTokens, Quantile::Mean).what(), "mean time between tokens");
        assert_eq!(slower(Timed::EndToEnd, Quantile::P99).ratio(), 1.5);
    }
}
