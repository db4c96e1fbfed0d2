//! What happened in a period of days: peaks and means of the host, of workloads and of GPUs, incidents by cause, alerts, and what is not
//! known. Built from the history's quarters of an hour and from what the journal has. Knows neither where those are read nor how a
//! page is shown.

pub mod advice;
mod axis;
pub mod block;
mod capacity;
pub mod card;
mod compare;
mod draw;
mod figures;
mod gap;
mod gpu;
mod html;
mod markdown;
mod page;
mod picture;
mod start;
mod summary;
mod text;
mod words;
mod workload;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::alert::{Alert, Severity, State};
use crate::incident::{Incident, Kind};
use crate::standing::Standing;
use crate::tier::{Known, Rare};
use card::Card;
pub use compare::compared;
pub use draw::{Listed, Setting};
pub use figures::{Figures, Spread};
use gap::Record;
pub use html::html;
pub use markdown::markdown;
pub use page::page;
pub use start::Starts;
pub use text::text;

/// What a period had.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Digest {
    /// In nanoseconds since the Unix epoch.
    pub from: u64,
    pub to: u64,
    /// For how many seconds of it the host was watched.
    pub known_seconds: u64,
    pub record: Record,
    /// Since when every incident and alert is kept; absent without a journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_from: Option<u64>,
    pub host: Figures,
    pub starts: Starts,
    /// How much was free in each hour of the week.
    pub headroom: Vec<capacity::Hour>,
    pub gpus: Vec<card::Figures>,
    /// Those with the highest peaks first.
    pub workloads: Vec<Figures>,
    /// Those that began in the period, oldest first.
    pub incidents: Vec<Event>,
    /// How many incidents of each kind had which cause.
    pub causes: Vec<Count>,
    /// Processes that the OOM killer killed.
    pub kills: u64,
    /// How often each rule fired, the most severe first.
    pub alerts: Vec<Count>,
    /// What to change: what was advised at the end of the period, then what was followed, or gone, within it.
    pub advice: Vec<Standing>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    pub time: u64,
    pub id: String,
    pub kind: &'static str,
    /// Absent: the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    pub title: String,
    /// The name of the cause, and what it says.
    pub rule: String,
    pub cause: String,
    /// Processes that the OOM killer killed.
    pub killed: u64,
    /// The memory limit that was hit, at that moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Count {
    /// A rule or a cause.
    pub name: String,
    /// The severity of a rule, or the kind of incident.
    pub of: &'static str,
    pub count: u64,
}

/// What is on disk of a period.
#[derive(Clone, Debug, Default)]
pub struct Material {
    pub host: Vec<Known>,
    pub workloads: Vec<(String, Vec<Known>)>,
    pub cards: Vec<Card>,
    pub counts: Vec<(u64, Rare, u64)>,
    /// When the host's history begins, and since when every incident and alert is kept; none without a history or a journal.
    pub history_from: Option<u64>,
    pub events_from: Option<u64>,
    pub incidents: Vec<Incident>,
    pub alerts: Vec<Alert>,
    /// All that was written of advice before the end of the period, the oldest first, and the quarters of an hour in which the agent started
    /// since then.
    pub advice: Vec<advice::Written>,
    pub starts: Vec<u64>,
}

impl Digest {
    /// Of a period; incidents and alerts of other times are left out.
    pub fn new((from, to): (u64, u64), material: &Material) -> Digest {
        let within = |time: u64| (from..to).contains(&time);
        let mut incidents: Vec<&Incident> =
            material.incidents.iter().filter(|incident| within(incident.time)).collect();
        incidents.sort_by(|one, other| one.id.cmp(&other.id));
        let events: Vec<Event> = incidents.iter().map(|incident| Event::of(incident)).collect();
        let mut workloads: Vec<Figures> = material
            .workloads
            .iter()
            .map(|(name, quarters)| {
                let of = |event: &&Event| event.workload.as_ref() == Some(name);
                let incidents = events.iter().filter(of).count() as u64;
                Figures { workload: Some(name.clone()), incidents, ..Figures::of(quarters) }
            })
            .filter(|figures| figures.memory_bytes.max.is_some() || figures.vram_bytes.max.is_some())
            .collect();
        let peak = |figures: &Figures| figures.memory_bytes.max.unwrap_or(0.0);
        workloads
            .sort_by(|one, other| peak(other).total_cmp(&peak(one)).then_with(|| one.workload.cmp(&other.workload)));
        Digest {
            from,
            to,
            known_seconds: material.host.iter().map(|quarter| u64::from(quarter.seconds)).sum(),
            record: Record::of((from, to), material),
            events_from: material.events_from,
            host: Figures::of(&material.host),
            starts: Starts::of(&material.counts),
            headroom: capacity::hours(material),
            gpus: card::figures(&material.cards, &material.counts),
            workloads,
            kills: events.iter().map(|event| event.killed).sum(),
            causes: counted(incidents.iter().map(|it| (0, it.kind.name(), it.cause.rule.clone()))),
            alerts: counted(material.alerts.iter().filter(|it| fired_within(it, within)).map(|alert| {
                let order = Severity::Critical as u8 - alert.severity as u8;
                (order, alert.severity.label(), alert.alert.to_string())
            })),
            incidents: events,
            advice: advice::of_period((from, to), &material.advice, &material.starts),
        }
    }

    /// Whether incidents and alerts of the whole period are known, so that none means that there was none.
    pub fn knows_events(&self) -> bool {
        self.events_from.is_some_and(|since| since <= self.from)
    }

    /// Whether anything was recorded.
    pub fn is_empty(&self) -> bool {
        self.known_seconds == 0 && self.incidents.is_empty() && self.alerts.is_empty()
    }
}

/// A corrected or resolved alert is not another one.
fn fired_within(alert: &Alert, within: impl Fn(u64) -> bool) -> bool {
    alert.state == State::Firing && alert.updated.is_none() && within(alert.fired)
}

/// How often each comes, by order and then the most frequent first.
fn counted(all: impl Iterator<Item = (u8, &'static str, String)>) -> Vec<Count> {
    let mut counts: BTreeMap<(u8, &'static str, String), u64> = BTreeMap::new();
    all.for_each(|key| *counts.entry(key).or_default() += 1);
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|((one, ..), few), ((other, ..), many)| one.cmp(other).then(many.cmp(few)));
    counts.into_iter().map(|((_, of, name), count)| Count { name, of, count }).collect()
}

impl Event {
    fn of(incident: &Incident) -> Event {
        Event {
            time: incident.time,
            id: incident.id.clone(),
            kind: incident.kind.name(),
            workload: incident.labels.get("workload").cloned(),
            title: incident.title.clone(),
            rule: incident.cause.rule.clone(),
            cause: incident.cause.sentence.clone(),
            killed: if incident.kind == Kind::Oom { incident.evidence.killed } else { 0 },
            limit_bytes: incident.evidence.limit.as_ref().and_then(|limit| limit.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Series;
    use crate::tier::{KEPT, Tier, kept};

    pub(super) fn quarter(index: u64, seconds: u16, memory: [f32; 3], waiting: f32) -> Known {
        let mut values = [[None; 3]; KEPT.len()];
        values[kept(Series::Memory).unwrap()] = memory.map(Some);
        values[kept(Series::MemoryWaiting).unwrap()] = [Some(0.0), Some(waiting), Some(1.0)];
        Known { time: index * Tier::QuarterHour.step(), seconds, values }
    }

    #[test]
    fn only_the_period_counts_and_a_resolved_alert_is_no_other() {
        let incident = |time: u64, rule: &str| {
            let mut incident = Incident::new(Kind::Oom, format!("i{time}"), time);
            incident.cause.rule = rule.to_owned();
            incident.evidence.killed = 2;
            incident
        };
        let alert = |fired, severity, name: &str, state| Alert {
            alert: name.into(),
            severity,
            labels: BTreeMap::new(),
            state,
            started: fired,
            fired,
            resolved: None,
            value: None,
            summary: String::new(),
            action: String::new(),
            incident: None,
            cause: None,
            updated: None,
        };
        let (info, critical) = (Severity::Info, Severity::Critical);
        let alerts = [
            alert(12, info, "B", State::Firing),
            alert(13, info, "A", State::Firing),
            alert(14, info, "A", State::Firing),
            alert(14, info, "A", State::Resolved),
            alert(15, critical, "C", State::Firing),
            alert(20, critical, "C", State::Firing),
        ];
        let incidents = [incident(9, "x"), incident(10, "y"), incident(19, "y"), incident(20, "y")];
        let workloads = [("small", 1e6), ("large", 1e9)];
        let workloads = workloads.map(|(name, peak)| (name.to_owned(), vec![quarter(0, 900, [0.0, 1.0, peak], 0.0)]));
        let (incidents, alerts) = (incidents.to_vec(), alerts.to_vec());
        let material = Material { workloads: workloads.to_vec(), incidents, alerts, ..Material::default() };
        let digest = Digest::new((10, 20), &material);
        let count = |name: &str, of, count| Count { name: name.to_owned(), of, count };
        assert_eq!(digest.causes, [count("y", "oom", 2)]);
        assert_eq!(digest.alerts, [count("C", "critical", 1), count("A", "info", 2), count("B", "info", 1)]);
        assert_eq!((digest.kills, digest.incidents.len()), (4, 2));
        let names: Vec<_> = digest.workloads.iter().map(|figures| figures.workload.as_deref().unwrap()).collect();
        assert_eq!(names, ["large", "small"]);
        assert!(!digest.is_empty() && Digest::default().is_empty());
    }
}
