//! Incidents: facts that belong together become one, with the evidence that the view has at that moment. It is told at the
//! first of the facts, and completed at a later tick under the same id.

mod consumer;
mod evidence;
mod gpu;
mod limit;
mod oom;
mod storm;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, UNIX_EPOCH};

use crate::incident::{Incident, Kind, cause};
use crate::outcome::Outcome;
use crate::sample::Reading;
use crate::view::View;
use crate::view::workload::Workload;

/// Incidents that may be incomplete at once; one more, and the oldest is completed as it is.
const OPEN: usize = 64;
/// What comes this long after the last fact of one, in nanoseconds, is another.
const APART_NS: u64 = 1_000_000_000;

/// The incidents that are not complete.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    /// The time of the last id, in microseconds: no two are of one.
    last: u64,
    open: VecDeque<Open>,
    storms: storm::Storms,
}

/// One that is not complete.
#[derive(Clone, Debug)]
struct Open {
    incident: Incident,
    /// When the last fact of it was.
    last: u64,
    /// The first kill, of which the rest of an OOM kill are parts.
    kill: Option<oom::First>,
}

/// What came of a sample: incidents that begin, or are complete now.
pub(super) fn fold(
    incidents: &mut Incidents,
    view: &mut View,
    time: u64,
    reading: &Reading,
    facts: &[Outcome],
) -> Vec<Incident> {
    let mut told = begin(incidents, view, time, facts);
    if let Reading::Gpu(reading) = reading {
        gpu::changed(view, time, reading);
    }
    for gone in view.gpus.gone() {
        told.extend(gpu::lost(incidents, view, time, gone));
    }
    if *reading == Reading::Tick {
        told.extend(storm::calmed(incidents, view, time));
        let fact = |kind| matches!(kind, Kind::Oom | Kind::GpuLost);
        let done = |open: &Open| fact(open.incident.kind) && time.saturating_sub(open.last) >= APART_NS;
        told.extend(complete(incidents, view, done));
    }
    told
}

/// What comes of the last facts; and all that is not complete is told as it is.
pub(super) fn finish(incidents: &mut Incidents, view: &View, facts: &[Outcome]) -> Vec<Incident> {
    let mut told = begin(incidents, view, view.time, facts);
    told.extend(complete(incidents, view, |_| true));
    told
}

fn begin(incidents: &mut Incidents, view: &View, time: u64, facts: &[Outcome]) -> Vec<Incident> {
    let told = facts.iter().flat_map(|fact| match fact {
        Outcome::OomKill(kill) => oom::killed(incidents, view, kill),
        Outcome::Pressure(stall) => storm::stalled(incidents, view, time, stall),
        _ => Vec::new(),
    });
    told.collect()
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

/// One more that is not complete: told now.
fn open(
    incidents: &mut Incidents,
    view: &View,
    incident: Incident,
    last: u64,
    kill: Option<oom::First>,
) -> Vec<Incident> {
    let early = if incidents.open.len() >= OPEN { incidents.open.pop_front() } else { None };
    let mut told: Vec<Incident> = early.into_iter().map(|open| close(view, open)).collect();
    incidents.open.push_back(Open { incident: incident.clone(), last, kill });
    told.push(incident);
    told
}

fn close(view: &View, open: Open) -> Incident {
    let Open { mut incident, last, kill } = open;
    match incident.kind {
        Kind::Oom => oom::complete(view, &mut incident, kill.as_ref()),
        Kind::MemoryPressure | Kind::IoPressure => storm::complete(view, &mut incident, last),
        Kind::GpuLost => gpu::complete(view, &mut incident),
    }
    incident.complete = true;
    incident.cause = cause::find(&incident);
    incident
}

impl Incidents {
    /// An id of its own: the date and time (UTC), to the microsecond.
    fn id(&mut self, time: u64) -> String {
        self.last = (time / 1000).max(self.last + 1);
        let moment = humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(self.last));
        moment.to_string().replace(['-', ':', 'Z'], "")
    }
}

/// The labels that name a workload.
fn labels(workload: Option<&Workload>) -> BTreeMap<String, String> {
    let Some(workload) = workload else { return BTreeMap::new() };
    let names = ["workload", "namespace", "pod", "container"].into_iter().zip(workload.labels());
    names.filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
