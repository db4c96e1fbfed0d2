//! kill: see `collector_common::kill`.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::LruHashMap;
use aya_ebpf::programs::RawTracePointContext;
use collector_common::kill::Sent;
use collector_common::oom::UNKNOWN;
use collector_common::ring::{Header, Kind, Ring, Task};

use crate::emit;
use crate::kernel::{self, Address, Css, TYPED, layout, read};
use crate::oom::{self, SIGKILL, SIGNAL_GROUP_EXIT, known};

const SIGTERM: u32 = 15;

/// `SEND_SIG_PRIV` of include/linux/sched/signal.h, in place of a `struct kernel_siginfo`: the kernel itself sends the signal.
const FROM_KERNEL: usize = 1;
/// `TRACE_SIGNAL_DELIVERED` of include/trace/events/signal.h. Others were ignored, lost or pending already.
const DELIVERED: u32 = 0;
/// `SI_TIMER` of include/uapi/asm-generic/siginfo.h: a timer expired, and the current task is any.
const SI_TIMER: i32 = -2;

/// A process that handles SIGTERM can be sent any number of them: at most one in this time is reported.
const ASKED_NS: u64 = 1_000_000_000;

/// When a process that handles SIGTERM was last reported, by its id.
#[map]
static ASKED: LruHashMap<u32, u64> = LruHashMap::with_max_entries(1024, 0);

/// Runs for every signal on the host: all but two must cost next to nothing.
#[raw_tracepoint(tracepoint = "signal_generate")]
pub fn kill_signal(ctx: RawTracePointContext) -> i32 {
    let signal: u32 = ctx.arg(0);
    if signal != SIGKILL && signal != SIGTERM {
        return 0;
    }
    let (info, task): (Address, Address) = (ctx.arg(1), ctx.arg(2));
    if info as usize == FROM_KERNEL {
        if signal == SIGKILL {
            oom::sigkill(task);
        }
        return 0;
    }
    let result: u32 = ctx.arg(4);
    // A small address is no siginfo, but a code as above. For that reason newer verifiers give it no type.
    let is_timer = !TYPED && info as usize > FROM_KERNEL && read::<i32>(info, layout!(siginfo_code)) == SI_TIMER;
    if result == DELIVERED && !is_timer { sent(signal, task) } else { 0 }
}

/// Signals within one cgroup are its own affair.
#[inline(always)]
fn sent(signal: u32, task: Address) -> i32 {
    let (sender, target) = (Css::current(), Css::of_task(task));
    if sender.serial == target.serial {
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let pid: u32 = read(task, layout!(task_tgid));
    let shared: Address = read(task, layout!(task_signal));
    let ends = read::<u32>(shared, layout!(signal_flags)) & SIGNAL_GROUP_EXIT != 0;
    let fatal = ends && read::<u32>(shared, layout!(signal_group_exit_code)) == signal;
    if !fatal && !is_due(pid, now) {
        return 0;
    }
    let memcg = kernel::memcg(target.address);
    let record = Sent {
        header: Header::new(Kind::SignalSent, now),
        cgroup: target.id(),
        sender_cgroup: sender.id(),
        usage: amount(memcg, layout!(mem_cgroup_usage)),
        limit: amount(memcg, layout!(mem_cgroup_limit)),
        target: Task { pid, tid: read(task, layout!(task_pid)), comm: read(task, layout!(task_comm)) },
        sender: kernel::current(),
        signal,
        fatal: fatal as u32,
    };
    emit::send(Ring::Bulk, record);
    0
}

/// A number of a `struct mem_cgroup`, of which for the verifier a controller's state is no part.
#[inline(always)]
fn amount(memcg: Address, offset: u32) -> u64 {
    if TYPED { UNKNOWN } else { known(memcg, offset) }
}

#[inline(always)]
fn is_due(pid: u32, now: u64) -> bool {
    // SAFETY: the value is a single word, which is read at once.
    let last = unsafe { ASKED.get(pid) }.copied().unwrap_or(0);
    let due = now.saturating_sub(last) >= ASKED_NS;
    if due {
        // The map evicts old entries.
        let _ = ASKED.insert(pid, now, 0);
    }
    due
}
