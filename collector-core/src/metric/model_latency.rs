//! How long requests take, as model servers tell it: histograms with the server's own edges, and quantiles of the last minute.

use super::model::{gauge, models, with};
use super::row::{Detail, Kind, Metric, Unit, Value};
use crate::statistic::model::Stage;

/// Shares with their labels.
pub const QUANTILES: [(f64, &str); 3] = [(0.5, "0.5"), (0.95, "0.95"), (0.99, "0.99")];
const MEAN: &str = "mean";

pub const SECONDS: Metric = Metric {
    kind: Kind::Histogram,
    unit: Some(Unit::Seconds),
    labels: &["workload", "namespace", "pod", "container", "server", "model", "stage"],
    detail: Detail::Used,
    read: |view, emit| {
        models(view, |labels, served| {
            let mut all = served.latency.iter();
            all.try_for_each(|latency| emit.latency(&with(labels, latency.stage.label()), latency))
        })
    },
    ..gauge(
        "headroom_model_latency_seconds",
        "Time to the first token, between tokens, of whole requests and in the queue, as the model server counted it since it started, by its own \
         bucket edges. Of a server that tells no more than a sum and a number there is one bucket.",
    )
};

pub const QUANTILE_SECONDS: Metric = Metric {
    unit: Some(Unit::Seconds),
    labels: &["workload", "namespace", "pod", "container", "server", "model", "stage", "quantile"],
    read: |view, emit| {
        models(view, |labels, served| {
            let Some(span) = served.minute.span() else { return Ok(()) };
            let mut tell = |stage: Stage, quantile: &str, seconds: f64| {
                let [name, namespace, pod, container, server, model] = labels;
                emit.gauge(
                    &[name, namespace, pod, container, server, model, stage.label(), quantile],
                    Value::Float(seconds),
                )
            };
            for latency in &span.latency {
                for (share, label) in QUANTILES {
                    latency.quantile(share).map_or(Ok(()), |ns| tell(latency.stage, label, ns / 1e9))?;
                }
                latency.mean().map_or(Ok(()), |ns| tell(latency.stage, MEAN, ns / 1e9))?;
            }
            let has = span.latency.iter().any(|latency| latency.stage == Stage::BetweenTokens && latency.count() > 0);
            span.token.filter(|_| !has).map_or(Ok(()), |mean| tell(Stage::BetweenTokens, MEAN, mean))
        })
    },
    ..gauge(
        "headroom_model_latency_quantile_seconds",
        "Below this were half, 95 % and 99 % of the durations in the model server's last minute, by stage, linear within a bucket of its histogram; \
         and their mean, which is all that llama.cpp's numbers give: seconds a token. Absent in a minute without requests, and above the last edge.",
    )
};
