//! pass: see `collector_common::pass`.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::Array;
use collector_common::pass::{head, word};

use crate::kernel::{Address, Memory, Typed, layout, memcg, read, setting};

/// See [`collector_common::pass::ROWS`]; the loader sets the size.
#[map]
pub static PASS: Array<[u64; word::COUNT]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static PASS_HEAD: Array<[u64; head::COUNT]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// `struct bpf_iter__cgroup`: the program's own interface, which does not change.
#[repr(C)]
pub struct Visit {
    meta: Address,
    cgroup: Address,
}

/// Runs for each cgroup, the first one at the top, and once more at the end, without one. The kernel holds `cgroup_mutex`.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/cgroup")]
pub extern "C" fn cgroup_pass(visit: *const Visit) -> i32 {
    // SAFETY: the kernel passes it.
    let (meta, cgroup) = unsafe { ((*visit).meta, (*visit).cgroup) };
    let pass: u64 = Typed::read(meta, layout!(iter_session));
    let Some(head) = PASS_HEAD.get_ptr_mut(0) else { return 0 };
    // SAFETY: from a successful lookup, and only one pass runs at a time.
    let head = unsafe { &mut *head };
    if head[head::BEGUN] != pass {
        *head = [head[head::PASS], pass, 0];
    }
    if cgroup.is_null() {
        head[head::PASS] = pass;
        return 0;
    }
    // With the helper, because verifiers believe that a pointer of a known type is never null.
    let css: Address = read(cgroup, layout!(cgroup_memory));
    if css.is_null() {
        return 0;
    }
    // Not the kernel's own number of the visit, which counts removed cgroups whose memory is still charged.
    let number = head[head::ROWS];
    head[head::ROWS] = number + 1;
    // 1 ends the walk (`__cgroup_iter_seq_show` of kernel/bpf/cgroup_iter.c): cgroups without a row are read from their files.
    let Some(row) = PASS.get_ptr_mut(number as u32) else { return 1 };
    let kn: Address = Typed::read(cgroup, layout!(cgroup_kn));
    // SAFETY: from a successful lookup, and only one pass runs at a time.
    let row = unsafe { &mut *row };
    row[word::ID] = Typed::read(kn, layout!(kn_id));
    let memcg = memcg(css);
    row[word::USAGE] = read(memcg, layout!(mem_cgroup_usage));
    row[word::LIMIT] = read(memcg, layout!(mem_cgroup_limit));
    row[word::PEAK] = read(memcg, layout!(mem_cgroup_peak));
    row[word::SWAP_LIMIT] = read(memcg, layout!(mem_cgroup_swap_limit));
    row[word::KILLS] = read(memcg, layout!(mem_cgroup_oom_kill_events));
    let tasks: u32 = read(cgroup, layout!(cgroup_populated_csets));
    row[word::POPULATED] = tasks as u64;
    match setting!(memory_hierarchy) {
        0 => v2(row, cgroup, memcg),
        _ => v1(row, memcg),
    }
    0
}

#[inline(always)]
fn v2(row: &mut [u64; word::COUNT], cgroup: Address, memcg: Address) {
    row[word::HIGH] = read(memcg, layout!(mem_cgroup_high));
    row[word::LOW] = read(memcg, layout!(mem_cgroup_low));
    row[word::MIN] = read(memcg, layout!(mem_cgroup_min));
    row[word::SWAP] = read(memcg, layout!(mem_cgroup_swap));
    row[word::LOW_EVENTS] = read(memcg, layout!(mem_cgroup_low_events));
    row[word::HIGH_EVENTS] = read(memcg, layout!(mem_cgroup_high_events));
    row[word::MAX_EVENTS] = read(memcg, layout!(mem_cgroup_max_events));
    row[word::OOM_EVENTS] = read(memcg, layout!(mem_cgroup_oom_events));
    row[word::GROUP_KILLS] = read(memcg, layout!(mem_cgroup_oom_group_kill_events));
    let domain: u32 = read(cgroup, layout!(cgroup_populated_domain));
    let threaded: u32 = read(cgroup, layout!(cgroup_populated_threaded));
    row[word::POPULATED] += domain as u64 + threaded as u64;
}

#[inline(always)]
fn v1(row: &mut [u64; word::COUNT], memcg: Address) {
    row[word::KERNEL] = read(memcg, layout!(mem_cgroup_kernel));
    row[word::FAILURES] = read(memcg, layout!(mem_cgroup_failures));
    let under_oom: u32 = read(memcg, layout!(mem_cgroup_under_oom));
    row[word::UNDER_OOM] = (under_oom != 0) as u64;
    let swappiness: u32 = read(memcg, layout!(mem_cgroup_swappiness));
    row[word::SWAPPINESS] = swappiness as u64;
}
