//! Alerts of incidents: each incident fires anew, and is over some time after the last one.

use std::collections::BTreeMap;

use super::track::Round;
use super::{Alerts, FIRING, Filling, INCIDENTS, Labels, Times};
use crate::alert::{Alert, State};
use crate::incident::Incident;
use crate::metric::alert::LABELS;
use crate::outcome::Outcome;
use crate::rule::{Condition, Event, Rules};

/// An alert of an incident that was told, and when that was by what had gone by.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub alert: Alert,
    elapsed: u64,
}

/// Fires for each incident among the outcomes that is new.
pub(super) fn incidents(alerts: &mut Alerts, rules: &Rules, time: u64, outcomes: &mut Vec<Outcome>) {
    // Mostly there is none, and nothing to be copied.
    let mut index = 0;
    while index < outcomes.len() {
        if let Outcome::Incident(incident) = &outcomes[index]
            && !alerts.incidents.contains(&incident.id)
        {
            let incident = incident.clone();
            if alerts.incidents.len() >= INCIDENTS {
                alerts.incidents.pop_front();
            }
            alerts.incidents.push_back(incident.id.clone());
            fire(alerts, rules, time, &incident, outcomes);
        }
        index += 1;
    }
}

fn fire(alerts: &mut Alerts, rules: &Rules, time: u64, incident: &Incident, outcomes: &mut Vec<Outcome>) {
    // What tells one alert from another is in the metrics, too, whose labels are given.
    let known = incident.labels.iter().filter(|(name, value)| LABELS.contains(&name.as_str()) && !value.is_empty());
    let labels: BTreeMap<String, String> = known.map(|(name, value)| (name.clone(), value.clone())).collect();
    for (index, rule) in rules.0.iter().enumerate().filter(|(_, rule)| rule.enabled) {
        let Condition::Event(event) = &rule.condition else { continue };
        if event.kind != incident.kind || !concerns(event, &labels) {
            continue;
        }
        let filling = Filling { value: None, labels: Labels::Event(&labels), title: &incident.title };
        let times = Times { started: incident.time, fired: time, resolved: None };
        let alert = super::alert(rule, times, &filling, Some(&incident.id));
        let told = &mut alerts.told[index];
        if let Some(same) = told.iter_mut().find(|told| told.alert.labels == labels) {
            *same = Told { alert: alert.clone(), elapsed: alerts.elapsed };
        } else {
            if told.len() >= FIRING {
                // The page matters more than that an old one stays.
                outcomes.push(over(told.remove(0).alert, time));
            }
            told.push(Told { alert: alert.clone(), elapsed: alerts.elapsed });
        }
        outcomes.push(Outcome::Alert(Box::new(alert)));
    }
}

/// Whether a rule is about an incident with these labels.
pub(super) fn concerns(event: &Event, labels: &BTreeMap<String, String>) -> bool {
    let value = |name: &str| labels.get(name).map_or("", String::as_str);
    event.matches.iter().all(|(name, pattern)| pattern.matches(value(name)))
}

/// Tells of those that are over.
pub(super) fn expire(told: &mut Vec<Told>, event: &Event, now: &Round, outcomes: &mut Vec<Outcome>) {
    told.retain_mut(|told| {
        let holds = now.elapsed.saturating_sub(told.elapsed) < event.hold;
        if !holds {
            outcomes.push(over(told.alert.clone(), now.time));
        }
        holds
    });
}

/// Takes one up again; `false` if there is no room.
pub(super) fn restore(told: &mut Vec<Told>, alert: &Alert, elapsed: u64) -> bool {
    if told.len() >= FIRING {
        return false;
    }
    told.retain(|told| told.alert.labels != alert.labels);
    told.push(Told { alert: alert.clone(), elapsed });
    true
}

fn over(alert: Alert, time: u64) -> Outcome {
    Outcome::Alert(Box::new(Alert { state: State::Resolved, resolved: Some(time), ..alert }))
}
