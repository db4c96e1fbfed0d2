//! Incidents: facts that belong together become one incident, with the evidence in the view at that moment. It is reported at
//! the first fact, and completed at a later tick under the same id.

mod consumer;
mod evidence;
mod gpu;
mod killed;
mod latency;
mod leak;
mod limit;
mod oom;
pub(crate) mod slow;
mod starved;
mod storm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, UNIX_EPOCH};

use crate::incident::{Incident, Kind, Storm, cause};
use crate::outcome::Outcome;
use crate::sample::Reading;
use crate::signal::kill;
use crate::view::View;
use crate::view::workload::Workload;

/// Maximum number of incomplete incidents. One more, and the oldest is completed as it is; one of a slow model server or of a leak, of
/// which a user can make many, before any other.
const MAX_OPEN: usize = 64;
/// A fact this long after the last fact of an incident, in nanoseconds, begins another.
pub(super) const APART_NS: u64 = 1_000_000_000;

#[derive(Clone, Debug, Default)]
pub struct Incidents {
    /// The time in the last id, in microseconds. No two ids have the same.
    last: u64,
    open: VecDeque<Open>,
    storms: storm::Storms,
    /// Jobs on GPUs, and those that use them less than usual.
    starved: super::starved::Fold,
    low: Vec<starved::Low>,
    slowdowns: latency::Slowdowns,
    leaking: leak::Leaking,
}

/// An incident that is not complete.
#[derive(Clone, Debug)]
struct Open {
    incident: Incident,
    /// Time of its last fact.
    last: u64,
    /// Of an OOM incident: its first kill.
    kill: Option<oom::First>,
}

/// Returns the incidents that begin with this sample, or are complete now.
pub(super) fn fold(
    incidents: &mut Incidents,
    view: &mut View,
    time: u64,
    reading: &Reading,
    facts: &[Outcome],
) -> Vec<Incident> {
    if let Reading::Kill(kill::Reading::Sent(sent)) = reading {
        killed::further(incidents, view, time, sent);
    }
    let mut reported = begin(incidents, view, time, facts);
    if let Reading::Model(reading) = reading {
        reported.extend(latency::answered(incidents, view, time, reading));
    }
    if let Reading::Gpu(reading) = reading {
        gpu::changed(view, time, reading);
        incidents.starved.see(view, time, reading);
    }
    for gone in view.gpus.gone() {
        reported.extend(gpu::lost(incidents, view, time, gone));
    }
    if *reading == Reading::Tick {
        for unseen in view.unseen_kills(time) {
            reported.extend(oom::unseen(incidents, view, &unseen));
        }
        reported.extend(storm::ended(incidents, view, time));
        reported.extend(starved::tick(incidents, view, time));
        reported.extend(latency::tick(incidents, view, time));
        reported.extend(leak::tick(incidents, view, time));
        let fact = |kind| matches!(kind, Kind::Oom | Kind::GpuLost | Kind::Killed);
        let done = |open: &Open| fact(open.incident.kind) && time.saturating_sub(open.last) >= APART_NS;
        reported.extend(complete(incidents, view, done));
    }
    reported
}

/// Returns the incidents that begin with the last facts, and all open ones, completed as they are.
pub(super) fn finish(incidents: &mut Incidents, view: &View, facts: &[Outcome]) -> Vec<Incident> {
    let mut reported = begin(incidents, view, view.time, facts);
    reported.extend(complete(incidents, view, |_| true));
    reported
}

fn begin(incidents: &mut Incidents, view: &View, time: u64, facts: &[Outcome]) -> Vec<Incident> {
    let reported = facts.iter().flat_map(|fact| match fact {
        Outcome::OomKill(kill) => oom::killed(incidents, view, kill),
        Outcome::Signal(signal) => killed::began(incidents, view, signal),
        Outcome::Pressure(stall) => storm::stalled(incidents, view, time, stall),
        _ => Vec::new(),
    });
    reported.collect()
}

fn complete(incidents: &mut Incidents, view: &View, done: impl Fn(&Open) -> bool) -> Vec<Incident> {
    if !incidents.open.iter().any(&done) {
        return Vec::new();
    }
    let (over, open) = std::mem::take(&mut incidents.open).into_iter().partition(done);
    incidents.open = open;
    let over: VecDeque<Open> = over;
    over.into_iter().map(|open| close(view, open)).collect()
}

/// Reports an incident that is not complete, and keeps it open.
fn open(
    incidents: &mut Incidents,
    view: &View,
    mut incident: Incident,
    last: u64,
    kill: Option<oom::First>,
) -> Vec<Incident> {
    explain(&mut incident);
    let many = |open: &Open| matches!(open.incident.kind, Kind::Latency | Kind::Leak);
    let slow = incidents.open.iter().position(many);
    let early = if incidents.open.len() >= MAX_OPEN { incidents.open.remove(slow.unwrap_or(0)) } else { None };
    let mut reported: Vec<Incident> = early.into_iter().map(|open| close(view, open)).collect();
    incidents.open.push_back(Open { incident: incident.clone(), last, kill });
    reported.push(incident);
    reported
}

fn close(view: &View, open: Open) -> Incident {
    let Open { mut incident, last, kill } = open;
    let before = incident.clone();
    incident.complete = true;
    match incident.kind {
        Kind::Oom => oom::complete(view, &mut incident, kill.as_ref()),
        Kind::MemoryPressure | Kind::IoPressure => storm::complete(view, &mut incident, last),
        Kind::GpuLost => gpu::complete(view, &mut incident),
        Kind::Killed => killed::complete(view, &mut incident),
        Kind::Latency => latency::complete(view, &mut incident),
        Kind::GpuStarved | Kind::Leak => {}
    }
    explain(&mut incident);
    if incident.cause.rule == cause::NOT_KNOWN && before.cause.rule != cause::NOT_KNOWN && is_over(view, &before) {
        return keep(view, incident.evidence.storm, before);
    }
    incident
}

/// Title and cause follow from the evidence alone.
fn explain(incident: &mut Incident) {
    incident.cause = cause::find(incident);
    incident.title = match incident.kind {
        Kind::Oom => oom::title(incident),
        Kind::MemoryPressure | Kind::IoPressure => storm::title(incident),
        Kind::GpuLost => gpu::title(incident),
        Kind::Killed => killed::title(incident),
        Kind::Latency => latency::title(incident),
        Kind::GpuStarved => starved::title(incident),
        Kind::Leak => leak::title(incident),
    };
}

/// Whether there was less to read the second time: pressure is complete when it is over, and the affected workload may have
/// ended meanwhile.
fn is_over(view: &View, incident: &Incident) -> bool {
    if matches!(incident.kind, Kind::MemoryPressure | Kind::IoPressure | Kind::Latency) {
        return true;
    }
    let workload = incident.labels.get("workload").map(|name| view.workloads.find(name));
    workload.is_some_and(|workload| workload.is_none_or(|workload| workload.gone_since().is_some()))
}

/// The incident with the evidence that its first cause rests on, and so with the same subject; but with the whole storm.
fn keep(view: &View, storm: Option<Storm>, before: Incident) -> Incident {
    let mut kept = Incident { complete: true, ..before };
    if storm.is_some() {
        kept.evidence.storm = storm;
        let workload = kept.labels.get("workload").map(String::as_str);
        kept.evidence.changes = evidence::changes(view, view.time, workload.as_slice(), None);
    }
    explain(&mut kept);
    kept
}

impl Incidents {
    /// A unique id: date and time (UTC), to the microsecond.
    fn id(&mut self, time: u64) -> String {
        self.last = (time / 1000).max(self.last + 1);
        let moment = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(self.last));
        moment.to_string().replace(['-', ':', 'Z'], "")
    }
}

fn labels(workload: Option<&Workload>) -> BTreeMap<String, String> {
    let Some(workload) = workload else { return BTreeMap::new() };
    let names = ["workload", "namespace", "pod", "container"].into_iter().zip(workload.labels());
    names.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
