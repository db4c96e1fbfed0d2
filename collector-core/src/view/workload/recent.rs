//! Recent changes of workloads: what is needed to explain an incident.

use super::pace::Pace;
use super::still::Pass;
use super::unseen::Kills;
use super::{OTHER_SLOT, Workload, Workloads};
use crate::cgroup::Id;
use crate::count::grow;
use crate::identity::Kind;
use crate::sample::Usage;
use crate::statistic::gpu::Holder;
use crate::statistic::workload::Statistic;
use crate::view::change::{Change, Changes, What};

/// What is kept of a workload from tick to tick.
#[derive(Clone, Debug, Default)]
pub struct Recent {
    /// GPU memory that it holds; `None` if it holds none, or if the driver does not know.
    vram: Option<u64>,
    /// The least, mean and most memory since the last tick, if it was also read between ticks.
    used: Option<[u64; 3]>,
    /// Its memory limit, if known; the inner `None` is unlimited.
    limit: Option<Option<u64>>,
    /// When that was read.
    limit_read: Option<u64>,
    /// Sum of the memory limits of the containers directly below it.
    limits_below: u64,
    /// The GPU memory and this sum before this tick, where that is not what it is now.
    before: (Option<u64>, u64),
    /// Number of times that memory was refused to it.
    refusals: Option<u64>,
    /// When memory was last refused to it.
    pub refused: Option<u64>,
    /// Number of times that it was throttled above `memory.high`.
    throttles: Option<u64>,
    /// When that number last grew.
    pub throttled: Option<u64>,
    /// When limits and parts of memory were last read.
    pub parts_read: Option<u64>,
    /// When it last began to have a cgroup, if that was seen.
    pub born: Option<u64>,
    /// When a process in it was last killed by the OOM killer.
    pub(super) killed: Option<u64>,
    /// When one was killed before that, for another shortage.
    pub killed_before: Option<u64>,
    pub(super) kills: Kills,
    /// CPU time.
    pub(super) cpu: Pace,
    /// The last tick that looked at it.
    pub(super) visited: u64,
}

/// What of the host's swap decides how much a workload can swap out.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Swap {
    pub free: Option<u64>,
    pub swappiness: Option<u64>,
}

/// Kills closer than this, in nanoseconds, are for the same shortage.
const SAME_SHORTAGE_NS: u64 = 1_000_000_000;

impl Recent {
    /// A process in the workload was killed by the OOM killer.
    fn kill(&mut self, time: u64) {
        if self.killed.is_none_or(|killed| time.saturating_sub(killed) >= SAME_SHORTAGE_NS) {
            self.killed_before = self.killed;
        }
        self.killed = self.killed.max(Some(time));
    }

    /// Adds what is kept of another workload that is this one from now on.
    pub(super) fn absorb(&mut self, newer: &Recent) {
        self.parts_read = self.parts_read.max(newer.parts_read);
        self.born = newer.born.or(self.born);
        self.killed_before = self.killed_before.max(newer.killed_before);
        self.killed = self.killed.max(newer.killed);
        self.kills.absorb(newer.kills);
        // The sum jumps.
        self.cpu = Pace::default();
    }
}

impl Workload {
    /// Whether any of its cgroups exists.
    pub(crate) fn is_alive(&self) -> bool {
        self.live > 0
    }

    /// Since when it has no cgroup.
    pub(crate) fn gone_since(&self) -> Option<u64> {
        self.empty_since
    }

    /// When it last was out of memory.
    pub(super) fn last_trouble(&self) -> Option<u64> {
        self.recent.killed.max(self.recent.refused)
    }

    /// GPU memory that it held at the last tick, if known.
    pub(crate) fn vram(&self) -> Option<u64> {
        self.recent.vram
    }

    /// The least, mean and most memory charged to it since the last tick, if it was also read between ticks.
    pub(crate) fn used(&self) -> Option<[u64; 3]> {
        self.recent.used
    }

    /// CPU time that it used per second of the last one: CPUs in use.
    pub(crate) fn cpu_pace(&self) -> Option<f64> {
        self.recent.cpu.get()
    }

    /// Its memory limit, once its files have been read; the inner `None` is unlimited.
    pub(crate) fn memory_limit(&self) -> Option<Option<u64>> {
        self.statistics.get(Statistic::MemoryCurrent)?;
        Some(self.statistics.get(Statistic::MemoryLimit))
    }

    /// What stays at the limit whatever the kernel drops or swaps out, on a host with this much swap. A frozen workload is there
    /// already, and is not killed.
    pub(crate) fn unreclaimable(&self, host: Swap) -> Option<u64> {
        let get = |statistic| self.statistics.get(statistic);
        let rest = get(Statistic::MemoryWithoutCache).filter(|_| get(Statistic::MemoryUnderOom).unwrap_or(0) == 0)?;
        // At 0, reclaim for the limit of a cgroup never swaps (get_scan_count in mm/vmscan.c). On v1 each cgroup has its own.
        let swaps = get(Statistic::MemorySwappiness).or(host.swappiness) != Some(0);
        let free = host.free.filter(|_| swaps).unwrap_or(0);
        let used = get(Statistic::MemorySwap).unwrap_or(0);
        let allowed = get(Statistic::MemorySwapLimit).map_or(u64::MAX, |limit| limit.saturating_sub(used));
        let swappable =
            get(Statistic::MemoryAnon).unwrap_or(0).saturating_add(get(Statistic::MemoryShmem).unwrap_or(0));
        Some(rest.saturating_sub(free.min(allowed).min(swappable)))
    }

    /// Page cache without shared memory, in bytes.
    pub(crate) fn page_cache(&self) -> Option<u64> {
        let get = |statistic| self.statistics.get(statistic);
        Some(get(Statistic::MemoryFile)?.saturating_sub(get(Statistic::MemoryShmem)?))
    }

    /// Whether its memory limit is no more than the sum of its containers' limits, as the kubelet sets it for a pod: then a
    /// container reaches its limit first.
    pub(crate) fn is_limited_below(&self) -> bool {
        self.statistics.get(Statistic::MemoryLimit).is_some_and(|limit| limit <= self.recent.limits_below)
    }

    /// How often memory was refused to it.
    pub(super) fn refusals(&self) -> Option<u64> {
        // The first counts where a kill follows; cgroup v1 counts only refusals before reclaim.
        let count = |statistic| self.statistics.get(statistic);
        count(Statistic::MemoryEventOom).or(count(Statistic::MemoryEventMax))
    }

    /// What was counted before this moment was not seen: it happened at any time.
    pub(super) fn count_from_here(&mut self) {
        self.recent.refusals = self.refusals();
        self.recent.throttles = self.statistics.get(Statistic::MemoryEventHigh);
    }

    /// Updates refusals and limit. Returns a change if the limit is not the one before.
    fn update(&mut self, time: u64, before: Option<u64>) -> Option<Change> {
        let now = self.refusals();
        // A workload created since the last tick has counted from zero.
        let young = before.is_some_and(|before| self.created > before);
        let origin = self.recent.refusals.or(young.then_some(0));
        if origin.zip(now).is_some_and(|(before, now)| now > before) {
            self.recent.refused = Some(time);
        }
        self.recent.refusals = now.or(self.recent.refusals);
        let now = self.statistics.get(Statistic::MemoryEventHigh);
        let origin = self.recent.throttles.or(young.then_some(0));
        if origin.zip(now).is_some_and(|(before, now)| now > before) {
            self.recent.throttled = Some(time);
        }
        self.recent.throttles = now.or(self.recent.throttles);
        let limit = if self.is_alive() { self.memory_limit() } else { None };
        let (before, after) = (self.recent.limit, limit?);
        self.recent.limit = limit;
        let since = std::mem::replace(&mut self.recent.limit_read, self.recent.parts_read);
        // Built only for a change: this runs for every workload at every tick.
        let change = |before| Change { time, since, what: What::Limit, of: self.name.to_string(), before, after };
        before.filter(|before| *before != after).map(change)
    }
}

fn is_container(workload: &Workload) -> bool {
    workload.identity.kind == Kind::Container
}

/// The kernel rounds each limit down to a page of at most this many bytes, so that a sum of limits may be short by one for each.
const PAGE: u64 = 64 << 10;

impl Workloads {
    /// A process in a cgroup was killed by the OOM killer.
    pub(crate) fn killed(&mut self, cgroup: Option<Id>, time: u64) {
        let member = cgroup.and_then(|id| self.cgroups.get(&id));
        if let Some(slot) = member.map(|member| member.slot).filter(|slot| *slot != OTHER_SLOT) {
            self.slots[slot].recent.kill(time);
        }
    }

    /// Memory of a cgroup was read between ticks. Several cgroups of one workload are summed.
    pub(crate) fn used(&mut self, usage: &Usage) {
        let Some(member) = self.cgroups.get(&usage.cgroup) else { return };
        if member.dead_since.is_some() || member.slot == OTHER_SLOT {
            return;
        }
        let used = self.slots.unmarked(member.slot).recent.used.get_or_insert_default();
        for (sum, more) in used.iter_mut().zip([usage.least, usage.mean, usage.most]) {
            grow(sum, more);
        }
    }

    /// At a tick: logs changes, and calls `keep` for each workload that is looked at, with whether it is alive. `before` is the tick
    /// before; `holding` hold GPU memory now.
    pub(crate) fn record<'h>(
        &mut self,
        (time, before): (u64, Option<u64>),
        pass: Pass,
        holding: impl Iterator<Item = &'h Holder>,
        log: &mut Changes,
        keep: &mut impl FnMut(&mut Workload, bool),
    ) {
        self.hold(holding);
        if pass.all || self.slots.any_renamed() || self.slots.any_touched(is_container) {
            self.sum_limits();
        }
        let Workloads { slots, grace, ticked, .. } = self;
        let mut next = slots.next_visit(0, pass.all);
        while let Some(slot) = next {
            next = slots.next_visit(slot + 1, pass.all);
            let touched = slots.is_touched(slot);
            let workload = slots.visit(slot);
            if workload.name.is_empty() {
                slots.keep_still(slot, true);
                continue;
            }
            workload.catch_up(*ticked);
            let alive = workload.is_alive() || slot == OTHER_SLOT;
            let hidden = workload.hidden;
            workload.rest(time, *grace);
            workload.watch(time);
            keep(workload, alive);
            workload.recent.used = None;
            workload.recent.cpu.tick(time, workload.statistics.get(Statistic::CpuUsage));
            if let Some(change) = workload.update(time, before) {
                log.add(change);
            }
            let moved = workload.hidden != hidden || workload.recent.before.0.take() != workload.recent.vram;
            workload.recent.visited = time;
            let still = pass.whole && !touched && !moved && slot != OTHER_SLOT && workload.is_still(before);
            slots.keep_still(slot, still);
            if moved {
                slots.mark(slot);
            }
        }
        slots.visited();
    }

    /// Who holds GPU memory now.
    fn hold<'h>(&mut self, holding: impl Iterator<Item = &'h Holder>) {
        let Workloads { slots, cgroups, holders, .. } = self;
        for slot in holders.drain(..) {
            let recent = &mut slots.unmarked(slot).recent;
            recent.before.0 = recent.vram.take();
        }
        for holder in holding {
            let slot = holder.cgroup.and_then(|id| cgroups.get(&id)).map_or(OTHER_SLOT, |member| member.slot);
            let vram = &mut slots.unmarked(slot).recent.vram;
            *vram = holder.bytes.map(|bytes| vram.unwrap_or(0).saturating_add(bytes)).or(*vram);
            holders.push(slot);
        }
        holders.sort_unstable();
        holders.dedup();
    }

    /// Adds up the limits of containers, for each workload above them.
    fn sum_limits(&mut self) {
        let Workloads { slots, tops, .. } = self;
        for slot in 0..slots.len() {
            let recent = &mut slots.visit(slot).recent;
            recent.before.1 = std::mem::take(&mut recent.limits_below);
        }
        for slot in 0..slots.len() {
            let container = Some(&slots[slot]).filter(|it| is_container(it) && it.is_alive());
            let limit = container.and_then(|it| Some((it.statistics.get(Statistic::MemoryLimit)?, &it.identity.top)));
            let Some((limit, (above, _))) = limit.and_then(|(limit, path)| Some((limit, path.rsplit_once('/')?)))
            else {
                continue;
            };
            if let Some(top) = tops.get(above) {
                let below = &mut slots.visit(top.slot).recent.limits_below;
                *below = below.saturating_add(limit).saturating_add(PAGE);
            }
        }
        for slot in 0..slots.len() {
            if slots[slot].recent.limits_below != slots[slot].recent.before.1 {
                slots.mark(slot);
            }
        }
    }

    /// The host's swap changed: so may the share of its limit that a workload cannot free.
    pub(crate) fn swap(&mut self, before: Swap, now: Swap) {
        if before == now {
            return;
        }
        for slot in 0..self.slots.len() {
            let workload = &self.slots[slot];
            let limited = workload.statistics.get(Statistic::MemoryLimit).is_some();
            if limited && workload.unreclaimable(before) != workload.unreclaimable(now) {
                self.slots.mark(slot);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use crate::cgroup::Id;
    use crate::decode;
    use crate::engine::Engine;
    use crate::engine::test::{CONTEXT, ID, engine};
    use crate::sample::{Reading, Sample, Statistics};
    use crate::signal::cgroup;
    use crate::signal::oom::test::victim;
    use crate::statistic::workload::{Statistic, Values};

    fn measure(engine: &mut Engine, time: u64, numbers: &[(Statistic, u64)]) {
        let values: Values = numbers.iter().copied().collect();
        let statistics = Statistics { cgroup: ID, values, turn: true };
        engine.apply(&Sample { time, reading: Reading::Statistics(statistics) });
        engine.apply(&Sample { time, reading: Reading::Tick });
    }

    #[test]
    fn a_limit_that_is_set_is_a_change_and_the_first_one_seen_is_not() {
        let mut engine = engine();
        let current = (Statistic::MemoryCurrent, 1);
        for (time, limit) in [(100, None), (101, None), (102, Some(7)), (103, Some(9)), (104, Some(9)), (105, None)] {
            let limit = limit.map(|limit| (Statistic::MemoryLimit, limit));
            measure(&mut engine, time, &[Some(current), limit].into_iter().flatten().collect::<Vec<_>>());
        }
        let changes: Vec<_> = engine.view().changes.iter().map(|it| (it.time, it.before, it.after)).collect();
        assert_eq!(changes, [(102, None, Some(7)), (103, Some(7), Some(9)), (105, Some(9), None)]);
        assert_eq!(engine.view().workloads.of(ID).unwrap().recent.parts_read, Some(105));
    }

    #[test]
    fn the_last_kill_for_another_shortage_is_kept() {
        let mut engine = engine();
        let before = |engine: &Engine| engine.view().workloads.of(ID).unwrap().recent.killed_before;
        const SECOND: u64 = 1_000_000_000;
        for (tenths, wanted) in [(50, None), (55, None), (58, None), (90, Some(58)), (91, Some(58)), (120, Some(91))] {
            let mut record = victim();
            (record.victim.pid, record.victim.tid) = (tenths, tenths);
            let kill = decode::record(record.as_bytes(), &CONTEXT).unwrap();
            engine.apply(&Sample { time: u64::from(tenths) * SECOND / 10, ..kill });
            assert_eq!(before(&engine), wanted.map(|tenths: u64| tenths * SECOND / 10), "{tenths}");
        }
    }

    #[test]
    fn a_workload_is_as_old_as_its_cgroup() {
        let mut engine = engine();
        let born = |engine: &Engine| engine.view().workloads.of(ID).unwrap().recent.born;
        assert_eq!(born(&engine), Some(10));
        for (time, reading) in [
            (20, cgroup::Reading::Died { id: ID }),
            (30, cgroup::Reading::Born { id: Id { id: 78, ..ID }, path: "/a".into() }),
        ] {
            engine.apply(&Sample { time, reading: Reading::Cgroup(reading) });
        }
        assert_eq!(born(&engine), Some(30), "another cgroup of the same name");
        for reading in [
            cgroup::Reading::Died { id: Id { id: 78, ..ID } },
            cgroup::Reading::Walk,
            cgroup::Reading::Born { id: Id { id: 79, ..ID }, path: "/a".into() },
            cgroup::Reading::Walked,
        ] {
            engine.apply(&Sample { time: 40, reading: Reading::Cgroup(reading) });
        }
        assert_eq!(born(&engine), None, "found by a walk: it may be old");
    }

    #[test]
    fn refusals_are_dated_when_they_grow() {
        let mut engine = engine();
        let refused = |engine: &Engine| engine.view().workloads.of(ID).unwrap().recent.refused;
        for (time, count, wanted) in [(100, 5, None), (101, 5, None), (102, 6, Some(102)), (103, 6, Some(102))] {
            measure(&mut engine, time, &[(Statistic::MemoryCurrent, 1), (Statistic::MemoryEventMax, count)]);
            assert_eq!(refused(&engine), wanted, "{time}");
        }
    }
}
