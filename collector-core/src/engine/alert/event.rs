//! Alerts for incidents: each new incident fires, the alert is sent again if the incident turns out to have another cause, and
//! it resolves some time after the last incident.

use std::collections::BTreeMap;

use super::series::Round;
use super::{Alerts, FIRING, Filling, INCIDENTS, Labels, Times};
use crate::alert::Alert;
use crate::incident::Incident;
use crate::metric::alert::LABELS;
use crate::outcome::Outcome;
use crate::rule::{Condition, Event, Rule, Rules};
use crate::view::workload::Workloads;

/// The label of who is affected.
const WORKLOAD: &str = "workload";

/// An alert that fires, and the elapsed time when it last fired.
#[derive(Clone, Debug)]
pub(super) struct Fired {
    pub alert: Alert,
    elapsed: u64,
    /// It stands for many incidents.
    grouped: bool,
}

/// Fires for each new incident among the outcomes, and corrects the alerts of those whose cause has changed.
pub(super) fn incidents(
    alerts: &mut Alerts,
    rules: &Rules,
    workloads: &Workloads,
    time: u64,
    outcomes: &mut Vec<Outcome>,
) {
    // Usually there is none, so nothing is copied.
    let mut index = 0;
    while index < outcomes.len() {
        if let Outcome::Incident(incident) = &outcomes[index] {
            let rule = &incident.cause.rule;
            match alerts.incidents.iter_mut().find(|(id, _)| *id == incident.id) {
                None => {
                    let incident = incident.clone();
                    if alerts.incidents.len() >= INCIDENTS {
                        alerts.incidents.pop_front();
                    }
                    alerts.incidents.push_back((incident.id.clone(), rule.clone()));
                    let owner = incident.labels.get(WORKLOAD).map(|workload| workloads.owner(workload));
                    fire(alerts, rules, time, (owner, &incident), outcomes);
                }
                Some((_, known)) if known != rule => {
                    known.clone_from(rule);
                    let incident = incident.clone();
                    correct(alerts, rules, time, &incident, outcomes);
                }
                Some(_) => {}
            }
        }
        index += 1;
    }
}

/// Sends the alerts of an incident again, unless they are about a later one by now.
fn correct(alerts: &mut Alerts, rules: &Rules, time: u64, incident: &Incident, outcomes: &mut Vec<Outcome>) {
    for (rule, fired) in rules.0.iter().zip(&mut alerts.fired) {
        let ours = |one: &&mut Fired| !one.grouped && one.alert.incident.as_deref() == Some(&incident.id);
        for one in fired.iter_mut().filter(ours) {
            let labels = one.alert.labels.clone();
            let filling = Filling { value: None, labels: Labels::Event(&labels), title: &incident.title };
            let times = Times { started: one.alert.started, fired: one.alert.fired, resolved: None };
            let alert = super::alert(rule, times, &filling, Some(incident));
            one.alert = Alert { updated: Some(time), ..alert };
            outcomes.push(Outcome::Alert(Box::new(one.alert.clone())));
        }
    }
}

fn fire(
    alerts: &mut Alerts,
    rules: &Rules,
    time: u64,
    (owner, incident): (Option<&str>, &Incident),
    outcomes: &mut Vec<Outcome>,
) {
    // The labels identify an alert, also in the metrics, whose labels are fixed.
    let known = incident.labels.iter().filter(|(name, value)| LABELS.contains(&name.as_str()) && !value.is_empty());
    let labels: BTreeMap<String, String> = known.map(|(name, value)| (name.clone(), value.clone())).collect();
    // Asked once, and only if a rule is about it.
    let mut allowed = None;
    for (index, rule) in rules.0.iter().enumerate().filter(|(_, rule)| rule.enabled) {
        let Condition::Event(event) = &rule.condition else { continue };
        if event.kind != incident.kind || !concerns(event, &labels) {
            continue;
        }
        let rates = &mut alerts.rates;
        let allowed = *allowed.get_or_insert_with(|| owner.is_none_or(|owner| rates.allows(owner, time)));
        match owner {
            Some(owner) if !allowed => fire_grouped(alerts, index, rule, time, (owner, &labels, incident), outcomes),
            _ => fire_one(alerts, index, rule, time, (&labels, incident), outcomes),
        }
    }
}

/// Fires the alert of a rule for an incident.
fn fire_one(
    alerts: &mut Alerts,
    index: usize,
    rule: &Rule,
    time: u64,
    (labels, incident): (&BTreeMap<String, String>, &Incident),
    outcomes: &mut Vec<Outcome>,
) {
    let filling = Filling { value: None, labels: Labels::Event(labels), title: &incident.title };
    let times = Times { started: incident.time, fired: time, resolved: None };
    let alert = super::alert(rule, times, &filling, Some(incident));
    let fired = &mut alerts.fired[index];
    if let Some(same) = fired.iter_mut().find(|one| one.alert.labels == *labels) {
        *same = Fired { alert: alert.clone(), elapsed: alerts.elapsed, grouped: false };
    } else {
        if fired.len() >= FIRING {
            // A new alert matters more than an old one.
            outcomes.push(resolved(fired.remove(0).alert, time));
        }
        fired.push(Fired { alert: alert.clone(), elapsed: alerts.elapsed, grouped: false });
    }
    outcomes.push(Outcome::Alert(Box::new(alert)));
}

/// The incidents of an owner come too fast. The alert of a workload that fires already goes on and is not sent again; for the
/// workloads of a user, one alert about the user stands for them. It is sent once, and fires as long as they go on.
fn fire_grouped(
    alerts: &mut Alerts,
    index: usize,
    rule: &Rule,
    time: u64,
    (owner, labels, incident): (&str, &BTreeMap<String, String>, &Incident),
    outcomes: &mut Vec<Outcome>,
) {
    let elapsed = alerts.elapsed;
    let itself = labels.get(WORKLOAD).is_some_and(|workload| workload == owner);
    let ours = |one: &&mut Fired| match itself {
        true => one.alert.labels == *labels,
        false => one.alert.labels.get(WORKLOAD).is_some_and(|workload| workload == owner),
    };
    if let Some(same) = alerts.fired[index].iter_mut().find(ours) {
        same.elapsed = elapsed;
        return;
    }
    if itself {
        return fire_one(alerts, index, rule, time, (labels, incident), outcomes);
    }
    let labels = BTreeMap::from([(WORKLOAD.to_owned(), owner.to_owned())]);
    let title = format!("Many incidents in workloads of {owner}, of which this is one: {}", incident.title);
    let incident = Incident { title, ..incident.clone() };
    fire_one(alerts, index, rule, time, (&labels, &incident), outcomes);
    if let Some(one) = alerts.fired[index].iter_mut().find(|one| one.alert.labels == labels) {
        one.grouped = true;
    }
}

/// Whether a rule applies to an incident with these labels.
pub(super) fn concerns(event: &Event, labels: &BTreeMap<String, String>) -> bool {
    let value = |name: &str| labels.get(name).map_or("", String::as_str);
    event.matches.iter().all(|(name, pattern)| pattern.matches(value(name)))
}

/// Resolves the alerts whose last incident is older than the hold.
pub(super) fn expire(fired: &mut Vec<Fired>, event: &Event, now: &Round, alerts: &mut Vec<Alert>) {
    fired.retain_mut(|one| {
        let holds = now.elapsed.saturating_sub(one.elapsed) < event.hold;
        if !holds {
            alerts.push(one.alert.clone().resolved(now.time));
        }
        holds
    });
}

/// Restores an alert after a restart; `false` if there is no room.
pub(super) fn restore(fired: &mut Vec<Fired>, alert: &Alert, elapsed: u64) -> bool {
    if fired.len() >= FIRING {
        return false;
    }
    fired.push(Fired { alert: alert.clone(), elapsed, grouped: false });
    true
}

fn resolved(alert: Alert, time: u64) -> Outcome {
    Outcome::Alert(Box::new(alert.resolved(time)))
}
