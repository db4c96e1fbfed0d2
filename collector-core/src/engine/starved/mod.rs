//! Finds jobs that use their GPU much less than they usually do. Why they do so is for [`super::incident`] to say: most have less to do.

mod track;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::statistic::gpu::Reading;
use crate::statistic::gpu::Statistic::Utilization;
use crate::statistic::model::Statistic::RequestsRunning;
use crate::view::View;
use crate::view::gpu::Owner;
use crate::view::starved::{Job, State};
use track::{Standing, Track};

/// Processes of a job that are remembered, to see that it is still the same.
const PROCESSES: usize = 16;

/// What is known of the jobs on each GPU, by uuid. There are as many as the view has GPUs.
#[derive(Clone, Debug, Default)]
pub(super) struct Fold(BTreeMap<Arc<str>, Watched>);

#[derive(Clone, Debug)]
struct Watched {
    track: Track,
    workload: Arc<str>,
    /// Processes that held memory of it when they were last looked at.
    processes: Vec<u32>,
}

impl Fold {
    /// Adds a reading of a GPU. What it shows of the job there goes into the view.
    pub fn see(&mut self, view: &mut View, time: u64, reading: &Reading) {
        let settings = view.starved.settings;
        let (uuid, gone) = match reading {
            Reading::Device { device, .. } => (&device.uuid, false),
            Reading::Gone { uuid } => (uuid, true),
            Reading::Held { .. } | Reading::Xid { .. } => return,
        };
        let Some(gpu) = view.gpus.get(uuid).filter(|_| !gone && settings.enabled) else {
            return self.forget(view, uuid);
        };
        let Some(percent) = gpu.values.get(Utilization) else { return self.forget(view, uuid) };
        let number = &gpu.device.gpu;
        let job = |workload, state| Job { gpu: number.clone(), workload, state, now: None, usual: None };
        let name = match gpu.owner(&view.workloads) {
            Owner::Nobody => return self.forget(view, uuid),
            Owner::Several => {
                self.0.remove(uuid);
                if view.starved.gpus.get(uuid).is_none_or(|known| known.state != State::Shared) {
                    let job = job(None, State::Shared);
                    view.starved.gpus.insert(uuid.clone(), job);
                }
                return;
            }
            Owner::One(name) => name,
        };
        let is_same = |watched: &Watched| {
            watched.workload == *name && gpu.processes().iter().any(|holder| watched.processes.contains(&holder.pid))
        };
        if !self.0.get(uuid).is_some_and(is_same) {
            let processes = Vec::with_capacity(PROCESSES);
            self.0.insert(uuid.clone(), Watched { track: Track::new(), workload: name.clone(), processes });
            let job = job(Some(name.clone()), State::Learning);
            view.starved.gpus.insert(uuid.clone(), job);
        }
        let gpu = view.gpus.get(uuid);
        let Some((watched, gpu)) = self.0.get_mut(uuid).zip(gpu) else { return };
        watched.processes.clear();
        watched.processes.extend(gpu.processes().iter().map(|holder| holder.pid).take(PROCESSES));
        let load = running(view, &watched.workload);
        let standing = watched.track.see(time, percent as f64 / 100.0, load, &settings);
        if let Some((standing, job)) = standing.zip(view.starved.gpus.get_mut(uuid)) {
            (job.state, job.now, job.usual) = match standing {
                Standing::Learning => (State::Learning, None, None),
                Standing::Idle => (State::Idle, None, None),
                Standing::Usual { now, usual } => (State::Usual, Some(now), Some(usual)),
                Standing::Phase { now, usual } => (State::Phase, Some(now), Some(usual)),
                Standing::Low { now, usual, since } => (State::Low(since), Some(now), Some(usual)),
            };
        }
    }

    /// The fall of a workload was explained: what it uses now is not what is usual.
    pub fn explain(&mut self, workload: &str) {
        self.0
            .values_mut()
            .filter(|watched| *watched.workload == *workload)
            .for_each(|watched| watched.track.explain());
    }

    fn forget(&mut self, view: &mut View, uuid: &str) {
        self.0.remove(uuid);
        // An idle host has none.
        if view.starved.gpus.contains_key(uuid) {
            view.starved.gpus.remove(uuid);
        }
    }
}

/// Requests that the model servers of a workload work on; `None` if it has none, or none says so.
fn running(view: &View, workload: &str) -> Option<u64> {
    let mut sum = None;
    for told in view.models.servers.values() {
        let Some(cgroup) = told.server.cgroup else { continue };
        if view.workloads.of(cgroup).is_some_and(|found| *found.name == *workload) {
            let known = told.models.values().filter_map(|served| served.values.get(RequestsRunning));
            sum = known.fold(sum, |sum: Option<u64>, more| Some(sum.unwrap_or(0).saturating_add(more)));
        }
    }
    sum
}
