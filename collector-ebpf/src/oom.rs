//! oom: see `collector_common::oom`.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{fentry, kprobe, raw_tracepoint};
use aya_ebpf::programs::{FEntryContext, ProbeContext, RawTracePointContext};
use aya_log_ebpf::debug;
use collector_common::cgroup::Id;
use collector_common::lost::Stage;
use collector_common::oom::{Scope, UNKNOWN, Victim};
use collector_common::ring::{Header, Kind, Ring};

use crate::emit;
use crate::kernel::{self, Address, Css, layout, read};
use crate::map::{Cause, LAST_RECLAIM, OOM_CAUSE, PENDING, VICTIM};

/// Older causes belong to another event: the kill follows as soon as the kernel has printed its report, which can be slow on
/// a serial console.
const FRESH_NS: u64 = 30_000_000_000;

/// `oom:mark_victim` runs in the context of the killer; the victim is the argument. It runs under the kernel's `oom_lock`,
/// so this CPU's record is never written twice at once.
#[raw_tracepoint(tracepoint = "mark_victim")]
#[allow(clippy::needless_borrows_for_generic_args, reason = "by value it would be copied to the stack")]
pub fn oom_mark_victim(ctx: RawTracePointContext) -> i32 {
    let Some(record) = VICTIM.get_ptr_mut(0) else { return 0 };
    // SAFETY: from a successful lookup, and not shared, see above.
    let record = unsafe { &mut *record };
    mark(record);
    if layout!(victim_is_pid) != 1 {
        return send(&ctx, ctx.arg(0), record);
    }
    let tid: u32 = ctx.arg(0);
    if tid == record.trigger.tid {
        return send(&ctx, kernel::current_task(), record);
    }
    if PENDING.insert(tid, &*record, 0).is_err() {
        emit::lost(Stage::Victim);
    }
    0
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
    let cause = if memcg.is_null() {
        Cause { ns, scope: Scope::Host as u64, limited: Id::default() }
    } else {
        Cause { ns, scope: Scope::Memcg as u64, limited: Css::of_memcg(memcg).id() }
    };
    // The map evicts old entries, like `LAST_RECLAIM`.
    let _ = OOM_CAUSE.insert(kernel::current_tid(), cause, 0);
    0
}

/// From the OOM killer itself if it was seen, otherwise from the reclaim that failed.
#[inline(always)]
fn cause(tid: u32, now: u64) -> Cause {
    let fresh = |cause: &&Cause| now.saturating_sub(cause.ns) < FRESH_NS;
    // SAFETY: written by this thread alone.
    let noted = unsafe { OOM_CAUSE.get(tid) }.filter(fresh).copied();
    // SAFETY: as above.
    let cause = noted.or_else(|| unsafe { LAST_RECLAIM.get(tid) }.filter(fresh).copied());
    cause.unwrap_or(Cause { ns: 0, scope: Scope::Unknown as u64, limited: Id::default() })
}

/// Fills in everything except the victim.
#[inline(always)]
fn mark(record: &mut Victim) {
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let cause = cause(kernel::current_tid(), now);
    record.header = Header::new(Kind::OomKill, now);
    record.trigger = kernel::current();
    record.trigger_cgroup = Css::current().id();
    record.limited = cause.limited;
    record.scope = cause.scope as u32;
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

/// A count of an `mm`. It is kept per CPU and summed now and then, so it can be slightly negative.
#[inline(always)]
fn pages(mm: Address, offset: u32) -> u64 {
    read::<i64>(mm, offset).max(0) as u64
}
