//! kill: which signals from another workload are told: those sent while memory was short. Services and containers are stopped
//! with the same signals all day, which is nobody's concern here.

use std::collections::VecDeque;

use super::State;
use crate::cgroup::Id;
use crate::outcome::Outcome;
use crate::series::Series;
use crate::signal::kill::{Named, Reading, Sent, Shortage};
use crate::statistic::host::Statistic as OfHost;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::workload::Workload;

/// Memory is short above this share of a limit, without page cache.
const NEAR_LIMIT: f64 = 0.9;
/// Memory of the host is short if less than this share is available: where earlyoom begins to kill by default.
const AVAILABLE: f64 = 0.1;
/// Memory is short if tasks wait for it for this share of the time.
const WAITING: f64 = 0.1;

/// Signals of one sender to one cgroup that follow each other this soon, in nanoseconds, are told once.
pub(super) const APART_NS: u64 = 1_000_000_000;
/// Maximum number of senders remembered.
const MAX_SENDERS: usize = 64;

/// Who sent signals lately, to which cgroup, and when last.
#[derive(Clone, Debug, Default)]
pub struct Senders(VecDeque<(Option<Id>, u32, u64)>);

impl Senders {
    /// Remembers a signal. Returns `true` if it continues a series that was told.
    fn continues(&mut self, sent: &Sent, time: u64) -> bool {
        let same = |entry: &&mut (Option<Id>, u32, u64)| {
            (entry.0, entry.1) == (sent.cgroup, sent.sender_pid) && time.abs_diff(entry.2) < APART_NS
        };
        let known = self.0.iter_mut().find(same);
        let is_known = known.is_some();
        if let Some(known) = known {
            known.2 = known.2.max(time);
        }
        is_known
    }

    fn add(&mut self, sent: &Sent, time: u64) {
        if self.0.len() == MAX_SENDERS {
            self.0.pop_front();
        }
        self.0.push_back((sent.cgroup, sent.sender_pid, time));
    }
}

pub(super) fn fold(State { view, victims, senders, .. }: State<'_>, time: u64, reading: &Reading) -> Option<Outcome> {
    let Reading::Sent(sent) = reading;
    let name = |id: Option<Id>| id.and_then(|id| view.workloads.name(id));
    let (workload, sender_workload) = (name(sent.cgroup), name(sent.sender_cgroup));
    // Nested cgroups of one workload.
    if workload.is_some() && workload == sender_workload || senders.continues(sent, time) {
        return None;
    }
    let marked = victims.was_dying(time, sent.pid).then_some(Shortage::Marked);
    let shortage = marked.or_else(|| shortage(view, time, sent))?;
    senders.add(sent, time);
    Some(Outcome::Signal(Box::new(Named { time, workload, sender_workload, shortage, sent: sent.clone() })))
}

/// Where memory is short, as far as it concerns the process that the signal was sent to.
fn shortage(view: &View, time: u64, sent: &Sent) -> Option<Shortage> {
    let limit = |workload: &Workload, used: Option<u64>, limit: Option<u64>| {
        let get = |statistic| workload.statistics.get(statistic);
        // Page cache fills any limit, and can be dropped.
        let cache = get(Statistic::MemoryFile).unwrap_or(0).saturating_sub(get(Statistic::MemoryShmem).unwrap_or(0));
        let (memory_bytes, limit_bytes) = (used?.saturating_sub(cache), limit?);
        let near = memory_bytes as f64 >= NEAR_LIMIT * limit_bytes as f64;
        near.then(|| Shortage::Limit { workload: workload.name.to_string(), memory_bytes, limit_bytes })
    };
    let workloads = &view.workloads;
    let own = sent.cgroup.and_then(|id| workloads.of(id));
    // At the moment of the signal, not a tick before.
    let found = own.and_then(|own| limit(own, sent.memory_bytes, sent.limit_bytes)).or_else(|| {
        let path = workloads.path(sent.cgroup?)?;
        workloads.above(path).filter_map(|(_, workload)| workload).find_map(|workload| {
            let get = |statistic| workload.statistics.get(statistic);
            limit(workload, get(Statistic::MemoryCurrent), get(Statistic::MemoryLimit))
        })
    });
    let host = || {
        let get = |statistic| view.host.statistics.get(statistic);
        let (available_bytes, total_bytes) = get(OfHost::MemoryAvailable).zip(get(OfHost::MemoryTotal))?;
        let short = (available_bytes as f64) < AVAILABLE * total_bytes as f64;
        short.then_some(Shortage::Host { available_bytes, total_bytes })
    };
    found.or_else(host).or_else(|| {
        let window = view.history.window(time);
        let waiting = |workload: Option<&str>, ratio: Option<f64>| {
            let workload = workload.map(str::to_owned);
            ratio.filter(|ratio| *ratio >= WAITING).map(|ratio| Shortage::Waiting { workload, ratio })
        };
        let of = own.and_then(|own| waiting(Some(&own.name), window.newest(&own.track, Series::MemoryWaiting)));
        of.or_else(|| waiting(None, window.newest(&view.history.host, Series::MemoryStalled)))
    })
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::*;
    use crate::decode::record as decode_record;
    use crate::engine::Engine;
    use crate::engine::test::{CONTEXT, ID, engine, facts};
    use crate::sample::{self, Sample};
    use crate::signal::kill::test::sent;
    use crate::signal::oom::test::victim;
    use crate::statistic::{host, workload};

    fn told(engine: &mut Engine, record: &collector_common::kill::Sent) -> Option<Shortage> {
        match facts(engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap()).as_slice() {
            [] => None,
            [Outcome::Signal(named)] => Some(named.shortage.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn signals_are_told_only_if_memory_is_short() {
        assert_eq!(told(&mut engine(), &sent()), None);

        let mut full = sent();
        (full.usage, full.limit) = (90, 100);
        let limit = Shortage::Limit { workload: "/a".into(), memory_bytes: 90 << 12, limit_bytes: 100 << 12 };
        assert_eq!(told(&mut engine(), &full), Some(limit));
        full.usage = 89;
        assert_eq!(told(&mut engine(), &full), None);

        full.usage = 95;
        let mut cached = engine();
        let mut values = workload::Values::default();
        values.set(Statistic::MemoryFile, 6 << 12);
        let reading = sample::Reading::Statistics(sample::Statistics { cgroup: ID, values, turn: true });
        cached.apply(&Sample { time: 20, reading });
        assert_eq!(told(&mut cached, &full), None, "page cache can be dropped");

        let mut engine = engine();
        let mut with = |available: u64| {
            let mut values = host::Values::default();
            values.set(OfHost::MemoryTotal, 1000);
            values.set(OfHost::MemoryAvailable, available);
            engine.apply(&Sample { time: 20, reading: sample::Reading::Host(values) });
            told(&mut engine, &sent())
        };
        assert_eq!(with(100), None);
        assert_eq!(with(99), Some(Shortage::Host { available_bytes: 99, total_bytes: 1000 }));
    }

    #[test]
    fn the_sender_of_a_signal_to_a_process_that_the_oom_killer_found_dying_is_told() {
        let mut engine = engine();
        let attached = sample::ProbeState::Attached;
        let probe = sample::Probe { program: "kill_signal".into(), state: attached, reason: None };
        engine.apply(&Sample { time: 20, reading: sample::Reading::Probe(probe) });
        let mut record = victim();
        record.killed = 0;
        facts(&mut engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap());
        assert_eq!(told(&mut engine, &sent()), Some(Shortage::Marked));
    }

    #[test]
    fn a_series_is_told_once_and_a_workloads_own_signals_never() {
        let mut engine = engine();
        let mut record = sent();
        (record.usage, record.limit) = (95, 100);
        let mut at = |time: u64, sender: u32| {
            (record.header.time_ns, record.sender.pid) = (time, sender);
            told(&mut engine, &record).is_some()
        };
        assert_eq!([at(5, 77), at(6, 77), at(6, 78), at(APART_NS, 77)], [true, false, true, false]);
        assert!(at(3 * APART_NS, 77));

        record.sender_cgroup = collector_common::cgroup::Id { id: ID.id, hierarchy: ID.hierarchy };
        record.header.time_ns = 9 * APART_NS;
        assert_eq!(told(&mut engine, &record), None);
    }
}
