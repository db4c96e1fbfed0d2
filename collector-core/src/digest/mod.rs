//! What happened in a period of days: peaks and means of the host and of workloads, incidents by cause, alerts. Built from the history's
//! quarters of an hour and from what the journal has. Knows neither where those are read nor how a page is shown.

pub mod block;
pub mod card;
mod html;
mod markdown;
mod page;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::alert::{Alert, Severity, State};
use crate::incident::{Incident, Kind};
use crate::series::Series;
use crate::tier::{Known, kept};
pub use html::html;
pub use markdown::markdown;
pub use page::{compared, page};
pub use text::text;

/// What a period had.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Digest {
    /// In nanoseconds since the Unix epoch.
    pub from: u64,
    pub to: u64,
    /// For how many seconds of it the host was watched.
    pub known_seconds: u64,
    pub host: Figures,
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
}

/// The numbers of the host or of a workload. What was never known is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Absent: the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The memory limit that it has now: the history keeps none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    pub memory_bytes: Spread,
    pub anon_bytes: Spread,
    /// CPUs in use.
    pub cpus: Spread,
    pub vram_bytes: Spread,
    /// Seconds in which some task waited (PSI), and seconds in reclaim and compaction, summed over tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_waiting_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_waiting_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stall_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_to_device_bytes: Option<f64>,
    /// Times and most memory, for the picture.
    #[serde(skip)]
    pub memory: Vec<(u64, Option<f64>)>,
    #[serde(skip)]
    pub waiting: Vec<(u64, Option<f64>)>,
}

/// Mean and maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    pub time: u64,
    pub id: String,
    pub kind: &'static str,
    pub title: String,
    pub cause: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Count {
    /// A rule or a cause.
    pub name: String,
    /// The severity of a rule, or the kind of incident.
    pub of: &'static str,
    pub count: u64,
}

impl Digest {
    /// Of a period with these quarters, incidents and alerts; those of other times are left out.
    pub fn new(
        (from, to): (u64, u64),
        host: &[Known],
        workloads: impl IntoIterator<Item = (String, Vec<Known>)>,
        incidents: &[Incident],
        alerts: &[Alert],
    ) -> Digest {
        let workloads = workloads.into_iter();
        let mut workloads: Vec<Figures> = workloads
            .map(|(name, quarters)| Figures { workload: Some(name), ..Figures::of(&quarters) })
            .filter(|figures| figures.memory_bytes.max.is_some() || figures.vram_bytes.max.is_some())
            .collect();
        let peak = |figures: &Figures| figures.memory_bytes.max.unwrap_or(0.0);
        workloads
            .sort_by(|one, other| peak(other).total_cmp(&peak(one)).then_with(|| one.workload.cmp(&other.workload)));
        let within = |time: u64| (from..to).contains(&time);
        let mut incidents: Vec<&Incident> = incidents.iter().filter(|incident| within(incident.time)).collect();
        incidents.sort_by(|one, other| one.id.cmp(&other.id));
        let killed = |incident: &&&Incident| incident.kind == Kind::Oom;
        Digest {
            from,
            to,
            known_seconds: host.iter().map(|quarter| u64::from(quarter.seconds)).sum(),
            host: Figures::of(host),
            workloads,
            kills: incidents.iter().filter(killed).map(|incident| incident.evidence.killed).sum(),
            causes: counted(incidents.iter().map(|it| (0, it.kind.name(), it.cause.rule.clone()))),
            alerts: counted(alerts.iter().filter(|it| fired_within(it, within)).map(|alert| {
                let order = Severity::Critical as u8 - alert.severity as u8;
                (order, alert.severity.label(), alert.alert.to_string())
            })),
            incidents: incidents.iter().map(|incident| Event::of(incident)).collect(),
        }
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
            title: incident.title.clone(),
            cause: incident.cause.sentence.clone(),
        }
    }
}

impl Figures {
    fn of(quarters: &[Known]) -> Figures {
        let spread = |series| spread(quarters, series);
        let total = |series| total(quarters, series);
        let line = |series| quarters.iter().map(|quarter| (quarter.time, value(quarter, series, 2))).collect();
        Figures {
            workload: None,
            memory_limit_bytes: None,
            memory_bytes: spread(Series::Memory),
            anon_bytes: spread(Series::Anon),
            cpus: spread(Series::Cpu),
            vram_bytes: spread(Series::Vram),
            memory_waiting_seconds: total(Series::MemoryWaiting),
            io_waiting_seconds: total(Series::IoWaiting),
            stall_seconds: total(Series::Stalls),
            host_to_device_bytes: total(Series::HostToDevice),
            memory: line(Series::Memory),
            waiting: line(Series::MemoryWaiting),
        }
    }
}

fn value(quarter: &Known, series: Series, part: usize) -> Option<f64> {
    quarter.values[kept(series)?][part].map(f64::from)
}

fn spread(quarters: &[Known], series: Series) -> Spread {
    let seconds: f64 = known(quarters, series).map(|(seconds, _)| seconds).sum();
    let sum: f64 = known(quarters, series).map(|(seconds, mean)| seconds * mean).sum();
    Spread {
        mean: (seconds > 0.0).then(|| sum / seconds),
        max: quarters.iter().filter_map(|quarter| value(quarter, series, 2)).reduce(f64::max),
    }
}

/// A rate times the seconds for which it is known.
fn total(quarters: &[Known], series: Series) -> Option<f64> {
    known(quarters, series).map(|(seconds, mean)| seconds * mean).reduce(|sum, more| sum + more)
}

fn known(quarters: &[Known], series: Series) -> impl Iterator<Item = (f64, f64)> {
    quarters.iter().filter_map(move |quarter| Some((f64::from(quarter.seconds), value(quarter, series, 1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::{KEPT, Tier};

    pub(super) fn quarter(index: u64, seconds: u16, memory: [f32; 3], waiting: f32) -> Known {
        let mut values = [[None; 3]; KEPT.len()];
        values[kept(Series::Memory).unwrap()] = memory.map(Some);
        values[kept(Series::MemoryWaiting).unwrap()] = [Some(0.0), Some(waiting), Some(1.0)];
        Known { time: index * Tier::QuarterHour.step(), seconds, values }
    }

    #[test]
    fn means_are_weighted_by_what_is_known_and_a_peak_stays() {
        let quarters = [quarter(0, 900, [1e9, 2e9, 3e9], 0.5), quarter(1, 300, [5e9, 6e9, 8e9], 0.1)];
        let figures = Figures::of(&quarters);
        assert_eq!(figures.memory_bytes, Spread { mean: Some(3e9), max: Some(8e9) });
        assert!((figures.memory_waiting_seconds.unwrap() - 480.0).abs() < 1e-3);
        assert_eq!((figures.vram_bytes, figures.stall_seconds), (Spread::default(), None), "not known is not zero");
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
        let digest = Digest::new((10, 20), &[], workloads, &incidents, &alerts);
        let count = |name: &str, of, count| Count { name: name.to_owned(), of, count };
        assert_eq!(digest.causes, [count("y", "oom", 2)]);
        assert_eq!(digest.alerts, [count("C", "critical", 1), count("A", "info", 2), count("B", "info", 1)]);
        assert_eq!((digest.kills, digest.incidents.len()), (4, 2));
        let names: Vec<_> = digest.workloads.iter().map(|figures| figures.workload.as_deref().unwrap()).collect();
        assert_eq!(names, ["large", "small"]);
        assert!(!digest.is_empty() && Digest::default().is_empty());
    }
}
