//! The alerts that fire: the answer of `/api/v1/alerts`.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::alert::{Alert, Severity};
use crate::view::View;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alerts {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The most severe first, of those the newest.
    pub alerts: Vec<Firing>,
}

/// An alert that fires. `value` is what it was when the alert fired.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Firing {
    #[serde(flatten)]
    pub alert: Alert,
    /// Its texts under the names that Alertmanager gets: `summary`, `action`, and of an incident `incident` and `cause`.
    pub annotations: BTreeMap<String, String>,
}

/// The alerts that fire: the most severe first, of those the newest.
pub(super) fn sorted(view: &View) -> Vec<&Arc<Alert>> {
    let mut alerts: Vec<&Arc<Alert>> = view.firing.alerts().collect();
    alerts.sort_by_key(|alert| Reverse((alert.severity, alert.started)));
    alerts
}

/// Those that this holds for, in the same order.
pub(super) fn those(view: &View, holds: impl Fn(&Alert) -> bool) -> Vec<Alert> {
    sorted(view).into_iter().filter(|alert| holds(alert)).map(|alert| Alert::clone(alert)).collect()
}

/// Whether it is about this workload.
pub(super) fn is_about(alert: &Alert, workload: &str) -> bool {
    alert.labels.get("workload").is_some_and(|name| name == workload)
}

impl Alerts {
    /// Those of this severity, or all.
    pub fn of(view: &View, severity: Option<Severity>) -> Alerts {
        let wanted = those(view, |alert| severity.is_none_or(|severity| alert.severity == severity));
        let firing = |alert| Firing { annotations: annotations(&alert), alert };
        Alerts { time: view.time, alerts: wanted.into_iter().map(firing).collect() }
    }
}

fn annotations(alert: &Alert) -> BTreeMap<String, String> {
    let Alert { summary, action, incident, cause, .. } = alert;
    let texts = [
        ("summary", Some(summary)),
        ("action", Some(action)),
        ("incident", incident.as_ref()),
        ("cause", cause.as_ref()),
    ];
    texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::suggestions::Suggestions;
    use crate::api::workloads::Detail;
    use crate::engine::Engine;
    use crate::engine::test::{ID, start};
    use crate::rule::Rules;
    use crate::sample::{Reading, Sample, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::host;
    use crate::statistic::workload::{Statistic, Values};

    const RULES: &str = r#"
        [[rule]]
        alert = "Warm"
        metric = "headroom_host_memory_used_ratio"
        above = 0.5
        severity = "warning"
        summary = "{value} used"
        action = "Look at it."
        [[rule]]
        alert = "Hot"
        metric = "headroom_workload_memory_current_bytes"
        above = 100
        severity = "critical"
        summary = "{labels.workload} has {value}"
        action = "Ask {labels.workload}."
    "#;

    /// A host on which both rules fire, the second about `/a`.
    fn engine() -> Engine {
        let mut rules = Rules::new(&crate::rule::raw::read(RULES).unwrap()).unwrap();
        rules.0.retain(|rule| rule.origin != crate::rule::Origin::Pack);
        let mut engine = Engine::with(Arc::new(rules));
        let host = [(host::Statistic::MemoryTotal, 100), (host::Statistic::MemoryAvailable, 40)];
        let values = Values::from_iter([(Statistic::MemoryCurrent, 200)]);
        for (time, reading) in [
            (10, Reading::Start(start())),
            (10, Reading::Cgroup(cgroup::Reading::Born { id: ID, path: "/a".into() })),
            (11, Reading::Host(host::Values::from_iter(host))),
            (12, Reading::Tick),
            (13, Reading::Statistics(Statistics { cgroup: ID, values, turn: true })),
            (14, Reading::Tick),
        ] {
            engine.apply(&Sample { time, reading });
        }
        engine
    }

    #[test]
    fn alerts_come_by_severity_with_the_texts_that_alertmanager_gets() {
        let engine = engine();
        let names = |severity| {
            let Alerts { time, alerts } = Alerts::of(engine.view(), severity);
            assert_eq!(time, 14);
            alerts.iter().map(|firing| firing.alert.alert.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["Hot", "Warm"]);
        assert_eq!(names(Some(Severity::Warning)), ["Warm"]);
        assert_eq!(names(Some(Severity::Info)), [""; 0]);
        let alert = serde_json::to_value(&Alerts::of(engine.view(), None).alerts[0]).unwrap();
        let expected = serde_json::json!({
            "alert": "Hot", "severity": "critical", "labels": {"workload": "/a"}, "state": "firing",
            "started": 14, "fired": 14, "value": 200.0, "summary": "/a has 200", "action": "Ask /a.",
            "annotations": {"summary": "/a has 200", "action": "Ask /a."},
        });
        assert_eq!(alert, expected);
        assert_eq!(serde_json::from_value::<Firing>(alert).unwrap(), Alerts::of(engine.view(), None).alerts[0]);
    }

    #[test]
    fn each_alert_suggests_what_its_rule_says() {
        let Suggestions { suggestions, .. } = Suggestions::of(engine().view());
        let told: Vec<_> = suggestions.iter().map(|it| (it.alert.as_deref(), &*it.action, it.labels.len())).collect();
        assert_eq!(told, [(Some("Hot"), "Ask /a.", 1), (Some("Warm"), "Look at it.", 0)]);
    }

    #[test]
    fn a_workload_has_the_alerts_that_are_about_it() {
        let engine = engine();
        let of = |name| Detail::of(engine.view(), name).unwrap().alerts;
        assert_eq!(of("/a").iter().map(|alert| &*alert.alert).collect::<Vec<_>>(), ["Hot"]);
        assert_eq!(of("other"), []);
    }
}
