//! Swap that is missing, too large or in use all the time; kswapd that is late; huge pages that everybody waits for.

use collector_common::histogram;
use collector_core::advice::Confidence;
use collector_core::count::Histogram;
use collector_core::sample::Reading;
use collector_core::signal::{compaction, reclaim};
use collector_core::statistic::host::Statistic::*;
use collector_core::statistic::workload::Statistic;

use super::host_days;
use crate::made::{GIB, Host, MIB, SECOND, advice};

const HOST: u64 = 16 * GIB;

/// A host that was this short of memory, with these numbers.
pub(super) fn host(used: f64, hurt: (f64, u32), set: impl Fn(&mut Host)) -> Host {
    let mut host = Host::new(HOST);
    host_days(&mut host, HOST, used, hurt);
    set(&mut host);
    host.run(300, 1);
    host
}

pub(super) fn without_swap(host: &mut Host) {
    host.is(SwapTotal, 0).is(SwapFree, 0).is(MemoryAnon, 8 * GIB);
}

/// zram that may take so much, of which so much is used.
pub(super) fn zram(most: u64, used: u64) -> impl Fn(&mut Host) {
    move |host: &mut Host| {
        host.is(ZramSize, most).is(ZramMost, most).is(ZramUsed, used).is(ZramOriginal, 3 * used);
        host.is(ZramCompressed, used).is(SwapTotal, most).is(SwapFree, most - used);
    }
}

/// All tasks wait for so many nanoseconds of each second, and so many bytes come back from swap.
pub(super) fn thrashes(full: u64, swap_in: u64) -> Host {
    host(0.85, (0.0, 0), move |host| {
        let hog = host.workload("/system.slice/train.service", 12 * GIB, 12 * GIB);
        host.has(hog, Statistic::MemorySwap, 6 * GIB);
        host.is(SwapFree, GIB).is(MemoryAvailable, 300 * MIB);
        host.grows(MemoryPressureFull, full).grows(MemoryPressureSome, full).grows(SwapIn, swap_in);
    })
}

fn histogram(ns: u64) -> Histogram {
    let mut histogram = [0; histogram::WORDS];
    (histogram[3], histogram[histogram::SUM]) = (100, ns);
    histogram
}

/// Tasks spent so many seconds of ten days in direct reclaim.
pub(super) fn late(seconds: u64, factor: u64, available: u64) -> Host {
    host(0.7, (0.0, 0), move |host| {
        let (kind, histogram) = (reclaim::Kind::Direct, histogram(seconds * SECOND));
        host.apply(Reading::Reclaim(reclaim::Reading::Time { kind, histogram }));
        host.is(WatermarkScaleFactor, factor).is(MemoryAvailable, available);
    })
}

/// And so many in compaction.
pub(super) fn waits(seconds: u64, enabled: u64, defrag: u64) -> Host {
    host(0.7, (0.0, 0), move |host| {
        host.apply(Reading::Compaction(compaction::Reading::Time { histogram: histogram(seconds * SECOND) }));
        host.is(HugePagesEnabled, enabled).is(HugePagesDefrag, defrag);
    })
}

#[test]
fn swap_is_missed_where_the_host_ran_out_and_something_could_go_there() {
    let judged = host(0.98, (0.0, 2), without_swap).expect(&["swap_missing:host"]);
    let missing = advice(&judged, "swap_missing:host");
    assert_eq!(missing.saves.as_ref().unwrap().kills, Some(16.0));
    assert_eq!(
        missing.actions[0].after.as_deref(),
        Some((4 * GIB).to_string().as_str()),
        "not more than 4 GiB of zram"
    );
    let commands = |root| {
        let judged = host(0.98, (0.0, 2), |host| {
            without_swap(host);
            host.mounts("/", 100, root);
        });
        advice(&judged.judged(), "swap_missing:host").actions[1].commands.len()
    };
    assert_eq!((missing.actions[1].commands.len(), commands(5), commands(40)), (0, 0, 2), "room on /");
    assert!(host(0.98, (0.0, 2), |_| ()).expect(&[]).advice.is_empty(), "there is swap");
    assert!(host(0.7, (900.0, 2), without_swap).expect(&[]).advice.is_empty(), "a limit killed, not the host");
    assert!(host(0.98, (0.0, 0), without_swap).expect(&[]).advice.is_empty(), "full, and nobody minds");
    let locked = |host: &mut Host| {
        without_swap(host);
        host.is(MemoryUnevictable, 8 * GIB - 100 * MIB);
    };
    assert!(host(0.98, (0.0, 2), locked).expect(&[]).advice.is_empty(), "nothing could go there");
    let unknown = |host: &mut Host| {
        without_swap(host);
        host.is_not(SwapTotal);
    };
    assert!(host(0.98, (0.0, 2), unknown).expect(&[]).advice.is_empty());
}

#[test]
fn on_a_kubelets_node_swap_is_not_sure() {
    let pod = "/kubepods.slice/kubepods-pod0a1b2c3d_0a1b_0a1b_0a1b_0a1b2c3d4e5f.slice";
    let node = host(0.98, (0.0, 2), |host| {
        without_swap(host);
        host.workload(pod, GIB, GIB);
    });
    let judged = node.expect(&[]);
    assert_eq!(advice(&judged, "swap_missing:host").confidence, Confidence::Low);
}

#[test]
fn zram_may_not_take_most_of_the_memory() {
    let judged = host(0.5, (0.0, 0), zram(16 * GIB, GIB)).expect(&["zram_too_large:host"]);
    let commands = &advice(&judged, "zram_too_large:host").actions[0].commands;
    assert!(commands.iter().all(|command| command.file.is_some()), "no second device: {commands:?}");
    let judged = host(0.5, (0.0, 0), zram(9 * GIB, 5 * GIB)).expect(&["zram_too_large:host"]);
    assert_eq!(advice(&judged, "zram_too_large:host").confidence, Confidence::High);
    assert!(host(0.5, (0.0, 0), zram(8 * GIB, 2 * GIB)).expect(&[]).advice.is_empty(), "half of it");
    let limited = |host: &mut Host| {
        zram(32 * GIB, GIB)(host);
        host.is(ZramMost, 4 * GIB);
    };
    assert!(host(0.5, (0.0, 0), limited).expect(&[]).advice.is_empty(), "its memory is limited");
}

#[test]
fn swap_that_is_in_use_all_the_time_is_told() {
    let judged = thrashes(SECOND / 4, 30 * MIB).expect(&["swap_thrashing:host"]);
    let told = advice(&judged, "swap_thrashing:host");
    assert_eq!(told.confidence, Confidence::High);
    assert!(told.why.contains("train.service has most in swap, 6.00 GiB"), "{}", told.why);
    thrashes(SECOND / 4, 0).expect(&[]);
    thrashes(SECOND / 100, 30 * MIB).expect(&[]);
}

#[test]
fn kswapd_that_is_late_starts_earlier() {
    // Ten days are 240 hours.
    let judged = late(24_000, 10, 8 * GIB).expect(&["watermark_scale_factor:host"]);
    let told = advice(&judged, "watermark_scale_factor:host");
    assert_eq!((told.actions[0].before.as_deref(), told.actions[0].after.as_deref()), (Some("10"), Some("50")));
    assert!(late(240, 10, 8 * GIB).expect(&[]).advice.is_empty(), "a second an hour");
    assert!(late(24_000, 200, 8 * GIB).expect(&[]).advice.is_empty(), "it starts early already");
    assert!(late(24_000, 10, GIB).expect(&[]).advice.is_empty(), "there is nothing to free");
}

#[test]
fn huge_pages_that_everybody_waits_for_are_made_in_the_background() {
    let judged = waits(24_000, 2, 4).expect(&["huge_pages_defrag:host"]);
    assert_eq!(advice(&judged, "huge_pages_defrag:host").confidence, Confidence::High);
    assert!(waits(240, 2, 4).expect(&[]).advice.is_empty());
    assert!(waits(24_000, 2, 3).expect(&[]).advice.is_empty(), "only who asks waits");
    assert!(waits(24_000, 1, 4).expect(&[]).advice.is_empty());
}
