//! Alertmanager's API, version 2: what fires is posted again and again, for Alertmanager forgets what it no longer hears of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::queue::Message;
use crate::alert::{Alert, State};
use crate::sink::rfc3339;

/// The path below the configured URL.
pub const PATH: &str = "api/v2/alerts";

/// How often what fires is posted.
pub const AGAIN: Duration = Duration::from_secs(60);

/// What fires ends of itself after this, unless it is posted again: so an agent that is gone leaves nothing behind.
const ENDS: Duration = Duration::from_secs(4 * 60);

/// Alerts that are posted again; far more than rules may fire.
const MOST: usize = 10_000;

/// The label with the host's name: without it the alerts of several hosts would be one.
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

/// The alerts that one Alertmanager knows to be firing.
#[derive(Debug)]
pub struct Firing {
    host: String,
    generator: String,
    firing: BTreeMap<(Arc<str>, BTreeMap<String, String>), Alert>,
}

impl Firing {
    /// `generator` is the link to where the alerts come from.
    pub fn new(host: String, generator: String) -> Firing {
        Firing { host, generator, firing: BTreeMap::new() }
    }

    /// The body that posts these.
    pub fn body(&self, messages: &[Arc<Message>], now: u64) -> Vec<u8> {
        self.write(messages.iter().map(|message| &message.alert), now)
    }

    /// Alertmanager took them.
    pub fn accepted(&mut self, messages: &[Arc<Message>]) {
        messages.iter().for_each(|message| self.keep(&message.alert));
    }

    /// These fire, too, from before the agent started, unless something newer is known of them.
    pub fn restore(&mut self, alerts: Vec<Alert>) {
        for alert in alerts {
            if !self.firing.contains_key(&(alert.alert.clone(), alert.labels.clone())) {
                self.keep(&alert);
            }
        }
    }

    /// Bodies that post all firing alerts, `most` in each; none if nothing fires.
    pub fn again(&self, now: u64, most: usize) -> Vec<Vec<u8>> {
        let alerts: Vec<&Alert> = self.firing.values().collect();
        alerts.chunks(most).map(|chunk| self.write(chunk.iter().copied(), now)).collect()
    }

    fn keep(&mut self, alert: &Alert) {
        let key = (alert.alert.clone(), alert.labels.clone());
        match alert.state {
            State::Resolved => drop(self.firing.remove(&key)),
            State::Firing if self.firing.len() < MOST || self.firing.contains_key(&key) => {
                self.firing.insert(key, alert.clone());
            }
            State::Firing => {}
        }
    }

    fn write<'a>(&'a self, alerts: impl Iterator<Item = &'a Alert>, now: u64) -> Vec<u8> {
        let items: Vec<Item<'_>> = alerts.map(|alert| self.item(alert, now)).collect();
        // Strings alone: it can be written.
        serde_json::to_vec(&items).unwrap_or_default()
    }

    fn item<'a>(&'a self, alert: &'a Alert, now: u64) -> Item<'a> {
        let mut labels: BTreeMap<&str, &str> = BTreeMap::from([(INSTANCE, self.host.as_str())]);
        labels.extend(alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        labels.extend([("alertname", &*alert.alert), ("severity", alert.severity.label())]);
        let mut annotations = BTreeMap::from([("summary", alert.summary.clone()), ("action", alert.action.clone())]);
        annotations.extend(alert.incident.clone().map(|incident| ("incident", incident)));
        annotations.extend(alert.value.map(|value| ("value", value.to_string())));
        // What began after it ended is refused: that is what a clock that was set back would make of it.
        let ends = alert.resolved.unwrap_or(now + ENDS.as_nanos() as u64).max(alert.started);
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

    fn told() -> Firing {
        Firing::new("node1".into(), "http://node1:9843/metrics".into())
    }

    fn message(alert: Alert) -> Arc<Message> {
        Arc::new(Message { id: 1, alert })
    }

    fn resolved(name: &str) -> Alert {
        Alert { state: State::Resolved, resolved: Some(NOW + 1), ..alert(name, NOW) }
    }

    #[test]
    fn an_alert_is_what_the_api_wants() {
        let body = told().body(&[message(alert("Hot", NOW))], NOW);
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
        let body: Value = serde_json::from_slice(&told().body(&[message(resolved("Hot"))], NOW)).unwrap();
        assert_eq!(body[0]["endsAt"], json!("2023-11-14T22:13:20.000000001Z"));
    }

    #[test]
    fn what_fires_is_told_again_until_it_resolves() {
        let mut told = told();
        assert!(told.again(NOW, 2).is_empty());
        for name in ["A", "B", "C"] {
            told.accepted(&[message(alert(name, NOW))]);
        }
        let lengths = |told: &Firing| -> Vec<usize> {
            told.again(NOW, 2).iter().map(|body| serde_json::from_slice::<Vec<Value>>(body).unwrap().len()).collect()
        };
        assert_eq!(lengths(&told), [2, 1]);
        told.accepted(&[message(resolved("B"))]);
        assert_eq!(lengths(&told), [2]);
        let mut told = Firing::new(String::new(), String::new());
        told.accepted(&[message(alert("A", NOW))]);
        told.restore(vec![alert("A", 1), alert("B", 1)]);
        assert_eq!(lengths(&told), [2], "what fired before the start does so, too");
        assert_eq!(told.firing.values().map(|alert| alert.fired).collect::<Vec<_>>(), [NOW, 1]);
        told.accepted(&[message(resolved("B"))]);
        told.accepted(&[message(resolved("A"))]);
        assert!(told.again(NOW, 2).is_empty());
    }

    #[test]
    fn nothing_ends_before_it_began() {
        let mut alert = resolved("A");
        alert.resolved = Some(NOW - 5);
        let body: Value = serde_json::from_slice(&told().body(&[message(alert)], NOW)).unwrap();
        assert_eq!(body[0]["startsAt"], body[0]["endsAt"]);
    }
}
