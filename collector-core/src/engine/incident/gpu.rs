//! The loss of a GPU as an incident.

use std::collections::BTreeSet;

use super::consumer::Order;
use super::{Incidents, evidence, open};
use crate::incident::{Change, Holder, Incident, Kind, LostGpu, What};
use crate::statistic::gpu::{Reading, Statistic};
use crate::view::View;
use crate::view::gpu::Gpu;

/// Errors within this time of the loss, in nanoseconds, are related to it.
const BEFORE_NS: u64 = 60_000_000_000;
/// GPUs seen this soon after the start were there before it.
const FIRST_NS: u64 = 5_000_000_000;

/// Logs what a reading changed: errors, and new GPUs.
pub(super) fn changed(view: &mut View, time: u64, reading: &Reading) {
    let (what, of, after) = match reading {
        Reading::Xid { uuid, code } => {
            let gpu = view.gpus.get(uuid).map(|gpu| gpu.device.gpu.clone());
            let known = || view.gpus.xids().find(|(known, _)| *known == uuid).map(|(_, xids)| xids.gpu.clone());
            let Some(gpu) = gpu.or_else(known) else { return };
            (What::Xid, gpu, Some(*code))
        }
        Reading::Device { device, .. } => {
            let new = view.gpus.get(&device.uuid).is_some_and(|gpu| gpu.created == time);
            if !new || time < view.started.saturating_add(FIRST_NS) {
                return;
            }
            (What::GpuCame, device.gpu.clone(), None)
        }
        Reading::Held { .. } | Reading::Gone { .. } => return,
    };
    view.changes.add(Change { time, since: None, what, of: of.to_string(), before: None, after });
}

/// A GPU is gone. A MIG device that is gone is no incident: the GPU was divided in another way.
pub(super) fn lost(incidents: &mut Incidents, view: &mut View, time: u64, gone: Gpu) -> Vec<Incident> {
    let device = gone.device.clone();
    let change = |what| Change { time, since: None, what, of: device.gpu.to_string(), before: None, after: None };
    view.changes.add(change(What::GpuWent));
    if device.parent.is_some() {
        return Vec::new();
    }
    let mut incident = Incident::new(Kind::GpuLost, incidents.id(time), time);
    let window = view.history.window(time);
    incident.labels =
        [("gpu", &device.gpu), ("uuid", &device.uuid)].map(|(name, value)| (name.to_owned(), value.to_string())).into();
    let holders = gone.holders(&view.workloads).into_iter();
    let mut holders: Vec<Holder> =
        holders.map(|(name, (_, bytes))| Holder { workload: name.to_owned(), bytes }).collect();
    holders.sort_by_key(|holder| std::cmp::Reverse(holder.bytes));
    incident.evidence = evidence::of_host(view, &window, Order::Memory, None);
    incident.evidence.consumers.clear();
    incident.evidence.history.ago = evidence::ago(&window, time);
    incident.evidence.gpu = Some(LostGpu {
        gpu: device.gpu.to_string(),
        uuid: device.uuid.to_string(),
        model: device.model.to_string(),
        driver: device.driver.to_string(),
        temperature: gone.values.get(Statistic::Temperature),
        power: gone.values.get(Statistic::Power).map(|milliwatts| milliwatts as f64 / 1e3),
        ecc_uncorrected: gone.values.get(Statistic::EccUncorrected),
        holders,
        ..LostGpu::default()
    });
    gather(view, &mut incident);
    open(incidents, view, incident, time, None)
}

/// Errors may be reported after the loss, and other GPUs may be lost with it.
pub(super) fn complete(view: &View, incident: &mut Incident) {
    gather(view, incident);
}

fn gather(view: &View, incident: &mut Incident) {
    let time = incident.time;
    let changes = evidence::changes(view, view.time.max(time), &[], None);
    let Some(gpu) = &mut incident.evidence.gpu else { return };
    let near = |change: &&Change| change.time.abs_diff(time) <= BEFORE_NS;
    let errors = view.changes.iter().filter(near).filter(|it| it.what == What::Xid && *it.of == *gpu.gpu);
    gpu.xids = errors.filter_map(|change| change.after).collect();
    // Each code once.
    let mut seen = BTreeSet::new();
    gpu.xids.retain(|code| seen.insert(*code));
    let left = view.gpus.iter().filter(|gpu| gpu.device.parent.is_none());
    gpu.left = left.count() as u64;
    let together = |change: &&Change| change.time.abs_diff(time) <= super::APART_NS && change.what == What::GpuWent;
    gpu.lost = view.changes.iter().filter(together).filter(|change| !change.of.contains(':')).count() as u64;
    let source = view.coverage.sources.get("gpu").filter(|source| !source.up);
    gpu.error = source.map(|source| source.error.clone().unwrap_or_default());
    incident.evidence.changes = changes;
}

pub(super) fn title(incident: &Incident) -> String {
    let gpu = incident.evidence.gpu.as_ref();
    gpu.map_or(String::new(), |gpu| format!("GPU {} ({}) no longer answers", gpu.gpu, gpu.model))
}
