//! Workloads whose memory rises so that it may become a leak, and what their processes held when that was first seen and now. A few,
//! and of one owner fewer. Decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gpu::Gpus;
use super::leak::Kind;
use super::workload::Workloads;
use crate::count::grow;
use crate::statistic::member::{PROCESSES, Process, Reading};

/// At most so many workloads, and of one owner.
const WORKLOADS: usize = 32;
const OF_AN_OWNER: usize = 4;
/// At most so many processes that hold GPU memory are kept of a workload.
const HOLDERS: usize = 64;

#[derive(Clone, Debug, Default)]
pub struct Rising {
    workloads: BTreeMap<Arc<str>, Watched>,
    /// Grows when others are watched.
    changes: u64,
}

#[derive(Clone, Debug, Default)]
struct Watched {
    /// The path of its own cgroup.
    top: Arc<str>,
    owner: Option<Arc<str>>,
    first: Option<Arc<Look>>,
    last: Option<Arc<Look>>,
    /// GPU memory by process, when it was first watched.
    vram: BTreeMap<u32, u64>,
    since: u64,
}

/// What was read of its processes.
#[derive(Clone, Debug, PartialEq)]
struct Look {
    time: u64,
    count: u32,
    processes: Vec<Process>,
}

/// What grew of a workload between two looks at its processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grown {
    /// Between the two looks, in nanoseconds.
    pub time: u64,
    /// Processes then and now; absent for GPU memory.
    pub counts: Option<[u32; 2]>,
    /// Growth of all processes that grew, in bytes.
    pub bytes: u64,
    /// The process that grew most.
    pub pid: u32,
    pub comm: String,
    /// What it held then and now; what it held then is a bound if it was not among the largest.
    pub held: [u64; 2],
    /// It started between the two.
    pub new: bool,
}

impl Rising {
    /// Whose memory rises now. Who is watched already stays before others.
    pub(crate) fn watch(&mut self, time: u64, rising: &[&Arc<str>], workloads: &Workloads, gpus: &Gpus) {
        let before = self.workloads.len();
        self.workloads.retain(|name, _| rising.contains(&name));
        let mut changed = self.workloads.len() < before;
        for name in rising {
            let Some(workload) = workloads.find(name) else { continue };
            if let Some(watched) = self.workloads.get_mut(*name) {
                changed |= watched.top != workload.identity.top;
                watched.top = workload.identity.top.clone();
                continue;
            }
            let owner = workload.identity.owner.clone();
            let of_owner = self.workloads.values().filter(|it| owner.is_some() && it.owner == owner).count();
            if self.workloads.len() >= WORKLOADS || of_owner >= OF_AN_OWNER {
                continue;
            }
            let vram = vram(name, workloads, gpus);
            let watched =
                Watched { top: workload.identity.top.clone(), owner, vram, since: time, ..Watched::default() };
            self.workloads.insert((*name).clone(), watched);
            changed = true;
        }
        self.changes += u64::from(changed);
    }

    pub(crate) fn fold(&mut self, time: u64, workload: &str, reading: &Reading) {
        let Some(watched) = self.workloads.get_mut(workload) else { return };
        let mut processes = reading.processes.clone();
        processes.truncate(PROCESSES);
        let look = Arc::new(Look { time, count: reading.count, processes });
        watched.first.get_or_insert_with(|| look.clone());
        watched.last = Some(look);
    }

    /// The paths of the own cgroups of those that are watched.
    pub fn watched(&self) -> impl Iterator<Item = &Arc<str>> {
        self.workloads.values().map(|watched| &watched.top)
    }

    /// A number that grows when others are watched.
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// What grew since the workload is watched, of this kind of memory; `None` where processes do not show it.
    pub(crate) fn grown(
        &self,
        workload: &str,
        kind: Kind,
        now: u64,
        workloads: &Workloads,
        gpus: &Gpus,
    ) -> Option<Grown> {
        let watched = self.workloads.get(workload)?;
        let of = |process: &Process| match kind {
            Kind::Anon => Some(process.anon),
            Kind::Shared => Some(process.shmem),
            Kind::Kernel | Kind::Pinned | Kind::Vram => None,
        };
        if kind == Kind::Vram {
            return watched.of_gpus(now, &vram(workload, workloads, gpus));
        }
        let (first, last) = (watched.first.as_ref()?, watched.last.as_ref()?);
        let same = |one: &Process, other: &Process| (one.pid, one.started) == (other.pid, other.started);
        // Who was not listed held less than who was, unless all were.
        let bound = match first.processes.len() as u32 >= first.count {
            true => 0,
            false => first.processes.iter().filter_map(of).min().unwrap_or(0),
        };
        let newest = first.processes.iter().map(|process| process.started).max().unwrap_or(0);
        let mut grown = Grown { time: last.time.saturating_sub(first.time), ..Grown::default() };
        grown.counts = Some([first.count, last.count]);
        for process in &last.processes {
            let now = of(process)?;
            let known = first.processes.iter().find(|it| same(it, process));
            let new = known.is_none() && process.started > newest;
            let before = known.and_then(of).unwrap_or(if new { 0 } else { bound });
            let more = now.saturating_sub(before);
            grown.bytes = grown.bytes.saturating_add(more);
            if more > grown.held[1].saturating_sub(grown.held[0]) {
                (grown.pid, grown.comm, grown.held, grown.new) =
                    (process.pid, process.comm.clone(), [before, now], new);
            }
        }
        (grown.bytes > 0 && grown.time > 0).then_some(grown)
    }
}

impl Watched {
    fn of_gpus(&self, now: u64, held: &BTreeMap<u32, u64>) -> Option<Grown> {
        let mut grown = Grown { time: now.saturating_sub(self.since), ..Grown::default() };
        for (pid, bytes) in held {
            let before = self.vram.get(pid).copied();
            let more = bytes.saturating_sub(before.unwrap_or(0));
            grown.bytes = grown.bytes.saturating_add(more);
            if more > grown.held[1].saturating_sub(grown.held[0]) {
                (grown.pid, grown.held, grown.new) = (*pid, [before.unwrap_or(0), *bytes], before.is_none());
            }
        }
        (grown.bytes > 0 && grown.time > 0).then_some(grown)
    }
}

/// GPU memory of each process of a workload, over all GPUs.
fn vram(name: &str, workloads: &Workloads, gpus: &Gpus) -> BTreeMap<u32, u64> {
    let mut held = BTreeMap::new();
    for holder in gpus.iter().flat_map(|gpu| gpu.processes()) {
        let ours = holder.cgroup.and_then(|id| workloads.of(id)).is_some_and(|of| *of.name == *name);
        if let Some(bytes) = holder.bytes.filter(|_| ours) {
            add(&mut held, holder.pid, bytes);
        }
    }
    held
}

/// One that has a place keeps it: it may hold memory of several GPUs.
fn add(held: &mut BTreeMap<u32, u64>, pid: u32, bytes: u64) {
    if held.len() < HOLDERS || held.contains_key(&pid) {
        grow(held.entry(pid).or_default(), bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Id;

    const MIB: u64 = 1 << 20;

    fn reading(count: u32, processes: &[(u32, u64, u64)]) -> Reading {
        let process = |(pid, started, anon): &(u32, u64, u64)| Process {
            pid: *pid,
            started: *started,
            comm: format!("p{pid}"),
            anon: anon * MIB,
            shmem: 0,
        };
        Reading { cgroup: Id { hierarchy: 1, id: 1 }, count, processes: processes.iter().map(process).collect() }
    }

    fn grown(looks: &[Reading]) -> Option<Grown> {
        let mut rising = Rising::default();
        rising.workloads.insert("/a".into(), Watched::default());
        (1..).zip(looks).for_each(|(time, look)| rising.fold(time, "/a", look));
        rising.grown("/a", Kind::Anon, 9, &Workloads::default(), &Gpus::default())
    }

    #[test]
    fn the_process_that_grew_most_is_named_and_a_number_that_is_used_again_is_another() {
        let first = reading(3, &[(7, 100, 500), (8, 100, 50), (9, 110, 10)]);
        let found = grown(&[first.clone(), reading(3, &[(8, 100, 400), (7, 100, 510), (9, 110, 10)])]).unwrap();
        assert_eq!((&*found.comm, found.held, found.bytes), ("p8", [50 * MIB, 400 * MIB], 360 * MIB));
        assert_eq!((found.time, found.counts, found.new), (1, Some([3, 3]), false));
        // Another process has the number of one that ended.
        let again = grown(&[first.clone(), reading(3, &[(8, 900, 60), (7, 100, 510), (9, 110, 10)])]).unwrap();
        assert_eq!((&*again.comm, again.held, again.new), ("p8", [0, 60 * MIB], true));
        assert_eq!(grown(std::slice::from_ref(&first)), None, "it was looked at once");
        assert_eq!(grown(&[first.clone(), first]), None, "nothing grew");
    }

    #[test]
    fn of_many_holders_those_that_have_a_place_are_counted_on_every_gpu() {
        let mut held = BTreeMap::new();
        (0..HOLDERS as u32 + 9).for_each(|pid| add(&mut held, pid, MIB));
        for bytes in [5, u64::MAX] {
            add(&mut held, 0, bytes);
            add(&mut held, HOLDERS as u32, bytes);
        }
        assert_eq!((held.len(), held[&0], held[&1]), (HOLDERS, u64::MAX, MIB));
    }

    #[test]
    fn who_was_not_among_the_largest_held_no_more_than_these() {
        let found = grown(&[reading(40, &[(7, 100, 500), (8, 100, 50)]), reading(40, &[(5, 90, 450), (7, 100, 500)])]);
        let found = found.unwrap();
        assert_eq!((&*found.comm, found.held), ("p5", [50 * MIB, 450 * MIB]));
    }
}
