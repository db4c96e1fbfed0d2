//! pass: see `collector_common::pass`.

use core::ptr::addr_of;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::generated::bpf_map_lookup_percpu_elem;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use collector_common::pass::{has, head, word};

use crate::kernel::{Address, Memory, Typed, layout, memcg, read, setting};

/// See [`collector_common::pass::ROWS`]; the loader sets the size.
#[map]
pub static PASS: Array<[u64; word::COUNT]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static PASS_HEAD: Array<[u64; head::COUNT]> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Holds nothing: where its element is for each CPU says where any per-CPU number is.
#[map]
static PASS_CPU: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

type Row = [u64; word::COUNT];

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
    let memory: Address = read(cgroup, layout!(cgroup_memory));
    let cpu: Address = read(cgroup, layout!(cgroup_cpu));
    let account: Address = read(cgroup, layout!(cgroup_cpuacct));
    if memory.is_null() && cpu.is_null() && account.is_null() {
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
    *row = [0; word::COUNT];
    row[word::ID] = Typed::read(kn, layout!(kn_id));
    let is_v2 = setting!(memory_hierarchy) == 0;
    if is_v2 {
        v2(row, cgroup);
    } else if !account.is_null() {
        let usage = read(account.wrapping_sub(layout!(cpuacct_css) as usize), layout!(cpuacct_usage));
        row[word::HAS] |= has::TIME;
        row[word::TIME] = sum(usage);
    }
    if !cpu.is_null() {
        quota(row, cpu.wrapping_sub(layout!(task_group_css) as usize));
    }
    if !memory.is_null() {
        let memcg = memcg(memory);
        both(row, cgroup, memcg);
        match is_v2 {
            true => memory_v2(row, cgroup, memcg),
            false => memory_v1(row, memcg),
        }
    }
    0
}

/// CPU time as of the last flush (`cgroup_base_stat_flush` of kernel/cgroup/rstat.c), pressure as of the last update of its averages
/// (`update_averages` of kernel/sched/psi.c).
#[inline(always)]
fn v2(row: &mut Row, cgroup: Address) {
    row[word::HAS] |= has::TIME;
    row[word::TIME] = read(cgroup, layout!(cgroup_time));
    let psi: Address = read(cgroup, layout!(cgroup_psi));
    row[word::MEMORY_PRESSURE] = read(psi, layout!(psi_memory));
    row[word::CPU_PRESSURE] = read(psi, layout!(psi_cpu));
    row[word::IO_PRESSURE] = read(psi, layout!(psi_io));
}

#[inline(always)]
fn quota(row: &mut Row, group: Address) {
    row[word::HAS] |= has::QUOTA;
    row[word::PERIODS] = read::<u32>(group, layout!(task_group_periods)) as u64;
    row[word::THROTTLED_PERIODS] = read::<u32>(group, layout!(task_group_throttled_periods)) as u64;
    row[word::THROTTLED] = read(group, layout!(task_group_throttled));
}

#[inline(always)]
fn both(row: &mut Row, cgroup: Address, memcg: Address) {
    row[word::HAS] |= has::MEMORY;
    row[word::USAGE] = read(memcg, layout!(mem_cgroup_usage));
    row[word::LIMIT] = read(memcg, layout!(mem_cgroup_limit));
    row[word::PEAK] = read(memcg, layout!(mem_cgroup_peak));
    row[word::SWAP_LIMIT] = read(memcg, layout!(mem_cgroup_swap_limit));
    row[word::KILLS] = read(memcg, layout!(mem_cgroup_oom_kill_events));
    let tasks: u32 = read(cgroup, layout!(cgroup_populated_csets));
    row[word::POPULATED] = tasks as u64;
}

#[inline(always)]
fn memory_v2(row: &mut Row, cgroup: Address, memcg: Address) {
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
fn memory_v1(row: &mut Row, memcg: Address) {
    row[word::KERNEL] = read(memcg, layout!(mem_cgroup_kernel));
    row[word::FAILURES] = read(memcg, layout!(mem_cgroup_failures));
    let under_oom: u32 = read(memcg, layout!(mem_cgroup_under_oom));
    row[word::UNDER_OOM] = (under_oom != 0) as u64;
    let swappiness: u32 = read(memcg, layout!(mem_cgroup_swappiness));
    row[word::SWAPPINESS] = swappiness as u64;
}

/// The sum of a per-CPU number. A CPU's copy is as far from the per-CPU pointer as the element of our own array is from its pointer:
/// `__per_cpu_offset`, which needs no symbol so.
#[inline(always)]
fn sum(pointer: Address) -> u64 {
    let map = addr_of!(PASS_CPU);
    let own: u64 = read(number(map.cast()) as Address, layout!(array_pptrs));
    let (first, mut sum) = (0u32, 0u64);
    for cpu in 0..setting!(cpus) {
        // SAFETY: a map and a key of its type.
        let element = unsafe { bpf_map_lookup_percpu_elem(map.cast_mut().cast(), addr_of!(first).cast(), cpu) };
        let offset = number(element.cast_const().cast()).wrapping_sub(own);
        sum = sum.wrapping_add(read(pointer.wrapping_add(offset as usize), 0));
    }
    sum
}

/// A pointer as a number: verifiers limit arithmetic with pointers that they know.
#[inline(always)]
fn number(pointer: Address) -> u64 {
    read(addr_of!(pointer).cast(), 0)
}
