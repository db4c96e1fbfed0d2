//! oom: see `collector_common::oom`.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{fentry, kprobe, map, raw_tracepoint};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::{FEntryContext, ProbeContext, RawTracePointContext};
use aya_log_ebpf::debug;
use collector_common::cgroup::Id;
use collector_common::layout::ABSENT;
use collector_common::lost::Stage;
use collector_common::oom::{Constraint, NO_ORDER, Scope, UNKNOWN, Victim};
use collector_common::ring::{Header, Kind, Ring, Task};

use crate::emit;
use crate::kernel::{self, Address, Css, TYPED, layout, read};
use crate::map::{Cause, LAST_RECLAIM, Limits, OOM_CAUSE, PENDING, VICTIM};

/// The task to which a thread, as the kernel, last sent SIGKILL. The OOM killer does so just before it marks whom it kills
/// (__oom_kill_process), and not if it only marks a task that is dying already (out_of_memory, oom_kill_process).
#[map]
static SIGKILLED: LruHashMap<u32, u64> = LruHashMap::with_max_entries(256, 0);

/// Older causes belong to another event: the kill follows as soon as the kernel has printed its report, which can be slow on
/// a serial console.
const FRESH_NS: u64 = 30_000_000_000;

/// `SIGNAL_GROUP_EXIT` of include/linux/sched/signal.h: the whole process ends, with `group_exit_code`. BTF has no macros; the
/// value has not changed since 2.6.27.
pub const SIGNAL_GROUP_EXIT: u32 = 4;

/// How a process ends that is sent SIGKILL, unless it says otherwise.
pub const SIGKILL: u32 = 9;

/// How many levels of cgroups are searched for the one at its limit.
const LEVELS: usize = 16;

/// `oom:mark_victim` runs in the context of the killer; the victim is the argument. It runs under the kernel's `oom_lock`,
/// so this CPU's record is never written twice at once.
#[raw_tracepoint(tracepoint = "mark_victim")]
#[allow(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied to the stack")]
pub fn oom_mark_victim(ctx: RawTracePointContext) -> i32 {
    let Some(record) = VICTIM.get_ptr_mut(0) else { return 0 };
    // SAFETY: from a successful lookup, and not shared, see above.
    let record = unsafe { &mut *record };
    let current = kernel::current_tid();
    // SAFETY: written by this thread alone.
    let sent = unsafe { SIGKILLED.get(current) }.map_or(core::ptr::null(), |task| *task as Address);
    let _ = SIGKILLED.remove(current);
    if layout!(victim_is_pid) != 1 {
        let task: Address = ctx.arg(0);
        mark(record, Css::of_task(task), task == sent);
        return send(&ctx, task, record);
    }
    let tid: u32 = ctx.arg(0);
    let killed = !sent.is_null() && read::<u32>(sent, layout!(task_pid)) == tid;
    if killed || tid == current {
        let task = if killed { sent } else { kernel::current_task() };
        mark(record, Css::of_task(task), killed);
        return send(&ctx, task, record);
    }
    mark(record, Css::current(), false);
    forget(record, tid);
    if PENDING.insert(tid, &*record, 0).is_err() {
        emit::lost(Stage::Victim);
    }
    0
}

/// The kernel itself sends SIGKILL to a task, in the context of the current thread.
#[inline(always)]
pub fn sigkill(task: Address) {
    // The map evicts old entries, like `LAST_RECLAIM`.
    let _ = SIGKILLED.insert(kernel::current_tid(), task as u64, 0);
}

/// Attached only where `mark_victim` passes a pid: the rest is read when that thread exits.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn oom_process_exit(ctx: RawTracePointContext) -> i32 {
    let task: Address = ctx.arg(0);
    let tid: u32 = read(task, layout!(task_pid));
    let Some(record) = PENDING.get_ptr_mut(tid) else { return 0 };
    // SAFETY: from a successful lookup; a thread exits once, and nobody else touches its entry.
    send(&ctx, task, unsafe { &mut *record });
    let _ = PENDING.remove(tid);
    0
}

#[fentry(function = "oom_kill_process")]
pub fn oom_kill_process(ctx: FEntryContext) -> i32 {
    note(ctx.arg(0))
}

#[kprobe(function = "oom_kill_process")]
pub fn oom_kill_process_kprobe(ctx: ProbeContext) -> i32 {
    ctx.arg(0).map_or(0, note)
}

/// Stores which cgroup's limit the `struct oom_control` names; null means that the host is out of memory.
#[inline(always)]
fn note(control: Address) -> i32 {
    let memcg: Address = read(control, layout!(oom_control_memcg));
    // SAFETY: the helper has no preconditions.
    let ns = unsafe { bpf_ktime_get_ns() };
    let (scope, limited) = match memcg.is_null() {
        true => (Scope::Host, Id::default()),
        false => (Scope::Memcg, Css::of_memcg(memcg).id()),
    };
    let order = layout!(oom_control_order);
    let order = if order == ABSENT { NO_ORDER } else { read(control, order) };
    let constraint = constraint(control) as u32;
    let limits = Limits::of(memcg);
    let cause = Cause { ns, scope: scope as u64, limited, memcg: memcg as u64, constraint, order, limits };
    // The map evicts old entries, like `LAST_RECLAIM`.
    let _ = OOM_CAUSE.insert(kernel::current_tid(), cause, 0);
    0
}

#[inline(always)]
fn constraint(control: Address) -> Constraint {
    let offset = layout!(oom_control_constraint);
    let constraint: u32 = read(control, offset);
    match () {
        () if offset == ABSENT => Constraint::Unknown,
        () if constraint == layout!(constraint_memcg) => Constraint::Memcg,
        () if constraint == layout!(constraint_cpuset) => Constraint::Cpuset,
        () if constraint == layout!(constraint_memory_policy) => Constraint::MemoryPolicy,
        () => Constraint::None,
    }
}

/// The memory cgroup at its limit, above a victim's: where cgroup v1 is built in, the kernel locks that cgroup and all below it
/// while it looks for a victim (mem_cgroup_oom_trylock). Zero if there is none, as if the host is out of memory, or if another
/// thread of the same cgroups holds the lock.
#[inline(never)]
fn locked(victim: Address) -> Address {
    let (mut at, mut top) = (victim, core::ptr::null());
    for _ in 0..LEVELS {
        let memcg = kernel::memcg(at);
        if read::<u8>(memcg, layout!(mem_cgroup_oom_lock)) != 0 {
            top = memcg;
        }
        at = read(at, layout!(css_parent));
    }
    top
}

/// 1 if a cgroup at or above a victim's is killed as a whole (`memory.oom.group`).
#[cfg(not(feature = "typed"))]
#[inline(never)]
fn in_group(victim: Address) -> u32 {
    let (mut at, mut group) = (victim, 0u8);
    for _ in 0..LEVELS {
        group |= read::<u8>(kernel::memcg(at), layout!(mem_cgroup_oom_group));
        at = read(at, layout!(css_parent));
    }
    (group != 0) as u32
}

/// From the OOM killer itself if it was seen, otherwise from the lock that it holds, or from the reclaim that failed.
#[inline(always)]
fn cause(tid: u32, now: u64, victim: Css) -> Cause {
    let fresh = |cause: &&Cause| now.saturating_sub(cause.ns) < FRESH_NS;
    // SAFETY: written by this thread alone.
    if let Some(noted) = unsafe { OOM_CAUSE.get(tid) }.filter(fresh) {
        return *noted;
    }
    // SAFETY: as above.
    let reclaimed = unsafe { LAST_RECLAIM.get(tid) }.filter(fresh).copied();
    let of_host = reclaimed.is_some_and(|cause| cause.scope == Scope::Host as u64);
    // While the host is out of memory, another thread may hold the lock of a cgroup.
    if !TYPED && layout!(mem_cgroup_oom_lock) != ABSENT && !of_host {
        let memcg = locked(victim.address);
        if !memcg.is_null() {
            return Cause {
                ns: now,
                scope: Scope::Memcg as u64,
                limited: Css::of_memcg(memcg).id(),
                memcg: memcg as u64,
                constraint: Constraint::Memcg as u32,
                order: NO_ORDER,
                limits: Limits::NONE,
            };
        }
    }
    reclaimed.unwrap_or(Cause {
        ns: 0,
        scope: Scope::Unknown as u64,
        limited: Id::default(),
        memcg: 0,
        constraint: Constraint::Unknown as u32,
        order: NO_ORDER,
        limits: Limits::NONE,
    })
}

/// Fills in everything except the victim. `victim` is in its cgroup, or in one close to it.
#[inline(always)]
fn mark(record: &mut Victim, victim: Css, killed: bool) {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let cause = cause(kernel::current_tid(), now, victim);
    record.header = Header::new(Kind::OomKill, now);
    record.trigger = kernel::current();
    record.trigger_cgroup = Css::current().id();
    record.limited = cause.limited;
    record.scope = cause.scope as u32;
    record.constraint = cause.constraint;
    record.order = cause.order;
    record.killed = killed as u32;
    record.group = if killed { group(victim.address, &cause.limits) } else { 0 };
    limits(record, &cause);
}

/// Fills in the limits of the cgroup, if it is still the one that was noted.
#[cfg(not(feature = "typed"))]
#[inline(always)]
fn limits(record: &mut Victim, cause: &Cause) {
    let memcg = cause.memcg as Address;
    (record.limit, record.swap_limit) = (UNKNOWN, UNKNOWN);
    if memcg.is_null() || Css::of_memcg(memcg).id().id != record.limited.id {
        return;
    }
    record.limit = known(memcg, layout!(mem_cgroup_limit));
    record.swap_limit = known(memcg, layout!(mem_cgroup_swap_limit));
}

/// An address from a map has no type, so the limits were read when the cgroup was noted.
#[cfg(feature = "typed")]
#[inline(always)]
fn limits(record: &mut Victim, cause: &Cause) {
    (record.limit, record.swap_limit) = (cause.limits.memory, cause.limits.swap);
}

#[cfg(not(feature = "typed"))]
#[inline(always)]
fn group(victim: Address, _: &Limits) -> u32 {
    in_group(victim)
}

/// From the victim's own state no type leads to its `struct mem_cgroup`: only the cgroup whose limit was hit is known.
#[cfg(feature = "typed")]
#[inline(always)]
fn group(_: Address, limits: &Limits) -> u32 {
    limits.group as u32
}

#[inline(always)]
pub fn known(base: Address, offset: u32) -> u64 {
    if offset == ABSENT { UNKNOWN } else { read(base, offset) }
}

/// Leaves of the victim only its thread id: the buffer still holds an earlier one.
#[inline(always)]
fn forget(record: &mut Victim, tid: u32) {
    record.cgroup = Id::default();
    record.victim = Task { pid: 0, tid, comm: [0; 16] };
    (record.uid, record.score_adj, record.status) = (0, 0, SIGKILL);
    (record.anon, record.file, record.shmem, record.swap, record.peak) = (UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN);
}

/// Fills in the victim and sends the record. An exiting task no longer has an `mm`: its counts stay unknown.
#[inline(always)]
fn send(ctx: &impl EbpfContext, task: Address, record: &mut Victim) -> i32 {
    record.cgroup = Css::of_task(task).id();
    record.victim.pid = read(task, layout!(task_tgid));
    record.victim.tid = read(task, layout!(task_pid));
    record.victim.comm = read(task, layout!(task_comm));
    record.uid = read(read(task, layout!(task_cred)), layout!(cred_uid));
    let signal: Address = read(task, layout!(task_signal));
    record.score_adj = read::<i16>(signal, layout!(signal_oom_score_adj)) as i32;
    record.status = status(task, signal);
    let mm: Address = read(task, layout!(task_mm));
    if mm.is_null() {
        record.anon = UNKNOWN;
        record.file = UNKNOWN;
        record.shmem = UNKNOWN;
        record.swap = UNKNOWN;
        record.peak = read(signal, layout!(signal_maxrss));
    } else {
        record.anon = pages(mm, layout!(mm_rss_anon));
        record.file = pages(mm, layout!(mm_rss_file));
        record.shmem = pages(mm, layout!(mm_rss_shmem));
        record.swap = pages(mm, layout!(mm_rss_swap));
        // The high-water mark is updated only now and then: the larger of the two is the peak, as in the kernel
        // (get_mm_hiwater_rss).
        let resident = record.anon + record.file + record.shmem;
        record.peak = resident.max(read(mm, layout!(mm_hiwater_rss)));
    }
    debug!(ctx, "oom: victim {}, trigger {}", record.victim.pid, record.trigger.pid);
    // SAFETY: the record consists of numbers, without padding.
    emit::send_bytes(Ring::Critical, unsafe {
        core::slice::from_raw_parts(core::ptr::from_ref(record).cast::<u8>(), size_of::<Victim>())
    });
    0
}

/// How the process ends: by what was decided for all of its threads, or by what its only thread passed to exit(2).
#[inline(always)]
fn status(task: Address, signal: Address) -> u32 {
    match read::<u32>(signal, layout!(signal_flags)) & SIGNAL_GROUP_EXIT {
        0 => read(task, layout!(task_exit_code)),
        _ => read(signal, layout!(signal_group_exit_code)),
    }
}

/// A count of an `mm`. It is kept per CPU and summed now and then, so it can be slightly negative.
#[inline(always)]
fn pages(mm: Address, offset: u32) -> u64 {
    read::<i64>(mm, offset).max(0) as u64
}

#[cfg(feature = "typed")]
impl Limits {
    pub const NONE: Limits = Limits { memory: UNKNOWN, swap: UNKNOWN, group: 0 };

    /// Of a `struct mem_cgroup`; nothing is known of none.
    #[inline(always)]
    fn of(memcg: Address) -> Limits {
        if memcg.is_null() {
            return Limits::NONE;
        }
        Limits {
            memory: known(memcg, layout!(mem_cgroup_limit)),
            swap: known(memcg, layout!(mem_cgroup_swap_limit)),
            group: read::<u8>(memcg, layout!(mem_cgroup_oom_group)) as u64,
        }
    }
}

#[cfg(not(feature = "typed"))]
impl Limits {
    pub const NONE: Limits = Limits;

    #[inline(always)]
    fn of(_: Address) -> Limits {
        Limits
    }
}
