//! GPUs: their values, their errors, and which processes held how much of their memory, and when. It knows cgroups;
//! [`super::workload`] knows which workloads they belong to.

mod quarter;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::coverage::Coverage;
use super::workload::{OTHER, Workload, Workloads};
use crate::cgroup::Id;
use crate::count::grow;
use crate::stage::Stage;
use crate::statistic::gpu::Statistic::Utilization;
use crate::statistic::gpu::{Device, Held, Holder, Reading, Values};
use crate::tier::Rare;
use quarter::{Errors, Open, Sums};

/// Maximum number of GPUs, including MIG devices; more are counted as lost, stage `gpu`.
const MAX_GPUS: usize = 256;
/// Maximum number of error codes per GPU.
const MAX_CODES: usize = 64;
/// Maximum number of processes per GPU and moment.
const MAX_HOLDERS: usize = 4096;
/// Maximum number of moments per GPU.
const MAX_MOMENTS: usize = 32;
/// A moment that follows sooner replaces the one before, so that the moments together reach back for seconds.
const APART_NS: u64 = 250_000_000;
/// Memory held longer ago than this says nothing about a kill.
const RECENT_NS: u64 = 10_000_000_000;

#[derive(Clone, Debug, Default)]
pub struct Gpus {
    gpus: BTreeMap<Arc<str>, Gpu>,
    /// Errors are kept when a GPU is gone: those of a lost GPU are needed most.
    xids: BTreeMap<Arc<str>, Xids>,
    /// GPUs that went since the last call of [`Gpus::gone`].
    gone: Vec<Gpu>,
    /// For the history on disk.
    open: Open,
}

#[derive(Clone, Debug)]
pub struct Gpu {
    /// When it was first seen, in nanoseconds since the Unix epoch.
    pub created: u64,
    pub device: Arc<Device>,
    pub values: Values,
    /// Since when every reading said that it runs nothing, in nanoseconds since the Unix epoch.
    idle_since: Option<u64>,
    /// Which processes held how much, oldest first.
    moments: VecDeque<Moment>,
    sums: Sums,
    errors: Errors,
}

#[derive(Clone, Debug)]
pub struct Xids {
    /// The GPU's number.
    pub gpu: Arc<str>,
    /// By code (XID): the time of the first error, and the number of errors.
    pub codes: BTreeMap<u64, (u64, u64)>,
}

/// Whose a GPU is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Owner<'v> {
    Nobody,
    /// The name of the workload.
    One(&'v Arc<str>),
    Several,
}

#[derive(Clone, Debug)]
struct Moment {
    time: u64,
    /// Shared between moments with the same holders, which is the usual case.
    holders: Arc<[Holder]>,
}

impl Gpus {
    /// Sorted by uuid.
    pub fn iter(&self) -> impl Iterator<Item = &Gpu> {
        self.gpus.values()
    }

    /// The errors of all GPUs that ever reported any.
    pub fn xids(&self) -> impl Iterator<Item = (&Arc<str>, &Xids)> {
        self.xids.iter()
    }

    /// Memory of each GPU held by the process and by its workload, as last read at `time` or before.
    pub fn held(&self, workloads: &Workloads, pid: u32, cgroup: Option<Id>, time: u64) -> Vec<Held> {
        let name = |id: Option<Id>| id.and_then(|id| workloads.name(id));
        let workload = name(cgroup);
        let ours = |holder: &Holder| {
            holder.pid == pid
                || holder.cgroup.is_some() && holder.cgroup == cgroup
                || workload.is_some() && name(holder.cgroup) == workload
        };
        let held = |gpu: &Gpu| {
            let moment = gpu.moments.iter().rev().find(|moment| moment.time <= time)?;
            if time - moment.time > RECENT_NS || !moment.holders.iter().any(ours) {
                return None;
            }
            let mut process = moment.holders.iter().filter(|holder| holder.pid == pid);
            Some(Held {
                gpu: gpu.device.gpu.clone(),
                uuid: gpu.device.uuid.clone(),
                time: moment.time,
                process_bytes: process.next().and_then(|holder| holder.bytes),
                workload_bytes: sum(moment.holders.iter().filter(|holder| ours(holder))),
            })
        };
        self.gpus.values().filter_map(held).collect()
    }

    pub fn get(&self, uuid: &str) -> Option<&Gpu> {
        self.gpus.get(uuid)
    }

    /// GPUs that went since the last call, in their last state.
    pub(crate) fn gone(&mut self) -> Vec<Gpu> {
        std::mem::take(&mut self.gone)
    }

    /// Processes that hold memory of any GPU now.
    pub(crate) fn holding(&self, time: u64) -> impl Iterator<Item = &Holder> {
        let last = self.gpus.values().filter_map(|gpu| gpu.moments.back());
        let recent = last.filter(move |moment| time.saturating_sub(moment.time) <= RECENT_NS);
        recent.flat_map(|moment| &*moment.holders)
    }

    pub(crate) fn fold(&mut self, time: u64, reading: &Reading, coverage: &mut Coverage) {
        match reading {
            Reading::Device { device, values } => {
                if let Some(known) = self.gpus.get_mut(&device.uuid) {
                    self.open.errors(&device.uuid, &mut known.errors, values);
                    known.values.advance(values);
                    known.rest(time);
                    known.sums.see(&known.values);
                    if known.device != *device {
                        known.device = device.clone();
                    }
                } else if self.gpus.len() < MAX_GPUS {
                    let (device, values) = (device.clone(), values.clone());
                    let moments = VecDeque::with_capacity(MAX_MOMENTS);
                    let (sums, errors) = Default::default();
                    let mut gpu = Gpu { created: time, device, values, idle_since: None, moments, sums, errors };
                    gpu.rest(time);
                    self.open.errors(&gpu.device.uuid, &mut gpu.errors, &gpu.values);
                    gpu.sums.see(&gpu.values);
                    self.gpus.insert(gpu.device.uuid.clone(), gpu);
                } else {
                    coverage.lose(Stage::Gpu, 1);
                }
            }
            Reading::Held { uuid, holders } => {
                let kept = &holders[..holders.len().min(MAX_HOLDERS)];
                if kept.len() < holders.len() {
                    coverage.lose(Stage::Gpu, (holders.len() - kept.len()) as u64);
                }
                if let Some(gpu) = self.gpus.get_mut(uuid) {
                    gpu.hold(time, kept);
                }
            }
            Reading::Xid { uuid, code } => self.xid(time, uuid, *code, coverage),
            Reading::Gone { uuid } => {
                let gone = self.gpus.remove(uuid);
                gone.iter().for_each(|gpu| self.open.leave(gpu));
                self.gone.extend(gone);
            }
        }
    }

    fn xid(&mut self, time: u64, uuid: &Arc<str>, code: u64, coverage: &mut Coverage) {
        let gpu = self.gpus.get(uuid).map(|gpu| gpu.device.gpu.clone());
        if !self.xids.contains_key(uuid) && (self.xids.len() >= MAX_GPUS || gpu.is_none()) {
            return coverage.lose(Stage::Gpu, 1);
        }
        let new = || Xids { gpu: gpu.clone().unwrap_or_default(), codes: BTreeMap::new() };
        let codes = &mut self.xids.entry(uuid.clone()).or_insert_with(new).codes;
        if codes.len() >= MAX_CODES && !codes.contains_key(&code) {
            return coverage.lose(Stage::Gpu, 1);
        }
        grow(&mut codes.entry(code).or_insert((time, 0)).1, 1);
        self.open.count(Rare::Xid(uuid.clone(), code), 1);
    }
}

impl Gpu {
    /// For how long it has run nothing, in nanoseconds; `None` if it ran something just now, or that is not known.
    pub(crate) fn idle_ns(&self, now: u64) -> Option<u64> {
        self.idle_since.map(|since| now.saturating_sub(since))
    }

    fn rest(&mut self, time: u64) {
        let idle = self.values.get(Utilization) == Some(0);
        // A clock that was set back starts again.
        self.idle_since = idle.then(|| self.idle_since.unwrap_or(time).min(time));
    }

    /// Processes that hold memory of it, as last read: as old as its figures.
    pub(crate) fn processes(&self) -> &[Holder] {
        self.moments.back().map(|moment| &moment.holders[..]).unwrap_or_default()
    }

    /// The workload whose processes hold memory of it, if it is one. Processes that ended meanwhile are nobody's.
    pub(crate) fn owner<'v>(&self, workloads: &'v Workloads) -> Owner<'v> {
        let mut found = Owner::Nobody;
        for Holder { cgroup, .. } in self.processes() {
            let Some(workload) = cgroup.and_then(|id| workloads.of(id)) else { continue };
            match found {
                Owner::One(name) if Arc::ptr_eq(name, &workload.name) => {}
                Owner::Nobody if &*workload.name != OTHER => found = Owner::One(&workload.name),
                _ => return Owner::Several,
            }
        }
        found
    }

    /// What each workload holds now, by name; `None` where the driver does not know the amount for one of its processes.
    pub fn holders<'a>(&self, workloads: &'a Workloads) -> BTreeMap<&'a str, (&'a Workload, Option<u64>)> {
        let mut found: BTreeMap<&str, (&Workload, Option<u64>)> = BTreeMap::new();
        let Some(other) = workloads.iter().find(|workload| &*workload.name == OTHER) else { return found };
        for holder in self.processes() {
            let workload = holder.cgroup.and_then(|id| workloads.of(id)).unwrap_or(other);
            let (_, bytes) = found.entry(&workload.name).or_insert((workload, Some(0)));
            *bytes = bytes.zip(holder.bytes).map(|(sum, more)| sum.saturating_add(more));
        }
        found
    }

    fn hold(&mut self, time: u64, holders: &[Holder]) {
        // The last moment is replaced only if it is close to the one before: otherwise frequent readings would replace it forever.
        let before = self.moments.iter().rev().nth(1).map(|moment| moment.time);
        let last = self.moments.back().map(|moment| moment.time);
        let crowded = last.zip(before).is_some_and(|(last, before)| last.saturating_sub(before) < APART_NS);
        let same = self.moments.back().filter(|last| *last.holders == *holders).map(|last| last.holders.clone());
        if crowded {
            self.moments.pop_back();
        } else if self.moments.len() == MAX_MOMENTS {
            self.moments.pop_front();
        }
        let moment = Moment { time, holders: same.unwrap_or_else(|| holders.into()) };
        self.moments.push_back(moment);
    }
}

fn sum<'a>(holders: impl Iterator<Item = &'a Holder>) -> Option<u64> {
    holders.map(|holder| holder.bytes).try_fold(0u64, |sum, bytes| Some(sum.saturating_add(bytes?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::test::{ID, engine, facts};
    use crate::outcome::Outcome;
    use crate::sample::{self, Sample};
    use crate::signal::oom;
    use crate::statistic::gpu::Statistic;

    const SECOND: u64 = 1_000_000_000;

    fn apply(engine: &mut Engine, time: u64, reading: Reading) {
        engine.apply(&Sample { time, reading: sample::Reading::Gpu(reading) });
    }

    fn device(uuid: &str) -> Arc<Device> {
        let [model, driver] = ["H100".into(), "555".into()];
        Arc::new(Device { uuid: uuid.into(), gpu: "0".into(), model, driver, parent: None })
    }

    fn add(engine: &mut Engine, uuid: &str) {
        apply(engine, SECOND, Reading::Device { device: device(uuid), values: Values::new() });
    }

    fn hold(engine: &mut Engine, time: u64, uuid: &str, holders: &[(u32, Option<Id>, Option<u64>)]) {
        let holders = holders.iter().map(|&(pid, cgroup, bytes)| Holder { pid, cgroup, bytes }).collect();
        apply(engine, time, Reading::Held { uuid: uuid.into(), holders });
    }

    fn kill(pid: u32, cgroup: Option<Id>) -> sample::Reading {
        let kill = serde_json::json!({"cgroup": cgroup, "scope": "memcg", "pid": pid, "tid": pid, "comm": "python",
            "uid": 0, "score_adj": 0, "trigger_pid": 1, "trigger_comm": "x"});
        sample::Reading::Oom(oom::Reading::Kill(serde_json::from_value(kill).unwrap()))
    }

    #[test]
    fn a_kill_reports_what_the_victim_held_before_it() {
        let mut engine = engine();
        ["GPU-a", "GPU-b", "GPU-c"].iter().for_each(|uuid| add(&mut engine, uuid));
        let at = |second: u64| second * SECOND;
        hold(&mut engine, at(9), "GPU-a", &[(7, Some(ID), Some(100)), (8, Some(ID), Some(20)), (9, None, Some(3))]);
        hold(&mut engine, at(9), "GPU-b", &[(8, Some(ID), Some(50))]);
        hold(&mut engine, at(9), "GPU-c", &[(9, None, Some(3))]);
        // A reading made after the victim's end arrives before the kill is reported.
        hold(&mut engine, at(11), "GPU-a", &[(8, Some(ID), Some(20))]);
        let outcomes = facts(&mut engine, &Sample { time: at(10), reading: kill(7, Some(ID)) });
        let [Outcome::OomKill(kill)] = &outcomes[..] else { panic!("{outcomes:?}") };
        let held: Vec<_> = kill.gpus.iter().map(|it| (&*it.uuid, it.process_bytes, it.workload_bytes)).collect();
        assert_eq!(held, [("GPU-a", Some(100), Some(120)), ("GPU-b", None, Some(50))]);
        assert_eq!(kill.gpus[0].time, at(9));
        let later = engine.view().gpus.held(&engine.view().workloads, 7, Some(ID), at(9) + RECENT_NS);
        assert_eq!(later.iter().map(|it| it.time / SECOND).collect::<Vec<_>>(), [11, 9]);
        let long_after = engine.view().gpus.held(&engine.view().workloads, 7, Some(ID), at(22));
        assert_eq!(long_after, []);
    }

    #[test]
    fn moments_reach_back_for_seconds_however_often_they_come() {
        for step in [SECOND / 100, SECOND / 10, SECOND] {
            let mut engine = engine();
            add(&mut engine, "GPU-a");
            for time in (0..20 * SECOND).step_by(step as usize) {
                hold(&mut engine, time, "GPU-a", &[(7, Some(ID), Some(time))]);
            }
            let view = engine.view();
            for ago in [1, 2, 5] {
                let then = 20 * SECOND - ago * SECOND;
                let held = view.gpus.held(&view.workloads, 7, Some(ID), then);
                let age = then - held[0].workload_bytes.unwrap();
                assert!(age <= step.max(2 * APART_NS), "{step} {ago}: {age}");
            }
            assert!(view.gpus.iter().next().unwrap().moments.len() <= MAX_MOMENTS);
        }
    }

    #[test]
    fn an_amount_unknown_for_one_process_is_unknown_for_its_workload() {
        let mut engine = engine();
        add(&mut engine, "GPU-a");
        let holders = |engine: &Engine| {
            let view = engine.view();
            let held = view.gpus.iter().next().unwrap().holders(&view.workloads);
            held.into_iter().map(|(name, (_, bytes))| (name.to_owned(), bytes)).collect::<Vec<_>>()
        };
        hold(&mut engine, 1, "GPU-a", &[(7, Some(ID), Some(1)), (8, Some(ID), None), (9, None, Some(5))]);
        assert_eq!(holders(&engine), [("/a".to_owned(), None), (OTHER.to_owned(), Some(5))]);
        hold(&mut engine, 2, "GPU-a", &[(7, Some(ID), Some(1)), (8, Some(ID), Some(2))]);
        assert_eq!(holders(&engine), [("/a".to_owned(), Some(3))]);
        hold(&mut engine, 3, "GPU-a", &[]);
        assert_eq!(holders(&engine), []);
    }

    #[test]
    fn the_errors_of_a_gpu_that_is_gone_are_kept() {
        let mut engine = engine();
        add(&mut engine, "GPU-a");
        apply(&mut engine, 5, Reading::Xid { uuid: "GPU-a".into(), code: 79 });
        apply(&mut engine, 6, Reading::Gone { uuid: "GPU-a".into() });
        apply(&mut engine, 7, Reading::Xid { uuid: "GPU-a".into(), code: 79 });
        apply(&mut engine, 7, Reading::Xid { uuid: "GPU-unknown".into(), code: 79 });
        let gpus = &engine.view().gpus;
        assert_eq!(gpus.iter().count(), 0);
        let xids: Vec<_> = gpus.xids().map(|(uuid, xids)| (&**uuid, xids.codes[&79])).collect();
        assert_eq!(xids, [("GPU-a", (5, 2))]);
        assert_eq!(engine.view().coverage.lost(Stage::Gpu), 1);
    }

    #[test]
    fn gpus_processes_and_errors_are_bounded() {
        let mut engine = engine();
        for number in 0..MAX_GPUS as u64 + 5 {
            add(&mut engine, &format!("GPU-{number:03}"));
            apply(&mut engine, 1, Reading::Xid { uuid: "GPU-000".into(), code: number });
        }
        let holders: Vec<_> = (0..MAX_HOLDERS as u32 + 3).map(|pid| (pid, None, Some(1))).collect();
        hold(&mut engine, 1, "GPU-000", &holders);
        let gpus = &engine.view().gpus;
        assert_eq!((gpus.iter().count(), gpus.xids["GPU-000"].codes.len()), (MAX_GPUS, MAX_CODES));
        assert_eq!(gpus.gpus["GPU-000"].moments[0].holders.len(), MAX_HOLDERS);
        let errors = (MAX_GPUS + 5 - MAX_CODES) as u64;
        assert_eq!(engine.view().coverage.lost(Stage::Gpu), 5 + errors + 3);
    }

    #[test]
    fn values_that_are_no_longer_reported_vanish() {
        let mut engine = engine();
        let report = |engine: &mut Engine, values: &[(Statistic, u64)]| {
            let values = values.iter().copied().collect();
            apply(engine, 1, Reading::Device { device: device("GPU-a"), values });
            engine.view().gpus.iter().next().unwrap().values.iter().count()
        };
        assert_eq!(report(&mut engine, &[(Statistic::Power, 1), (Statistic::Energy, 9)]), 2);
        assert_eq!(report(&mut engine, &[(Statistic::Power, 1)]), 1);
    }
}
