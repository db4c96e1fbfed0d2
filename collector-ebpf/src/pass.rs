//! pass: see `collector_common::pass`.

use core::ptr::{addr_of, addr_of_mut};

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::helpers::generated::{bpf_map_lookup_percpu_elem, bpf_probe_read_kernel};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray};
use collector_common::pass::{has, head, word};

use crate::kernel::{Address, Memory, TYPED, Typed, layout, memcg, read, setting};

/// See [`collector_common::pass::ROWS`]; the loader sets the size.
#[map]
pub static PASS: Array<[u64; word::COUNT]> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static PASS_HEAD: Array<Head> = Array::with_max_entries(1, BPF_F_MMAPABLE);

/// Holds nothing: where its element is for each CPU says where any per-CPU number is.
#[map]
static PASS_CPU: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

type Row = [u64; word::COUNT];
type Head = [u64; head::COUNT];

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
        (head[head::BEGUN], head[head::ROWS]) = (pass, 0);
        place_cpus(head);
    }
    if cgroup.is_null() {
        head[head::PASS] = pass;
        return 0;
    }
    // With the helper, because verifiers believe that a pointer of a known type is never null.
    let controllers = Block::<8>::read(cgroup, layout!(cgroup_cpu), head);
    let [cpu, account, memory] =
        [layout!(cgroup_cpu), layout!(cgroup_cpuacct), layout!(cgroup_memory)].map(|at| controllers.get(at) as Address);
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
        v2(row, cgroup, head);
    } else if !account.is_null() {
        row[word::HAS] |= has::TIME;
        row[word::TIME] = sum(read(account.wrapping_sub(layout!(cpuacct_css) as usize), layout!(cpuacct_usage)), head);
    }
    if !cpu.is_null() {
        quota(row, cpu.wrapping_sub(layout!(task_group_css) as usize));
    }
    if !memory.is_null() {
        let memcg = memcg(memory);
        both(row, cgroup, memcg, head);
        match is_v2 {
            true => memory_v2(row, cgroup, memcg, head),
            false => memory_v1(row, memcg),
        }
    }
    0
}

/// CPU time as of the last flush (`cgroup_base_stat_flush` of kernel/cgroup/rstat.c), pressure as of the last update of its averages
/// (`update_averages` of kernel/sched/psi.c).
#[inline(always)]
fn v2(row: &mut Row, cgroup: Address, head: *mut Head) {
    row[word::HAS] |= has::TIME;
    row[word::TIME] = read(cgroup, layout!(cgroup_time));
    let totals = Block::<8>::read(read(cgroup, layout!(cgroup_psi)), layout!(psi_io), head);
    row[word::MEMORY_PRESSURE] = totals.get(layout!(psi_memory));
    row[word::CPU_PRESSURE] = totals.get(layout!(psi_cpu));
    row[word::IO_PRESSURE] = totals.get(layout!(psi_io));
}

#[inline(always)]
fn quota(row: &mut Row, group: Address) {
    row[word::HAS] |= has::QUOTA;
    row[word::PERIODS] = read::<u32>(group, layout!(task_group_periods)) as u64;
    row[word::THROTTLED_PERIODS] = read::<u32>(group, layout!(task_group_throttled_periods)) as u64;
    row[word::THROTTLED] = read(group, layout!(task_group_throttled));
}

#[inline(always)]
fn both(row: &mut Row, cgroup: Address, memcg: Address, head: *mut Head) {
    row[word::HAS] |= has::MEMORY;
    let memory = Block::<{ head::WORDS }>::read(memcg, layout!(mem_cgroup_usage), head);
    row[word::USAGE] = memory.get(layout!(mem_cgroup_usage));
    row[word::LIMIT] = memory.get(layout!(mem_cgroup_limit));
    row[word::PEAK] = memory.get(layout!(mem_cgroup_peak));
    if setting!(memory_hierarchy) == 0 {
        row[word::HIGH] = memory.get(layout!(mem_cgroup_high));
        row[word::LOW] = memory.get(layout!(mem_cgroup_low));
        row[word::MIN] = memory.get(layout!(mem_cgroup_min));
    } else {
        row[word::FAILURES] = memory.get(layout!(mem_cgroup_failures));
    }
    row[word::SWAP] = memory.get(layout!(mem_cgroup_swap));
    row[word::SWAP_LIMIT] = memory.get(layout!(mem_cgroup_swap_limit));
    let tasks: u32 = read(cgroup, layout!(cgroup_populated_csets));
    row[word::POPULATED] = tasks as u64;
}

#[inline(always)]
fn memory_v2(row: &mut Row, cgroup: Address, memcg: Address, head: *mut Head) {
    let events = Block::<8>::read(memcg, layout!(mem_cgroup_low_events), head);
    row[word::LOW_EVENTS] = events.get(layout!(mem_cgroup_low_events));
    row[word::HIGH_EVENTS] = events.get(layout!(mem_cgroup_high_events));
    row[word::MAX_EVENTS] = events.get(layout!(mem_cgroup_max_events));
    row[word::OOM_EVENTS] = events.get(layout!(mem_cgroup_oom_events));
    row[word::KILLS] = events.get(layout!(mem_cgroup_oom_kill_events));
    row[word::GROUP_KILLS] = events.get(layout!(mem_cgroup_oom_group_kill_events));
    let domain: u32 = read(cgroup, layout!(cgroup_populated_domain));
    let threaded: u32 = read(cgroup, layout!(cgroup_populated_threaded));
    row[word::POPULATED] += domain as u64 + threaded as u64;
}

#[inline(always)]
fn memory_v1(row: &mut Row, memcg: Address) {
    row[word::KILLS] = read(memcg, layout!(mem_cgroup_oom_kill_events));
    row[word::KERNEL] = read(memcg, layout!(mem_cgroup_kernel));
    let under_oom: u32 = read(memcg, layout!(mem_cgroup_under_oom));
    row[word::UNDER_OOM] = (under_oom != 0) as u64;
    let swappiness: u32 = read(memcg, layout!(mem_cgroup_swappiness));
    row[word::SWAPPINESS] = swappiness as u64;
}

/// Words of the kernel's memory that are read at once: a call costs more than a word. There is one at a time.
struct Block<const N: usize> {
    base: Address,
    first: u32,
    words: *const [u64; N],
}

impl<const N: usize> Block<N> {
    /// The words from `base + first` on.
    #[inline(always)]
    fn read(base: Address, first: u32, head: *mut Head) -> Block<N> {
        // SAFETY: within the row.
        let words = unsafe { addr_of_mut!((*head)[head::BLOCK]) };
        if !TYPED {
            let from = base.wrapping_add(first as usize);
            // SAFETY: the helper writes as many bytes as are there, zeroes if it cannot read.
            unsafe { bpf_probe_read_kernel(words.cast(), 8 * N as u32, from.cast()) };
        }
        Block { base, first, words: words.cast_const().cast() }
    }

    /// The word at `base + offset`, of which the verifier knows whether it is among these.
    #[inline(always)]
    fn get(&self, offset: u32) -> u64 {
        let at = offset.wrapping_sub(self.first) as usize;
        match at.is_multiple_of(8) && at < 8 * N {
            // SAFETY: within the words.
            true => unsafe { self.words.cast::<u64>().add(at / 8).read() },
            false => read(self.base, offset),
        }
    }
}

/// How far each CPU's memory is from a per-CPU pointer (`__per_cpu_offset`), without its symbol: as far as the element of our own
/// array is from the array's pointer. Only cgroups of v1 have per-CPU numbers here.
#[inline(always)]
fn place_cpus(head: &mut Head) {
    let map = addr_of!(PASS_CPU);
    let own: u64 = read(number(map.cast()) as Address, layout!(array_pptrs));
    let first = 0u32;
    for cpu in 0..setting!(cpus).min(head::CPUS as u32) {
        // SAFETY: a map and a key of its type.
        let element = unsafe { bpf_map_lookup_percpu_elem(map.cast_mut().cast(), addr_of!(first).cast(), cpu) };
        head[head::CPU + cpu as usize] = number(element.cast_const().cast()).wrapping_sub(own);
    }
}

/// The sum of a per-CPU number.
#[inline(always)]
fn sum(pointer: Address, head: &Head) -> u64 {
    let mut sum = 0u64;
    for cpu in 0..setting!(cpus).min(head::CPUS as u32) {
        sum = sum.wrapping_add(read(pointer.wrapping_add(head[head::CPU + cpu as usize] as usize), 0));
    }
    sum
}

/// A pointer as a number: verifiers limit arithmetic with pointers that they know.
#[inline(always)]
fn number(pointer: Address) -> u64 {
    read(addr_of!(pointer).cast(), 0)
}
