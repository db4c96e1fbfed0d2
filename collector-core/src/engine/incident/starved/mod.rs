//! Jobs whose GPUs wait for the host. A job that merely does less is no incident: there is one only where a rule finds a cause in the
//! evidence about the job's own workload.

use std::sync::Arc;

use super::consumer::Order;
use super::slow::{Subject, evidence as why};
use super::{Incidents, evidence, labels, open};
use crate::amount::percent;
use crate::incident::cause::{self, NOT_KNOWN};
use crate::incident::{Evidence, Incident, Kind, Starved, StarvedGpu};
use crate::view::View;
use crate::view::starved::{Job, State};

/// A fall is reported as it is after this long, in nanoseconds, though it goes on.
const LONGEST_NS: u64 = 600_000_000_000;
/// A window has this many parts, and evidence is looked at once in each.
const PARTS: u64 = 6;

/// Utilization this much higher than the lowest is on its way back.
const RISEN: f64 = 0.05;

/// A workload whose GPUs are used less than usual.
#[derive(Clone, Debug)]
pub(super) struct Low {
    workload: Arc<str>,
    since: u64,
    /// When the evidence was last looked at.
    judged: Option<u64>,
    /// When it was reported, and under which id.
    reported: Option<(u64, String)>,
    /// That was completed, and it is still low.
    told: bool,
}

/// At a tick: reports jobs that starve, and completes those that no longer do.
pub(super) fn tick(incidents: &mut Incidents, view: &mut View, time: u64) -> Vec<Incident> {
    // On an idle host that is all.
    if view.starved.gpus.is_empty() && incidents.low.is_empty() {
        return Vec::new();
    }
    for job in view.starved.gpus.values() {
        let (State::Low(since), Some(workload)) = (job.state, &job.workload) else { continue };
        match incidents.low.iter_mut().find(|low| low.workload == *workload) {
            Some(low) => low.since = low.since.min(since),
            None => {
                let workload = workload.clone();
                incidents.low.push(Low { workload, since, judged: None, reported: None, told: false });
            }
        }
    }
    let mut reported = Vec::new();
    let mut low = std::mem::take(&mut incidents.low);
    for low in &mut low {
        let part = view.starved.settings.window / PARTS;
        if low.told || !low.is_low(view) || low.judged.is_some_and(|judged| time.saturating_sub(judged) < part) {
            continue;
        }
        low.judged = Some(time);
        let found = judge(view, &low.workload, low.since, time);
        match &low.reported {
            None => {
                reported.extend(found.map(|incident| begin(incidents, view, low, incident, time)).unwrap_or_default())
            }
            // What is seen while it lasts is better evidence than what is seen when it is over.
            Some((_, id)) => {
                // Another GPU of it may have fallen since.
                if found.is_some() {
                    incidents.starved.explain(&low.workload);
                }
                keep(incidents, id, found, low.since, time);
            }
        }
    }
    for low in &mut low {
        let Some((begun, id)) = &low.reported else { continue };
        let is_over = !low.lasts(view);
        if !low.told && (is_over || time.saturating_sub(*begun) >= LONGEST_NS) {
            let open = incidents.open.iter_mut().find(|open| open.incident.id == *id);
            if let Some(starved) = open.and_then(|open| open.incident.evidence.starved.as_mut()) {
                starved.over = is_over;
            }
            reported.extend(super::complete(incidents, view, |open| open.incident.id == *id));
            low.told = true;
        }
        if is_over && !incidents.slowdowns.concern(&low.workload) {
            view.slow.hold(&low.workload, false);
        }
    }
    low.retain(|low| low.lasts(view));
    incidents.low = low;
    reported
}

impl Low {
    /// Whether an incident of this workload was reported, and it is still low.
    pub(super) fn concerns(&self, workload: &str) -> bool {
        *self.workload == *workload && self.reported.is_some()
    }

    fn is_low(&self, view: &View) -> bool {
        self.any(view, |state| matches!(state, State::Low(_)))
    }

    /// What was reported lasts until utilization is as usual: with fewer requests for a while it is not.
    fn lasts(&self, view: &View) -> bool {
        self.is_low(view) || self.reported.is_some() && self.any(view, |state| state == State::Phase)
    }

    /// Whether one of its GPUs is in such a state.
    fn any(&self, view: &View, is: impl Fn(State) -> bool) -> bool {
        let of = |job: &&Job| job.workload.as_deref() == Some(&*self.workload);
        view.starved.gpus.values().filter(of).any(|job| is(job.state))
    }
}

/// The incident with its evidence, if that shows a cause. Most jobs that do less have none, so what the cause does not rest on is
/// gathered after it was found.
fn judge(view: &View, name: &str, since: u64, time: u64) -> Option<Incident> {
    let workload = view.workloads.find(name)?;
    let window = view.history.window(time);
    let mut incident = Incident::new(Kind::GpuStarved, String::new(), time);
    incident.evidence.workload = Some(evidence::figures(view, workload, &window));
    incident.evidence.slow = Some(why(view, Subject { workload: name, server: None, since }, time));
    if cause::find(&incident).rule == NOT_KNOWN {
        return None;
    }
    let mut history = evidence::of_host(view, &window, Order::Memory, Some(name));
    history.history.ago = evidence::ago(&window, time);
    history.history.workload = window.lines(&workload.track);
    incident.labels = labels(Some(workload));
    incident.evidence = Evidence {
        workload: incident.evidence.workload.take(),
        slow: incident.evidence.slow.take(),
        starved: Some(starved(view, name, since, time)),
        changes: evidence::changes(view, time, &[name], None),
        ..history
    };
    Some(incident)
}

fn starved(view: &View, name: &str, since: u64, time: u64) -> Starved {
    let model = |uuid: &str| view.gpus.get(uuid).map_or(String::new(), |gpu| gpu.device.model.to_string());
    let low = view.starved.gpus.iter().filter(|(_, job)| job.workload.as_deref() == Some(name));
    let low = low.filter(|(_, job)| matches!(job.state, State::Low(_))).map(|(uuid, job)| StarvedGpu {
        gpu: job.gpu.to_string(),
        uuid: uuid.to_string(),
        model: model(uuid),
        utilization: f64::from(job.now.unwrap_or_default()),
        usual: f64::from(job.usual.unwrap_or_default()),
    });
    let shared = view.starved.gpus.iter().filter(|(uuid, job)| {
        let holds = || view.gpus.get(uuid).is_some_and(|gpu| gpu.holders(&view.workloads).contains_key(name));
        job.state == State::Shared && holds()
    });
    Starved {
        since,
        seconds: time.saturating_sub(since) as f64 / 1e9,
        over: false,
        gpus: low.collect(),
        shared: shared.map(|(_, job)| job.gpu.to_string()).collect(),
    }
}

fn begin(
    incidents: &mut Incidents,
    view: &mut View,
    low: &mut Low,
    mut incident: Incident,
    time: u64,
) -> Vec<Incident> {
    incident.id = incidents.id(time);
    low.reported = Some((time, incident.id.clone()));
    incidents.starved.explain(&low.workload);
    view.slow.hold(&low.workload, true);
    open(incidents, view, incident, time, None)
}

/// Newer evidence replaces that of the open incident, if it shows a cause, and utilization as low: not while it rises again. Whatever
/// keeps a job waiting, its tasks may wait for a CPU as well: that does not replace another cause.
fn keep(incidents: &mut Incidents, id: &str, found: Option<Incident>, since: u64, time: u64) {
    let Some(open) = incidents.open.iter_mut().find(|open| open.incident.id == id) else { return };
    open.last = time;
    let share = |incident: &Incident| incident.evidence.starved.as_ref().and_then(Starved::means).map(|[now, _]| now);
    let lowest = share(&open.incident);
    let is_low = |found: &Incident| share(found).zip(lowest).is_none_or(|(now, lowest)| now <= lowest + RISEN);
    let other = open.incident.cause.rule != CONTENDED;
    match found.filter(|found| is_low(found) && !(other && cause::find(found).rule == CONTENDED)) {
        Some(found) => open.incident.evidence = found.evidence,
        None => {
            if let Some(starved) = &mut open.incident.evidence.starved {
                starved.seconds = time.saturating_sub(since) as f64 / 1e9;
            }
        }
    }
}

pub(super) fn title(incident: &Incident) -> String {
    let starved = incident.evidence.starved.clone().unwrap_or_default();
    let name = incident.labels.get("workload").map_or("a job", String::as_str);
    let share = starved.means().map_or(String::new(), |[now, usual]| {
        let verb = if starved.over { "was" } else { "is" };
        format!(" {verb} at {}, usually at {}", percent(now), percent(usual))
    });
    let why =
        WHY.iter().find(|(rule, _)| *rule == incident.cause.rule).map_or(String::new(), |(_, why)| format!(": {why}"));
    format!("{name}: {}{share}{why}", starved.named())
}

const CONTENDED: &str = "cpu_contended";

/// Causes in a few words.
const WHY: [(&str, &str); 17] = [
    ("numa_remote", "its memory or CPUs are far from its GPU"),
    ("read_again", "its data do not stay in the page cache"),
    ("swapped", "its memory is swapped out and needed again"),
    ("at_memory_high", "its memory.high holds it back"),
    ("reclaim", "it waits for memory to be reclaimed"),
    ("cpu_throttled", "its CPU quota holds it back"),
    ("cpu_steal", "the hypervisor takes CPU time"),
    (CONTENDED, "its workers wait for the CPU"),
    ("pcie_degraded", "the PCIe link is degraded"),
    ("pcie_saturated", "the PCIe link is full"),
    ("pageable_copies", "it copies from memory that is not pinned"),
    ("gpu_xid", "the GPU reported an error"),
    ("own_io_limit", "its IO limit holds it back"),
    ("io_by_neighbour", "a neighbour floods the disk"),
    ("cache_misses", "its data are read from the disk"),
    ("slow_disk", "the disk is slow"),
    ("network_saturated", "the network is full"),
];

#[cfg(test)]
mod tests;
