//! Delivery of alerts to their receivers.

use super::row::{Detail, Kind, Metric, Value};

pub const DELIVERED: Metric = Metric {
    name: "headroom_sink_delivered_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Alerts that the receiver accepted, both firing and resolved.",
    labels: &["sink"],
    needs: &[],
    read: |view, emit| {
        for (sink, delivery) in &view.coverage.sinks {
            emit.counter(&[sink], Value::Int(delivery.delivered), view.started)?;
        }
        Ok(())
    },
};

pub const FAILURES: Metric = Metric {
    name: "headroom_sink_failures_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Always,
    help: "Attempts to deliver to the receiver that failed; the agent repeats all but those that the receiver refused for good.",
    labels: &["sink"],
    needs: &[],
    read: |view, emit| {
        for (sink, delivery) in &view.coverage.sinks {
            emit.counter(&[sink], Value::Int(delivery.failed), view.started)?;
        }
        Ok(())
    },
};

pub const QUEUED: Metric = Metric {
    name: "headroom_sink_queued",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "Alerts that wait to be delivered to the receiver.",
    labels: &["sink"],
    needs: &[],
    read: |view, emit| {
        for (sink, delivery) in &view.coverage.sinks {
            emit.gauge(&[sink], Value::Int(delivery.queued))?;
        }
        Ok(())
    },
};
