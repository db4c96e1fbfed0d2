//! memory.low for whom others press, and memory.high: where it helps, and where it is a trap.

use collector_core::advice::Confidence;
use collector_core::past::Day;
use collector_core::sample::Reading;
use collector_core::signal::reclaim;
use collector_core::statistic::host::Statistic as OfHost;
use collector_core::statistic::model;
use collector_core::statistic::workload::Statistic;

use super::{day, host_days};
use crate::made::{GIB, Host, MIB, SECOND, advice, id};

const HOST: u64 = 64 * GIB;

/// The host reclaims; tasks of this workload do it.
pub(super) fn reclaims(host: &mut Host, workload: u64, bytes: u64) {
    let counts = reclaim::Reading::Counts {
        cgroup: Some(id(workload)),
        kind: reclaim::Kind::Direct,
        stalls: 100,
        ns: SECOND,
        bytes,
        target_bytes: 0,
    };
    host.apply(Reading::Reclaim(counts));
}

/// A server beside a batch job on a host that was short, with this limit. It waited for so many seconds of each day.
pub(super) fn beside(waited: f64, limit: Option<u64>, serves: bool) -> (Host, u64, u64) {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, 0.96, (0.0, 0));
    let vllm = host.workload("/system.slice/vllm.service", 10 * GIB, 9 * GIB);
    let batch = host.workload("/system.slice/batch.service", 30 * GIB, 5 * GIB);
    if serves {
        host.serves(vllm, model::Kind::Vllm, &[]);
    }
    if let Some(limit) = limit {
        host.has(vllm, Statistic::MemoryLimit, limit);
    }
    host.days(Some("vllm.service"), 8, |_| Day { memory_waiting: Some(waited), ..day(10 * GIB, 9 * GIB, limit) });
    host.run(60, 1);
    (host, vllm, batch)
}

#[test]
fn who_serves_and_is_reclaimed_from_is_protected() {
    let (mut host, _, batch) = beside(400.0, None, true);
    reclaims(&mut host, batch, 40 * GIB);
    let judged = host.run(5, 1).expect(&["memory_low:vllm.service"]);
    let low = advice(&judged, "memory_low:vllm.service");
    assert_eq!(low.actions[0].after.as_deref(), Some((9 * GIB).to_string().as_str()));
    assert!(low.why.contains("batch.service") && low.saves.as_ref().unwrap().stall_seconds == Some(3200.0), "{low:#?}");
}

#[test]
fn nobody_else_is_protected() {
    let (host, ..) = beside(10.0, None, true);
    host.expect(&[]);
    let (host, ..) = beside(400.0, None, false);
    host.expect(&[]);
    let (mut host, vllm, _) = beside(400.0, None, true);
    reclaims(&mut host, vllm, 40 * GIB);
    host.run(5, 1).expect(&[]);
    let (mut host, vllm, _) = beside(400.0, None, true);
    host.has(vllm, Statistic::MemoryLow, 9 * GIB).run(5, 1).expect(&[]);
    // All of it (`max`).
    let (mut host, vllm, _) = beside(400.0, None, true);
    host.has_not(vllm, Statistic::MemoryLow).run(5, 1).expect(&[]);
}

#[test]
fn who_waits_at_its_own_limit_is_not_pressed_by_others() {
    let (host, ..) = beside(1000.0, Some(10 * GIB), true);
    let judged = host.judged();
    assert!(judged.advice.iter().all(|advice| advice.rule != "memory_low"), "{judged:#?}");
}

#[test]
fn protecting_all_of_the_memory_protects_nobody() {
    let (mut host, _, batch) = beside(400.0, None, true);
    host.has(batch, Statistic::MemoryLow, 45 * GIB);
    let judged = host.run(5, 1).expect(&[]);
    assert!(judged.lacking.iter().any(|lacking| lacking.rule == "memory_low"), "{judged:#?}");
}

/// A service at its memory.high of 4 GiB below this limit, of which so much is page cache.
fn at_high_below(limit: u64, cache: u64, swap: u64, throttled: bool) -> Host {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, 0.5, (0.0, 0));
    host.is(OfHost::SwapTotal, swap).is(OfHost::SwapFree, swap);
    let job = host.workload("/system.slice/job.service", 4 * GIB, 4 * GIB - cache);
    host.has(job, Statistic::MemoryHigh, 4 * GIB).has(job, Statistic::MemoryLimit, limit);
    host.run(5, 1);
    if throttled {
        host.gains(job, Statistic::MemoryEventHigh, 5);
    }
    host.run(60, 1);
    host
}

pub(super) fn at_high(cache: u64, swap: u64, throttled: bool) -> Host {
    at_high_below(6 * GIB, cache, swap, throttled)
}

#[test]
fn memory_high_without_anything_to_take_is_a_trap() {
    let judged = at_high(10 * MIB, 0, true).expect(&["memory_high_trap:job.service"]);
    let trap = advice(&judged, "memory_high_trap:job.service");
    assert_eq!((trap.confidence, trap.actions[0].after.as_deref()), (Confidence::High, Some("max")));
    // Its only limit is not taken away.
    let judged = at_high_below(2 * HOST, 10 * MIB, 0, true).expect(&[]);
    let trap = advice(&judged, "memory_high_trap:job.service");
    assert!(trap.title.starts_with("Set a memory limit") && trap.actions[0].commands.is_empty(), "{trap:#?}");
    at_high(GIB, 0, true).expect(&[]);
    at_high(10 * MIB, 8 * GIB, true).expect(&[]);
    at_high(10 * MIB, 0, false).expect(&[]);
}

/// A backup with so much page cache, which reclaims for the others, on a full host that killed.
pub(super) fn fills(cache: u64, killed: u32, serves: bool) -> Host {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, 0.97, (0.0, killed));
    let backup = host.workload("/system.slice/backup.service", 2 * GIB + cache, 2 * GIB);
    host.days(Some("backup.service"), 8, |_| day(2 * GIB + cache, 2 * GIB, None));
    if serves {
        host.serves(backup, model::Kind::Vllm, &[]);
    }
    host.run(5, 1);
    reclaims(&mut host, backup, 40 * GIB);
    host.run(30, 1);
    host
}

#[test]
fn who_fills_the_memory_with_page_cache_drops_its_own_first() {
    let judged = fills(30 * GIB, 1, false).expect(&["memory_high_set:backup.service"]);
    let set = advice(&judged, "memory_high_set:backup.service");
    let to: u64 = set.actions[0].after.as_deref().unwrap().parse().unwrap();
    assert!((9 * GIB..11 * GIB).contains(&to), "{to}");
    fills(5 * GIB, 1, false).expect(&[]);
    fills(30 * GIB, 0, false).expect(&[]);
    fills(30 * GIB, 1, true).expect(&[]);
}
