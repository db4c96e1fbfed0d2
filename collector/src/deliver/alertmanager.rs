//! Alertmanager API, version 2. Firing alerts are posted repeatedly, because Alertmanager resolves alerts that are not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use collector_core::alert::{Alert, State};
use serde::Serialize;

use super::queue::Message;
use crate::sink::rfc3339;

/// Path below the configured URL.
pub const PATH: &str = "api/v2/alerts";

/// Interval of posting firing alerts again.
pub const REPOST_INTERVAL: Duration = Duration::from_secs(60);

/// Alertmanager resolves a firing alert after this time unless it is posted again, so alerts of a dead agent end.
const EXPIRY: Duration = Duration::from_secs(4 * 60);

/// Maximum alerts to repeat; far more than the rules may fire.
const MAX_FIRING: usize = 10_000;

/// Label with the host's name; without it, equal alerts of several hosts would merge.
const INSTANCE: &str = "instance";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

/// The firing alerts that one Alertmanager has accepted.
#[derive(Debug)]
pub struct Firing {
    host: String,
    generator: String,
    firing: BTreeMap<(Arc<str>, BTreeMap<String, String>), Alert>,
}

impl Firing {
    /// `generator` is the link to the source of the alerts.
    pub fn new(host: String, generator: String) -> Firing {
        Firing { host, generator, firing: BTreeMap::new() }
    }

    /// The body for these alerts.
    pub fn body(&self, messages: &[Arc<Message>], now: u64) -> Vec<u8> {
        self.write(messages.iter().map(|message| &message.alert), now)
    }

    /// Alertmanager accepted these alerts.
    pub fn accepted(&mut self, messages: &[Arc<Message>]) {
        messages.iter().for_each(|message| self.keep(&message.alert));
    }

    /// Adds alerts that fired before the agent started, unless a newer state is known.
    pub fn restore(&mut self, alerts: Vec<Alert>) {
        for alert in alerts {
            if !self.firing.contains_key(&(alert.alert.clone(), alert.labels.clone())) {
                self.keep(&alert);
            }
        }
    }

    /// Bodies with all firing alerts, up to `most` in each; none if nothing fires.
    pub fn bodies(&self, now: u64, most: usize) -> Vec<Vec<u8>> {
        let alerts: Vec<&Alert> = self.firing.values().collect();
        alerts.chunks(most).map(|chunk| self.write(chunk.iter().copied(), now)).collect()
    }

    fn keep(&mut self, alert: &Alert) {
        let key = (alert.alert.clone(), alert.labels.clone());
        match alert.state {
            State::Resolved => drop(self.firing.remove(&key)),
            State::Firing if self.firing.len() < MAX_FIRING || self.firing.contains_key(&key) => {
                self.firing.insert(key, alert.clone());
            }
            State::Firing => {}
        }
    }

    fn write<'a>(&'a self, alerts: impl Iterator<Item = &'a Alert>, now: u64) -> Vec<u8> {
        let items: Vec<Item<'_>> = alerts.map(|alert| self.item(alert, now)).collect();
        // Strings only: serialization cannot fail.
        serde_json::to_vec(&items).unwrap_or_default()
    }

    fn item<'a>(&'a self, alert: &'a Alert, now: u64) -> Item<'a> {
        let mut labels: BTreeMap<&str, &str> = BTreeMap::from([(INSTANCE, self.host.as_str())]);
        labels.extend(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        labels.extend([("alertname", &*alert.alert), ("severity", alert.severity.label())]);
        let mut annotations = BTreeMap::from([("summary", alert.summary.clone()), ("action", alert.action.clone())]);
        annotations.extend(alert.incident.clone().map(|incident| ("incident", incident)));
        annotations.extend(alert.cause.clone().map(|cause| ("cause", cause)));
        annotations.extend(alert.value.map(|value| ("value", value.to_string())));
        // Alertmanager rejects an end before the start, which a clock that was set back would cause.
        let ends = alert.resolved.unwrap_or(now + EXPIRY.as_nanos() as u64).max(alert.started);
        Item {
            labels,
            annotations,
            starts_at: rfc3339(alert.started),
            ends_at: rfc3339(ends),
            generator_url: &self.generator,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test::alert;
    use serde_json::{Value, json};

    const NOW: u64 = 1_700_000_000_000_000_000;

    fn firing() -> Firing {
        Firing::new("node1".into(), "http://node1:9843/metrics".into())
    }

    fn message(alert: Alert) -> Arc<Message> {
        Arc::new(Message { id: 1, alert })
    }

    fn resolved(name: &str) -> Alert {
        Alert { state: State::Resolved, resolved: Some(NOW + 1), ..alert(name, NOW) }
    }

    #[test]
    fn the_body_matches_the_api() {
        let body = firing().body(&[message(alert("Hot", NOW))], NOW);
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            body,
            json!([{
                "labels": {"alertname": "Hot", "severity": "warning", "instance": "node1", "workload": "w"},
                "annotations": {"summary": "it is so", "action": "do this", "value": "0.5"},
                "startsAt": "2023-11-14T22:13:20.000000000Z",
                "endsAt": "2023-11-14T22:17:20.000000000Z",
                "generatorURL": "http://node1:9843/metrics",
            }])
        );
        let body: Value = serde_json::from_slice(&firing().body(&[message(resolved("Hot"))], NOW)).unwrap();
        assert_eq!(body[0]["endsAt"], json!("2023-11-14T22:13:20.000000001Z"));
    }

    #[test]
    fn firing_alerts_are_repeated_until_they_resolve() {
        let mut known = firing();
        assert!(known.bodies(NOW, 2).is_empty());
        for name in ["A", "B", "C"] {
            known.accepted(&[message(alert(name, NOW))]);
        }
        let lengths = |known: &Firing| -> Vec<usize> {
            known.bodies(NOW, 2).iter().map(|body| serde_json::from_slice::<Vec<Value>>(body).unwrap().len()).collect()
        };
        assert_eq!(lengths(&known), [2, 1]);
        known.accepted(&[message(resolved("B"))]);
        assert_eq!(lengths(&known), [2]);
        let mut known = Firing::new(String::new(), String::new());
        known.accepted(&[message(alert("A", NOW))]);
        known.restore(vec![alert("A", 1), alert("B", 1)]);
        assert_eq!(lengths(&known), [2], "alerts from before the start are included");
        assert_eq!(known.firing.values().map(|alert| alert.fired).collect::<Vec<_>>(), [NOW, 1]);
        known.accepted(&[message(resolved("B"))]);
        known.accepted(&[message(resolved("A"))]);
        assert!(known.bodies(NOW, 2).is_empty());
    }

    #[test]
    fn a_correction_replaces_the_alert() {
        let mut known = firing();
        let cause = |cause: &str| Alert { cause: Some(cause.into()), ..alert("Oom", NOW) };
        known.accepted(&[message(cause("not known"))]);
        known.accepted(&[message(Alert { updated: Some(NOW + 1), ..cause("It grew.") })]);
        let bodies = known.bodies(NOW + 2, 9);
        let body: Value = serde_json::from_slice(&bodies[0]).unwrap();
        let causes: Vec<_> = body.as_array().unwrap().iter().map(|it| &it["annotations"]["cause"]).collect();
        assert_eq!(causes, [&json!("It grew.")]);
    }

    #[test]
    fn an_alert_never_ends_before_its_start() {
        let mut alert = resolved("A");
        alert.resolved = Some(NOW - 5);
        let body: Value = serde_json::from_slice(&firing().body(&[message(alert)], NOW)).unwrap();
        assert_eq!(body[0]["startsAt"], body[0]["endsAt"]);
    }
}
