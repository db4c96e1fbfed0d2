//! Receivers of alerts.

use super::row::{Kind, Metric, Value};

/// What arrived.
pub const DELIVERED: Metric = Metric {
    name: "headroom_sink_delivered_total",
    kind: Kind::Counter,
    unit: None,
    help: "Alerts that the receiver took, firing and resolved ones alike.",
    labels: &["sink"],
    needs: &[],
    read: |view, emit| {
        for (sink, delivery) in &view.coverage.sinks {
            emit.counter(&[sink], Value::Int(delivery.delivered), view.started)?;
        }
        Ok(())
    },
};

/// What did not.
pub const FAILURES: Metric = Metric {
    name: "headroom_sink_failures_total",
    kind: Kind::Counter,
    unit: None,
    help: "Attempts to deliver to the receiver that failed; all but those that it refused for good are repeated.",
    labels: &["sink"],
    needs: &[],
    read: |view, emit| {
        for (sink, delivery) in &view.coverage.sinks {
            emit.counter(&[sink], Value::Int(delivery.failed), view.started)?;
        }
        Ok(())
    },
};

/// What waits.
pub const QUEUED: Metric = Metric {
    name: "headroom_sink_queued",
    kind: Kind::Gauge,
    unit: None,
    help: "Alerts that wait for the receiver.",
    labels: &["sink"],
    needs: &[],
    read: |view, emit| {
        for (sink, delivery) in &view.coverage.sinks {
            emit.gauge(&[sink], Value::Int(delivery.queued))?;
        }
        Ok(())
    },
};
