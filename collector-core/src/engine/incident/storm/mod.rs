//! Pressure as incidents. A single window over the threshold needs no explanation; several in a row do: a storm.

use std::collections::VecDeque;

use super::consumer::Order;
use super::{Incidents, Open, evidence, labels};
use crate::amount::seconds;
use crate::identity::Kind as Place;
use crate::incident::cause::Role;
use crate::incident::{Incident, Kind, Storm, cause};
use crate::pressure::{self, Resource, Stall};
use crate::series::Series;
use crate::view::View;
use crate::view::history::Window;
use crate::view::workload::Workload;

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
    let first = stalls.front().filter(|_| stalls.len() == WINDOWS).copied();
    if recent.reported {
        recent.count += 1;
        let count = recent.count;
        if let Some(open) = open.iter_mut().find(|open| open.incident.kind == kind) {
            open.add_stall(time, count);
        }
        return Vec::new();
    }
    let Some(first) = first else { return Vec::new() };
    let since = recent.stalls.iter().flatten().filter(|moment| moment.time >= first.time);
    let count = since.count() as u64;
    (recent.reported, recent.count) = (true, count);
    let mut incident = Incident::new(kind, incidents.id(time), time);
    let storm = Storm {
        resource: Some(stall.trigger.resource),
        stalls: count,
        seconds: time.saturating_sub(first.time) as f64 / 1e9,
        from: Some(first.time.saturating_sub(first.window_ns)),
        until: Some(time),
        ..Storm::default()
    };
    incident.evidence.storm = Some(storm);
    incident.rise(view);
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

impl Incident {
    /// Takes the levels of the host, if tasks never waited longer than in the last second.
    fn rise(&mut self, view: &View) {
        let series = waits(self.kind)[0];
        let ratio = view.history.mean(series, 0).unwrap_or(0.0);
        let Some(storm) = &mut self.evidence.storm else { return };
        if storm.height_ratio.is_none_or(|height| ratio >= height) {
            (storm.height, storm.height_ratio) = (Some(view.time), Some(ratio));
            self.evidence.host = evidence::host(view);
        }
    }
}

/// The series of the host in which some and all tasks wait.
fn waits(kind: Kind) -> [Series; 2] {
    match kind {
        Kind::IoPressure => [Series::IoWaiting, Series::IoStalled],
        _ => [Series::MemoryWaiting, Series::MemoryStalled],
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
        incidents.open.iter_mut().filter(|open| open.incident.kind == kind).for_each(|open| open.incident.rise(view));
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
    if let Some(storm) = &mut incident.evidence.storm {
        storm.until = Some(last);
    }
    gather(view, incident, order, last.max(view.time));
}

/// Judges the storm over its own duration, and levels at its height: before it, and after it, the host was another.
fn gather(view: &View, incident: &mut Incident, order: Order, until: u64) {
    let storm = incident.evidence.storm.take().unwrap_or_default();
    let end = storm.until.unwrap_or(until);
    let window = view.history.window(until);
    let window = window.judged(storm.from.unwrap_or(0), end, storm.height.unwrap_or(end));
    let mut evidence = evidence::of_host(view, &window, order, largest(view, &window, incident.kind));
    evidence.host = std::mem::take(&mut incident.evidence.host);
    evidence.history.ago = evidence::ago(&window, incident.time);
    evidence.storm = Some(total(view, &window, storm, incident.kind));
    incident.evidence = evidence;
    // Label, title and cause are about one workload.
    let name = cause::subject(incident).map(|(name, _)| name);
    let workload = name.as_deref().and_then(|name| view.workloads.iter().find(|workload| &*workload.name == name));
    if let Some(workload) = workload {
        incident.evidence.history.workload = window.lines(&workload.track);
        incident.evidence.workload = Some(evidence::figures(view, workload, &window));
    }
    incident.evidence.changes = evidence::changes(view, until, name.as_deref().as_slice(), None);
    incident.labels = labels(workload);
}

/// The workload that did most IO, or holds most memory: it may explain a storm in which it does not wait itself.
fn largest<'v>(view: &'v View, window: &Window, kind: Kind) -> Option<&'v str> {
    let shared = [Place::Other, Place::Root, Place::Slice, Place::User, Place::Pod];
    let amount = |workload: &Workload| {
        let track = &workload.track;
        match kind {
            Kind::IoPressure => Some(window.total(track, Series::Read)? + window.total(track, Series::Write)?),
            _ => window.newest(track, Series::Memory),
        }
    };
    let own = view.workloads.iter().filter(|workload| !shared.contains(&workload.identity.kind));
    let known = own.filter_map(|workload| Some((&*workload.name, amount(workload)?)));
    known.max_by(|(_, one), (_, two)| one.total_cmp(two)).map(|(name, _)| name)
}

/// Adds how long tasks waited, from the part of the history in the evidence.
fn total(view: &View, window: &Window, storm: Storm, kind: Kind) -> Storm {
    let [some, full] = waits(kind);
    let total = |series| window.total(&view.history.host, series).map(|seconds| (seconds * 1e3).round() / 1e3);
    let (from, until) = window.period().unzip();
    Storm { waited_seconds: total(some), stalled_seconds: total(full), from, until, ..storm }
}

pub(super) fn title(incident: &Incident) -> String {
    let subject = cause::subject(incident).filter(|(name, _)| incident.labels.get("workload") == Some(name));
    let storm = incident.evidence.storm.clone().unwrap_or_default();
    let what = storm.resource.map_or("memory", pressure::Resource::label);
    let what = if what == "io" { "IO" } else { what };
    let most = subject.map_or(String::new(), |(name, role)| match role {
        Role::Waits => format!(", {name} longest"),
        Role::Uses => format!(", {name} did most of it"),
        Role::Holds => format!(", {name} took most"),
    });
    format!(
        "Tasks of the host waited for {what}{most}: {} pressure events within {}",
        storm.stalls,
        seconds(storm.seconds)
    )
}

#[cfg(test)]
mod tests;
