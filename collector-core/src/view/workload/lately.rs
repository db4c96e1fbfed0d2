//! What became of workloads of late, and how they lie in one another: what explaining an incident asks for.

use std::cmp::Ordering;

use super::{OTHER_SLOT, Workload, Workloads};
use crate::cgroup::Id;
use crate::identity::Kind;
use crate::incident::{Change, What};
use crate::statistic::gpu::Holder;
use crate::statistic::workload::Statistic;
use crate::view::change::Changes;

/// What is remembered of a workload from tick to tick.
#[derive(Clone, Debug, Default)]
pub struct Lately {
    /// Memory of GPUs that it holds; absent if none, or if the driver does not know.
    vram: Option<u64>,
    /// Its memory limit, if that is known.
    limit: Option<Option<u64>>,
    /// The memory limits of the containers right below it, added up.
    limits_below: u64,
    /// How often memory was refused to it.
    refusals: Option<u64>,
    /// When it last was.
    pub refused: Option<u64>,
    /// When limits and parts of memory were read last.
    pub parts_read: Option<u64>,
}

impl Workload {
    /// Whether any cgroup of it is alive.
    pub(crate) fn is_alive(&self) -> bool {
        self.live > 0
    }

    /// Since when it has no cgroup.
    pub(crate) fn gone_since(&self) -> Option<u64> {
        self.empty_since
    }

    /// Memory of GPUs that it held at the last tick, if that is known.
    pub(crate) fn vram(&self) -> Option<u64> {
        self.lately.vram
    }

    /// Its memory limit, once its files have been read: absent is unlimited.
    pub(crate) fn memory_limit(&self) -> Option<Option<u64>> {
        self.statistics.get(Statistic::MemoryCurrent)?;
        Some(self.statistics.get(Statistic::MemoryLimit))
    }

    /// Whether its memory limit is no more than those of its containers together, as the kubelet sets a pod's: then one of
    /// theirs is reached first.
    pub(crate) fn is_limited_below(&self) -> bool {
        self.statistics.get(Statistic::MemoryLimit).is_some_and(|limit| limit <= self.lately.limits_below)
    }

    /// Takes down what is new, and gives the limit before, if it is another.
    fn look(&mut self, time: u64, before: Option<u64>) -> Option<Change> {
        // The first is where a kill is next; v1 only counts what was refused before reclaim.
        let count = |statistic| self.statistics.get(statistic);
        let now = count(Statistic::MemoryEventOom).or(count(Statistic::MemoryEventMax));
        // What a workload has that came since the tick before, it has since then.
        let young = before.is_some_and(|before| self.created > before);
        let origin = self.lately.refusals.or(young.then_some(0));
        if origin.zip(now).is_some_and(|(before, now)| now > before) {
            self.lately.refused = Some(time);
        }
        self.lately.refusals = now.or(self.lately.refusals);
        let limit = if self.is_alive() { self.memory_limit() } else { None };
        let (before, after) = (self.lately.limit, limit?);
        self.lately.limit = limit;
        // Made only for a change: this is done for every workload at every tick.
        let change = |before| Change { time, what: What::Limit, of: self.name.to_string(), before, after };
        before.filter(|before| *before != after).map(change)
    }
}

/// The kernel rounds a limit down to a page, of at most this many bytes, and so each part of a sum.
const PAGE: u64 = 64 << 10;

impl Workloads {
    /// A tick: what changed, and for each workload `keep`, with whether it is alive. `holding` hold memory of GPUs now.
    pub(crate) fn record<'h>(
        &mut self,
        time: u64,
        before: Option<u64>,
        holding: impl Iterator<Item = &'h Holder>,
        log: &mut Changes,
        keep: &mut impl FnMut(&mut Workload, bool),
    ) {
        let Workloads { slots, cgroups, tops, .. } = self;
        slots.iter_mut().for_each(|workload| (workload.lately.vram, workload.lately.limits_below) = (None, 0));
        for holder in holding {
            let slot = holder.cgroup.and_then(|id| cgroups.get(&id)).map_or(OTHER_SLOT, |member| member.slot);
            let vram = &mut slots[slot].lately.vram;
            *vram = holder.bytes.map(|bytes| vram.unwrap_or(0).saturating_add(bytes)).or(*vram);
        }
        for place in 0..slots.len() {
            let container = Some(&slots[place]).filter(|it| it.identity.kind == Kind::Container && it.is_alive());
            let limit = container.and_then(|it| Some((it.statistics.get(Statistic::MemoryLimit)?, &it.identity.top)));
            let Some((limit, (above, _))) = limit.and_then(|(limit, path)| Some((limit, path.rsplit_once('/')?)))
            else {
                continue;
            };
            if let Some(top) = tops.get(above) {
                let below = &mut slots[top.slot].lately.limits_below;
                *below = below.saturating_add(limit).saturating_add(PAGE);
            }
        }
        for (slot, workload) in slots.iter_mut().enumerate() {
            if workload.name.is_empty() {
                continue;
            }
            let alive = workload.is_alive() || slot == OTHER_SLOT;
            keep(workload, alive);
            if let Some(change) = workload.look(time, before) {
                log.add(change);
            }
        }
    }

    /// The path of a cgroup, if that is known.
    pub(crate) fn path(&self, id: Id) -> Option<&str> {
        self.cgroups.get(&id).map(|member| member.path()).filter(|path| !path.is_empty())
    }

    /// The cgroups at a path and above it, nearest first, with the workload whose own each is; it is nobody's if it is
    /// nested in one.
    pub(crate) fn above<'a>(&'a self, path: &'a str) -> impl Iterator<Item = (&'a str, Option<&'a Workload>)> {
        let ends = path.rmatch_indices('/').map(|(at, _)| at).filter(|at| *at > 0);
        let paths = std::iter::once(path).chain(ends.map(|at| &path[..at]));
        paths.map(|path| (path, self.tops.get(path).map(|top| &self.slots[top.slot])))
    }

    /// Every workload's own cgroups, those in which others lie before these.
    pub(crate) fn nested(&self) -> Vec<(&str, &Workload)> {
        let mut tops: Vec<(&str, &Workload)> =
            self.tops.iter().map(|(path, top)| (&**path, &self.slots[top.slot])).collect();
        tops.sort_unstable_by(|(one, _), (two, _)| in_depth(one, two));
        tops
    }
}

/// A slash comes before everything else, or siblings would come between one and what lies in it. Allocates nothing: an incident
/// sorts all workloads, in the middle of a storm of them.
fn in_depth(one: &str, two: &str) -> Ordering {
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let key = |byte: u8| if byte == b'/' { 0 } else { byte };
    match one.iter().zip(two).position(|(one, two)| one != two) {
        Some(first) => key(one[first]).cmp(&key(two[first])),
        None => one.len().cmp(&two.len()),
    }
}

#[cfg(test)]
mod tests {
    use crate::cgroup::Id;
    use crate::engine::Engine;
    use crate::engine::test::{ID, engine};
    use crate::sample::{Reading, Sample, Statistics};
    use crate::signal::cgroup;
    use crate::statistic::workload::{Statistic, Values};

    fn say(engine: &mut Engine, time: u64, numbers: &[(Statistic, u64)]) {
        let values: Values = numbers.iter().copied().collect();
        let statistics = Statistics { cgroup: ID, values, turn: true };
        engine.apply(&Sample { time, reading: Reading::Statistics(statistics) });
        engine.apply(&Sample { time, reading: Reading::Tick });
    }

    #[test]
    fn a_limit_that_is_set_is_a_change_and_one_that_is_met_is_none() {
        let mut engine = engine();
        let current = (Statistic::MemoryCurrent, 1);
        for (time, limit) in [(100, None), (101, None), (102, Some(7)), (103, Some(9)), (104, Some(9)), (105, None)] {
            let limit = limit.map(|limit| (Statistic::MemoryLimit, limit));
            say(&mut engine, time, &[Some(current), limit].into_iter().flatten().collect::<Vec<_>>());
        }
        let changes: Vec<_> = engine.view().changes.iter().map(|it| (it.time, it.before, it.after)).collect();
        assert_eq!(changes, [(102, None, Some(7)), (103, Some(7), Some(9)), (105, Some(9), None)]);
        assert_eq!(engine.view().workloads.of(ID).unwrap().lately.parts_read, Some(105));
    }

    #[test]
    fn refusals_are_dated_when_they_grow() {
        let mut engine = engine();
        let refused = |engine: &Engine| engine.view().workloads.of(ID).unwrap().lately.refused;
        for (time, count, wanted) in [(100, 5, None), (101, 5, None), (102, 6, Some(102)), (103, 6, Some(102))] {
            say(&mut engine, time, &[(Statistic::MemoryCurrent, 1), (Statistic::MemoryEventMax, count)]);
            assert_eq!(refused(&engine), wanted, "{time}");
        }
    }

    #[test]
    fn paths_lead_up_and_what_lies_in_another_follows_it() {
        let mut engine = engine();
        for (id, path) in [(80, "/a/b"), (81, "/a-b"), (82, "/docker-4f1c2a9b4f1c.scope/nested")] {
            let born = cgroup::Reading::Born { id: Id { id, ..ID }, path: path.into() };
            engine.apply(&Sample { time: 20, reading: Reading::Cgroup(born) });
        }
        let workloads = &engine.view().workloads;
        let above = |path| {
            let above = workloads.above(path);
            above.map(|(path, workload)| (path.to_owned(), workload.map(|it| it.name.to_string()))).collect::<Vec<_>>()
        };
        let named = |path: &str| (path.to_owned(), Some(path.to_owned()));
        assert_eq!(above("/a/b/c"), [("/a/b/c".to_owned(), None), named("/a/b"), named("/a")]);
        assert_eq!(above("/"), [("/".to_owned(), None)]);
        let nested: Vec<_> = workloads.nested().into_iter().map(|(path, _)| path.to_owned()).collect();
        assert_eq!(nested[..3], ["/a", "/a/b", "/a-b"]);
        assert_eq!(workloads.path(Id { id: 80, ..ID }), Some("/a/b"));
    }
}
