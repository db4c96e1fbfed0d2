//! How the latency of models compares with what is usual.

use super::model::{gauge, models, with};
use super::row::{Detail, Metric, Unit, Value};
use crate::latency::State;

pub const BASELINE: Metric = Metric {
    unit: Some(Unit::Seconds),
    labels: &["workload", "namespace", "pod", "container", "server", "model", "stage", "quantile"],
    read: |view, emit| {
        models(view, |labels, served| {
            let [name, namespace, pod, container, server, model] = labels;
            served.standing.lines.iter().try_for_each(|line| {
                let Some(usual) = line.usual else { return Ok(()) };
                let (stage, quantile) = (line.measure.timed.label(), line.measure.quantile.label());
                let labels = [name, namespace, pod, container, server, model, stage, quantile];
                emit.gauge(&labels, Value::Float(usual))
            })
        })
    },
    ..gauge(
        "headroom_model_latency_baseline_seconds",
        "What is usual for the model server: the median of those of its windows in the last hours in which it had as much to do as in the last one. \
         Stage token is the time a token takes with its share of the waits in the queue. Absent until there are enough such windows.",
    )
};

pub const STATE: Metric = Metric {
    labels: &["workload", "namespace", "pod", "container", "server", "model", "state"],
    detail: Detail::Used,
    read: |view, emit| {
        models(view, |labels, served| {
            if served.standing.lines.is_empty() {
                return Ok(());
            }
            let state = served.standing.state();
            State::ALL
                .into_iter()
                .try_for_each(|it| emit.gauge(&with(labels, it.label()), Value::Int(u64::from(it == state))))
        })
    },
    ..gauge(
        "headroom_model_latency_state",
        "How the model server's latency compares with its own of the last hours at like load: 1 for the state that holds, else 0. learning: there is \
         not enough data; worse: an incident says what, and why. Absent until a window had enough requests.",
    )
};
