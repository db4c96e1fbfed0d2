//! Pressure as incidents. A single window over the threshold needs no explanation; several in a row do: a storm.

use std::collections::VecDeque;

use super::consumer::Order;
use super::{Incidents, Open, evidence, labels};
use crate::amount::seconds;
use crate::incident::{Consumer, Incident, Kind, Storm, cause};
use crate::pressure::{self, Resource, Stall};
use crate::series::Series;
use crate::view::View;
use crate::view::history::Window;

/// Number of events that make a storm …
const WINDOWS: usize = 3;
/// … if each comes at most this many windows after the one before.
const GAP: u64 = 3;
/// A storm is over when there was no event for `GAP` windows, or for this long, in nanoseconds, whichever is longer.
const CALM_NS: u64 = 6_000_000_000;
/// A storm is reported as it is after this long, in nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// Recent pressure events: for memory, and for IO.
#[derive(Clone, Debug, Default)]
pub(super) struct Storms([Recent; 2]);

#[derive(Clone, Debug, Default)]
struct Recent {
    /// The latest stalls of each kind of trigger.
    stalls: [VecDeque<Moment>; 2],
    /// It is a storm, and was reported.
    reported: bool,
    /// Number of stalls in the storm.
    count: u64,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    time: u64,
    window_ns: u64,
}

impl Recent {
    fn last(&self) -> Option<Moment> {
        self.stalls.iter().filter_map(|stalls| stalls.back().copied()).max_by_key(|moment| moment.time)
    }

    fn is_calm(&self, time: u64) -> bool {
        self.last().is_none_or(|last| time.saturating_sub(last.time) > CALM_NS.max(GAP.saturating_mul(last.window_ns)))
    }
}

fn place(resource: Resource) -> Option<(usize, Kind, Order)> {
    match resource {
        Resource::Memory => Some((0, Kind::MemoryPressure, Order::MemoryWaiting)),
        Resource::Io => Some((1, Kind::IoPressure, Order::IoWaiting)),
        Resource::Cpu => None,
    }
}

/// Adds a stall longer than a trigger's threshold; several in a row begin an incident.
pub(super) fn stalled(incidents: &mut Incidents, view: &View, time: u64, stall: &Stall) -> Vec<Incident> {
    let Some((place, kind, order)) = place(stall.trigger.resource) else { return Vec::new() };
    let Incidents { open, storms, .. } = incidents;
    let recent = &mut storms.0[place];
    let stalls = &mut recent.stalls[stall.trigger.kind as usize];
    let moment = Moment { time, window_ns: stall.trigger.window_ns };
    let near = |last: &Moment| time.saturating_sub(last.time) <= GAP.saturating_mul(moment.window_ns);
    if !stalls.back().is_some_and(near) {
        stalls.clear();
    }
    if stalls.len() == WINDOWS {
        stalls.pop_front();
    }
    stalls.push_back(moment);
    let first = stalls.front().filter(|_| stalls.len() == WINDOWS).map(|moment| moment.time);
    if recent.reported {
        recent.count += 1;
        let count = recent.count;
        if let Some(open) = open.iter_mut().find(|open| open.incident.kind == kind) {
            open.add_stall(time, count);
        }
        return Vec::new();
    }
    let Some(first) = first else { return Vec::new() };
    let since = recent.stalls.iter().flatten().filter(|moment| moment.time >= first);
    let count = since.count() as u64;
    (recent.reported, recent.count) = (true, count);
    let mut incident = Incident::new(kind, incidents.id(time), time);
    let storm = Storm {
        resource: Some(stall.trigger.resource),
        stalls: count,
        seconds: time.saturating_sub(first) as f64 / 1e9,
        ..Storm::default()
    };
    incident.evidence.storm = Some(storm);
    gather(view, &mut incident, order, time);
    super::open(incidents, view, incident, time, None)
}

impl Open {
    /// Adds one more stall of the same storm.
    fn add_stall(&mut self, time: u64, count: u64) {
        let from = self.last;
        self.last = time;
        if let Some(storm) = &mut self.incident.evidence.storm {
            storm.stalls = count;
            storm.seconds += time.saturating_sub(from) as f64 / 1e9;
        }
    }
}

/// At a tick: completes storms that are over, or that have lasted for `LONGEST_NS`.
pub(super) fn ended(incidents: &mut Incidents, view: &View, time: u64) -> Vec<Incident> {
    let mut reported = Vec::new();
    for resource in [Resource::Memory, Resource::Io] {
        let Some((place, kind, _)) = place(resource) else { continue };
        let recent = &mut incidents.storms.0[place];
        if !recent.reported {
            continue;
        }
        let calm = recent.is_calm(time);
        if calm {
            *recent = Recent::default();
        }
        let over =
            |open: &Open| open.incident.kind == kind && (calm || time.saturating_sub(open.incident.time) >= LONGEST_NS);
        reported.extend(super::complete(incidents, view, over));
    }
    reported
}

/// The history then reaches from before the storm until now.
pub(super) fn complete(view: &View, incident: &mut Incident, last: u64) {
    let order = match incident.kind {
        Kind::IoPressure => Order::IoWaiting,
        _ => Order::MemoryWaiting,
    };
    gather(view, incident, order, last.max(view.time));
}

fn gather(view: &View, incident: &mut Incident, order: Order, until: u64) {
    let window = view.history.window(until);
    let mut evidence = evidence::of_host(view, &window, order, None);
    // The incident is about the workload that waited longest, if any is known to have waited.
    let waited = |most: &&Consumer| {
        let stalls = most.stall_seconds.filter(|_| incident.kind == Kind::MemoryPressure);
        most.waiting_seconds > Some(0.0) || stalls > Some(0.0)
    };
    let most = evidence.consumers.first().filter(waited).map(|most| most.workload.clone());
    let workload = most.as_deref().and_then(|most| view.workloads.find(most));
    evidence.history.ago = evidence::ago(&window, incident.time);
    if let Some(workload) = workload {
        evidence.history.workload = window.lines(&workload.track);
        evidence.workload = Some(evidence::figures(view, workload, &window));
    }
    evidence.changes = evidence::changes(view, until, most.as_deref().as_slice());
    evidence.storm = incident.evidence.storm.take().map(|storm| total(view, &window, storm));
    if incident.labels.is_empty() {
        incident.labels = labels(workload);
    }
    incident.evidence = evidence;
    incident.title = title(incident);
    incident.cause = cause::find(incident);
}

/// Adds how long tasks waited, from the part of the history in the evidence.
fn total(view: &View, window: &Window, storm: Storm) -> Storm {
    let (some, full) = match storm.resource {
        Some(Resource::Io) => (Series::IoWaiting, Series::IoStalled),
        _ => (Series::MemoryWaiting, Series::MemoryStalled),
    };
    let total = |series| window.total(&view.history.host, series).map(|seconds| (seconds * 1e3).round() / 1e3);
    Storm { waited_seconds: total(some), stalled_seconds: total(full), ..storm }
}

fn title(incident: &Incident) -> String {
    let storm = incident.evidence.storm.clone().unwrap_or_default();
    let what = storm.resource.map_or("memory", pressure::Resource::label);
    let what = if what == "io" { "IO" } else { what };
    let most = incident.labels.get("workload").map_or(String::new(), |most| format!(", {most} longest"));
    format!(
        "Tasks of the host waited for {what}{most}: {} pressure events within {}",
        storm.stalls,
        seconds(storm.seconds)
    )
}
