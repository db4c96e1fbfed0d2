//! Limits and protections of memory, zram, and what a kubelet leaves.

use super::*;

#[test]
fn a_limit_above_its_parents_never_acts() {
    let mut made = Made::v2();
    made.cgroup(1, "/batch.slice", &[(Of::MemoryLimit, 4 * GIB)]);
    made.cgroup(2, "/batch.slice/a.service", &[(Of::MemoryLimit, 8 * GIB)]);
    let (objects, is) = made.fails("limit_above_parent");
    assert_eq!(objects, workload("a.service"));
    assert_eq!(is, "memory.max of a.service is 8.00 GiB and never acts: batch.slice has 4.00 GiB, which acts first.");
    made.read(2, &[(Of::MemoryLimit, 4 * GIB)]);
    assert_eq!(made.state("limit_above_parent"), State::Holds, "as much is not more");
    made.read(2, &[(Of::MemoryLimit, 2 * GIB), (Of::MemoryHigh, 5 * GIB)]);
    assert!(made.fails("limit_above_parent").1.starts_with("memory.high of a.service is 5.00 GiB"));
    made.read(1, &[]);
    made.read(2, &[(Of::MemoryLimit, 65 * GIB)]);
    assert!(made.fails("limit_above_parent").1.ends_with("the host has 64.0 GiB, which acts first."));
}

#[test]
fn on_v1_limits_above_count_from_5_11_on() {
    let limits = |kernel: &str| {
        let mut made = Made::with(5, &ALL, kernel);
        made.host(&[]);
        made.cgroup(1, "/a", &[(Of::MemoryLimit, GIB)]);
        made.cgroup(2, "/a/b", &[(Of::MemoryLimit, 2 * GIB)]);
        made.state("limit_above_parent")
    };
    assert_eq!(limits("6.18.5"), State::Fails);
    assert_eq!(limits("5.11.0-rc1"), State::Fails);
    assert_eq!([limits("5.10.218"), limits("unknown")], [State::NotKnown; 2]);
}

#[test]
fn protection_below_is_bounded_by_that_above() {
    let made = |parent: u64, children: [u64; 2]| {
        let mut made = Made::v2();
        made.cgroup(1, "/ai.slice", &[(Of::MemoryMin, parent)]);
        made.cgroup(2, "/ai.slice/a.service", &[(Of::MemoryMin, children[0])]);
        made.cgroup(3, "/ai.slice/b.service", &[(Of::MemoryMin, children[1])]);
        made
    };
    let (objects, is) = made(4 * GIB, [3 * GIB, 2 * GIB]).fails("protection_above_parent");
    assert_eq!(objects, workload("ai.slice"));
    assert_eq!(
        is,
        "memory.min below ai.slice is 5.00 GiB in all, and its own is 4.00 GiB: no more than that is protected."
    );
    assert_eq!(made(5 * GIB, [3 * GIB, 2 * GIB]).state("protection_above_parent"), State::Holds);
    assert_eq!(made(u64::MAX, [3 * GIB, 2 * GIB]).state("protection_above_parent"), State::Holds, "max");
    assert_eq!(made(0, [0, 0]).state("protection_above_parent"), State::Unused);
    let mut unread = made(4 * GIB, [3 * GIB, 2 * GIB]);
    unread.read(1, &[(Of::MemoryCurrent, u64::MAX), (Of::MemoryMin, u64::MAX)]);
    assert_eq!(unread.state("protection_above_parent"), State::NotKnown);
    // cgroup v1 has none, however it looks.
    let mut v1 = Made::with(5, &ALL, "6.18.0");
    v1.cgroup(1, "/a", &[]);
    v1.cgroup(2, "/a/b", &[]);
    assert_eq!(v1.state("protection_above_parent"), State::Unused);
}

#[test]
fn memory_high_without_anything_to_take_is_a_trap() {
    let made = |stays: u64, host: &[(host::Statistic, u64)], more: &[(Of, u64)]| {
        let mut made = Made::v2();
        made.host(host);
        let values = [
            (Of::MemoryHigh, 4 * GIB),
            (Of::MemoryCurrent, 4 * GIB),
            (Of::MemoryWithoutCache, stays),
            (Of::MemoryAnon, stays.min(4 * GIB)),
        ];
        made.cgroup(1, "/system.slice/a.service", &[&values, more].concat());
        made
    };
    let (objects, is) = made(4 * GIB, &[], &[]).fails("memory_high");
    assert_eq!(objects, workload("a.service"));
    assert_eq!(
        is,
        "memory.high of a.service is 4.00 GiB, of which it holds 100 % that can be neither dropped nor swapped out: the host has no swap, so it waits there without end."
    );
    let page_cache = made(GIB, &[], &[]);
    assert_eq!(page_cache.state("memory_high"), State::Holds, "the rest is page cache");
    use host::Statistic::{SwapFree, SwapTotal};
    let swap = [(SwapTotal, 8 * GIB), (SwapFree, 8 * GIB)];
    assert_eq!(made(4 * GIB, &swap, &[]).state("memory_high"), State::Holds);
    let barred = made(3 * GIB, &swap, &[(Of::MemorySwapLimit, 0)]).fails("memory_high").1;
    assert!(barred.contains("it may not swap (memory.swap.max), so once it grows"), "{barred}");
    assert_eq!(made(u64::MAX, &[], &[]).state("memory_high"), State::NotKnown);
    assert_eq!(made(4 * GIB, &[], &[(Of::MemoryHigh, u64::MAX)]).state("memory_high"), State::Unused);
}

#[test]
fn zram_may_take_half_of_the_memory() {
    use host::Statistic::{SwapTotal, ZramCompressed, ZramMost, ZramOriginal, ZramSize, ZramUsed};
    let made = |size: u64, most: u64, swap: u64| {
        let mut made = Made::v2();
        let data = [(ZramOriginal, 3 * GIB), (ZramCompressed, GIB), (ZramUsed, GIB)];
        made.host(&[&[(SwapTotal, swap), (ZramSize, size), (ZramMost, most)], &data[..]].concat());
        made
    };
    let (objects, is) = made(64 * GIB, 64 * GIB, 64 * GIB).fails("zram_size");
    assert_eq!(objects, [Object::Host]);
    assert_eq!(
        is,
        "zram is without a limit (mem_limit) and 64.0 GiB large, and may take 100 % of 64.0 GiB of memory if data does not compress; its data is 3.0 times smaller now."
    );
    assert_eq!(made(64 * GIB, 32 * GIB, 64 * GIB).state("zram_size"), State::Holds, "it has a limit");
    assert_eq!(made(64 * GIB, 64 * GIB, 0).state("zram_size"), State::Unused, "it is no swap");
    assert_eq!(Made::v2().state("zram_size"), State::Unused);
}

#[test]
fn a_kubelet_must_leave_memory_to_the_host() {
    let made = |path: &str, limit: u64| {
        let mut made = Made::v2();
        made.cgroup(1, path, &[(Of::MemoryLimit, limit)]);
        made
    };
    let (objects, is) = made("/kubepods.slice", u64::MAX).fails("kubelet_reserved");
    assert_eq!(objects, workload("kubepods.slice"));
    assert_eq!(is, "kubepods.slice has no limit of memory: the kubelet enforces no Node Allocatable.");
    let all = made("/kubepods", 64 * GIB).fails("kubelet_reserved").1;
    assert_eq!(
        all,
        "The limit of /kubepods is 64.0 GiB, all of the host's memory: nothing is reserved for the system."
    );
    let leaves = made("/kubepods.slice", 60 * GIB).check("kubelet_reserved");
    assert_eq!(
        (leaves.state, &*leaves.is),
        (State::Holds, "Pods may take 60.0 GiB, which leaves 4.00 GiB to the host.")
    );
    assert_eq!(made("/system.slice", u64::MAX).state("kubelet_reserved"), State::Unused);
    let mut unread = made("/kubepods.slice", u64::MAX);
    unread.read(1, &[(Of::MemoryCurrent, u64::MAX)]);
    assert_eq!(unread.state("kubelet_reserved"), State::NotKnown);
}
