//! kill: which signals from another workload are reported: those sent while memory was short. Services and containers are
//! stopped with the same signals all day.

use std::collections::VecDeque;
use std::sync::Arc;

use super::State;
use super::incident::APART_NS;
use crate::cgroup::Id;
use crate::outcome::Outcome;
use crate::series::Series;
use crate::signal::kill::{Named, Reading, Sent, Shortage, is_near};
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::host::Memory;
use crate::view::workload::Workload;

/// Memory is short if tasks wait for it for this share of the time.
const WAITING: f64 = 0.1;

/// Maximum number of senders remembered.
const MAX_SENDERS: usize = 64;

/// The last series of signals: each is reported once, and is one incident.
#[derive(Clone, Debug, Default)]
pub struct Senders(VecDeque<Signals>);

/// Signals of one sender to the processes of one workload that follow each other soon.
#[derive(Clone, Debug)]
struct Signals {
    workload: Option<Arc<str>>,
    sender_pid: u32,
    last: u64,
}

impl Senders {
    /// Remembers a signal. Returns `true` if it continues a series that was reported.
    fn continues(&mut self, workload: Option<&str>, sender_pid: u32, time: u64) -> bool {
        let same = |it: &&mut Signals| {
            it.workload.as_deref() == workload && it.sender_pid == sender_pid && time.abs_diff(it.last) < APART_NS
        };
        let known = self.0.iter_mut().find(same).map(|known| known.last = known.last.max(time));
        known.is_some()
    }

    fn add(&mut self, signals: Signals) {
        if self.0.len() == MAX_SENDERS {
            self.0.pop_front();
        }
        self.0.push_back(signals);
    }
}

pub(super) fn fold(State { view, victims, senders, .. }: State<'_>, time: u64, reading: &Reading) -> Option<Outcome> {
    let Reading::Sent(sent) = reading;
    let known = |id: Option<Id>| id.and_then(|id| view.workloads.known(id));
    let (own, sender) = (known(sent.cgroup), known(sent.sender_cgroup));
    let workload = own.as_ref().map(|own| own.name.clone());
    let sender_workload = sender.map(|sender| sender.name.clone());
    // Nested cgroups of one workload.
    let within = workload.is_some() && workload == sender_workload;
    if within || senders.continues(workload.as_deref(), sent.sender_pid, time) {
        return None;
    }
    let marked = victims.was_dying(time, sent.pid).then_some(Shortage::Marked);
    let shortage = marked.or_else(|| shortage(view, time, sent, own.as_deref()))?;
    senders.add(Signals { workload: workload.clone(), sender_pid: sent.sender_pid, last: time });
    Some(Outcome::Signal(Box::new(Named { time, workload, sender_workload, shortage, sent: sent.clone() })))
}

/// Where memory is short, as far as it concerns the process that the signal was sent to.
fn shortage(view: &View, time: u64, sent: &Sent, own: Option<&Workload>) -> Option<Shortage> {
    let limit = |workload: &Workload, used: Option<u64>, cache: Option<u64>, limit: Option<u64>, read_after| {
        // Page cache fills any limit, and can be dropped.
        let cache = cache.or_else(|| workload.page_cache()).unwrap_or(0);
        let (memory_bytes, limit_bytes) = (used?.saturating_sub(cache), limit?);
        is_near(memory_bytes, limit_bytes).then(|| Shortage::Limit {
            workload: workload.name.to_string(),
            memory_bytes,
            limit_bytes,
            read_after,
        })
    };
    let workloads = &view.workloads;
    // At the moment of the signal, not a tick before.
    let at_signal = |own| limit(own, sent.memory_bytes, sent.page_cache_bytes, sent.limit_bytes, sent.read_after);
    let found = own.and_then(at_signal).or_else(|| {
        let path = workloads.path(sent.cgroup?)?;
        workloads.above(path).filter_map(|(_, workload)| workload).find_map(|workload| {
            let get = |statistic| workload.statistics.get(statistic);
            limit(workload, get(Statistic::MemoryCurrent), None, get(Statistic::MemoryLimit), false)
        })
    });
    let host = || {
        let Memory { total, available } = view.host.memory().filter(|memory| memory.is_short())?;
        Some(Shortage::Host { available_bytes: available, total_bytes: total })
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
    use crate::statistic::host::{self, Statistic as OfHost};

    fn reported(engine: &mut Engine, record: &collector_common::kill::Sent) -> Option<Shortage> {
        match facts(engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap()).as_slice() {
            [] => None,
            [Outcome::Signal(named)] => Some(named.shortage.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn signals_are_reported_only_if_memory_is_short() {
        assert_eq!(reported(&mut engine(), &sent()), None);

        let mut full = sent();
        (full.usage, full.limit) = (90, 100);
        let (workload, read_after) = ("/a".into(), false);
        let limit = Shortage::Limit { workload, memory_bytes: 90 << 12, limit_bytes: 100 << 12, read_after };
        assert_eq!(reported(&mut engine(), &full), Some(limit));
        full.usage = 89;
        assert_eq!(reported(&mut engine(), &full), None);

        full.usage = 95;
        let mut cached = engine();
        let values = [(Statistic::MemoryFile, 6 << 12), (Statistic::MemoryShmem, 0)].into_iter().collect();
        let reading = sample::Reading::Statistics(sample::Statistics { cgroup: ID, values, turn: true });
        cached.apply(&Sample { time: 20, reading });
        assert_eq!(reported(&mut cached, &full), None, "page cache can be dropped");
        let mut sample = decode_record(full.as_bytes(), &CONTEXT).unwrap();
        let sample::Reading::Kill(Reading::Sent(read)) = &mut sample.reading else { panic!("{sample:?}") };
        read.page_cache_bytes = Some(4 << 12);
        let outcomes = facts(&mut cached, &sample);
        assert!(
            matches!(&outcomes[..], [Outcome::Signal(_)]),
            "of the last tick's page cache only 4 of 6 pages are left: {outcomes:?}"
        );

        let mut engine = engine();
        let mut with = |available: u64, more: &[(OfHost, u64)]| {
            let values = [(OfHost::MemoryTotal, 1000), (OfHost::MemoryAvailable, available)];
            let values: host::Values = values.into_iter().chain(more.iter().copied()).collect();
            engine.apply(&Sample { time: 20, reading: sample::Reading::Host(values) });
            reported(&mut engine, &sent())
        };
        assert_eq!(with(100, &[]), None);
        assert_eq!(with(60, &[(OfHost::MemoryHugePagesFree, 500)]), None, "nobody else can have free huge pages");
        assert_eq!(with(60, &[(OfHost::MemoryArcReclaimable, 50)]), None, "ZFS gives its cache back");
        assert_eq!(with(99, &[]), Some(Shortage::Host { available_bytes: 99, total_bytes: 1000 }));
    }

    #[test]
    fn what_was_read_after_the_signal_is_reported_as_that() {
        let mut engine = engine();
        let mut sample = decode_record(sent().as_bytes(), &CONTEXT).unwrap();
        let sample::Reading::Kill(Reading::Sent(sent)) = &mut sample.reading else { panic!("{sample:?}") };
        (sent.memory_bytes, sent.limit_bytes, sent.read_after) = (Some(95), Some(100), true);
        let [Outcome::Signal(named)] = &facts(&mut engine, &sample)[..] else { panic!("nothing is reported") };
        let (workload, read_after) = ("/a".into(), true);
        assert_eq!(named.shortage, Shortage::Limit { workload, memory_bytes: 95, limit_bytes: 100, read_after });
    }

    #[test]
    fn the_sender_of_a_signal_to_a_process_that_the_oom_killer_found_dying_is_reported() {
        let mut engine = engine();
        let attached = sample::ProbeState::Attached;
        let probe = sample::Probe { program: "kill_signal".into(), state: attached, reason: None };
        engine.apply(&Sample { time: 20, reading: sample::Reading::Probe(probe) });
        let mut record = victim();
        record.killed = 0;
        facts(&mut engine, &decode_record(record.as_bytes(), &CONTEXT).unwrap());
        assert_eq!(reported(&mut engine, &sent()), Some(Shortage::Marked));
    }

    #[test]
    fn a_series_is_reported_once_and_a_workloads_own_signals_never() {
        let mut engine = engine();
        let mut record = sent();
        (record.usage, record.limit) = (95, 100);
        let mut at = |time: u64, sender: u32| {
            (record.header.time_ns, record.sender.pid) = (time, sender);
            reported(&mut engine, &record).is_some()
        };
        assert_eq!([at(5, 77), at(6, 77), at(6, 78), at(APART_NS, 77)], [true, false, true, false]);
        assert!(at(3 * APART_NS, 77));

        record.sender_cgroup = collector_common::cgroup::Id { id: ID.id, hierarchy: ID.hierarchy };
        record.header.time_ns = 9 * APART_NS;
        assert_eq!(reported(&mut engine, &record), None);
    }
}
