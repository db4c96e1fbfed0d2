//! Series of the alerts that fire: what `ALERTS` is to the rules of Prometheus.

use super::row::{Detail, Kind, Metric, Value, WORKLOAD};

/// Every label that a series of the catalogue can have, except those of infos, which rules cannot read.
pub const LABELS: [&str; 48] = {
    let [workload, namespace, pod, container] = WORKLOAD;
    [
        workload,
        namespace,
        pod,
        container,
        "alert",
        "severity",
        "access",
        "by",
        "check",
        "clock",
        "confidence",
        "device",
        "direction",
        "event",
        "file",
        "fstype",
        "gpu",
        "kind",
        "listener",
        "memory",
        "method",
        "minutes",
        "mode",
        "model",
        "mountpoint",
        "node",
        "operation",
        "priority",
        "probe",
        "program",
        "quantile",
        "reason",
        "resource",
        "risk",
        "rule",
        "scope",
        "server",
        "sink",
        "source",
        "stage",
        "state",
        "store",
        "tier",
        "type",
        "unit",
        "uuid",
        "verdict",
        "xid",
    ]
};

pub const ALERTS: Metric = Metric {
    name: "headroom_alerts",
    kind: Kind::Gauge,
    unit: None,
    detail: Detail::Always,
    help: "1 for each alert that fires, with the labels of what it is about; an alert that does not fire has no series.",
    labels: &LABELS,
    needs: &[],
    read: |view, emit| {
        let mut values = [""; LABELS.len()];
        for rule in &view.firing.0 {
            for labels in rule.alerts.keys() {
                values.iter_mut().zip(LABELS).for_each(|(value, name)| {
                    *value = match name {
                        "alert" => &rule.name,
                        "severity" => rule.severity.label(),
                        _ => labels.get(name).map_or("", String::as_str),
                    };
                });
                emit.gauge(&values, Value::Int(1))?;
            }
        }
        Ok(())
    },
};

pub const FIRED: Metric = Metric {
    name: "headroom_alerts_fired_total",
    kind: Kind::Counter,
    unit: None,
    detail: Detail::Used,
    help: "Times that the rule fired since the agent started; a rule on events fires at each event.",
    labels: &["alert", "severity"],
    needs: &[],
    read: |view, emit| {
        for rule in &view.firing.0 {
            emit.counter(&[&rule.name, rule.severity.label()], Value::Int(rule.fired), view.started)?;
        }
        Ok(())
    },
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::METRICS;

    #[test]
    fn an_alert_can_carry_every_label_of_a_series() {
        let others = METRICS.iter().filter(|metric| metric.kind != Kind::Info && metric.name != ALERTS.name);
        let all = others.flat_map(|metric| metric.labels);
        let missing: Vec<_> = all.clone().filter(|label| !LABELS.contains(label)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let needless: Vec<_> = LABELS.iter().filter(|label| !all.clone().any(|other| other == *label)).collect();
        assert!(needless.is_empty(), "{needless:?}");
    }
}
