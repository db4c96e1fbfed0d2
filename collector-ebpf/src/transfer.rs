//! transfer: see `collector_common::transfer`.
//!
//! Functions of the driver can call each other. The stack pointer at entry identifies the outermost call; calls further down
//! the stack are part of it and not counted.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_ktime_get_ns, bpf_probe_read_user};
use aya_ebpf::macros::{uprobe, uretprobe};
use aya_ebpf::programs::{ProbeContext, RetProbeContext};
use collector_common::lost::Stage;
use collector_common::notice;
use collector_common::ring::{Header, Kind, Ring};
use collector_common::share::word as entry;
use collector_common::slot::Section;
use collector_common::transfer::{Allocation, Call, DIRECTIONS, Direction, MEMORIES, Memory, Process, Refusal, word};

use crate::kernel::{self, Css};
use crate::map::{NOTICE, TRANSFER_ALLOCATIONS, TRANSFER_CALLS, TRANSFER_PROCESSES, TRANSFER_TIME};
use crate::slot::{self, Controller};
use crate::{counter, emit, share};

const TRANSFER: Section<{ word::COUNT }> = Section::of("TRANSFER");

/// No direction: both addresses are in GPU memory.
const NONE: u32 = DIRECTIONS as u32;
/// Most copies of a batch that are read.
const BATCH: u64 = 4096;

#[uprobe]
pub fn transfer_to_device(ctx: ProbeContext) -> u32 {
    begin(&ctx, 1, argument(&ctx, 2), Direction::HostToDevice as u32, 0)
}

#[uprobe]
pub fn transfer_to_host(ctx: ProbeContext) -> u32 {
    begin(&ctx, 1, argument(&ctx, 2), Direction::DeviceToHost as u32, 0)
}

#[uprobe]
pub fn transfer_copy(ctx: ProbeContext) -> u32 {
    begin(&ctx, 1, argument(&ctx, 2), direction(argument(&ctx, 0), argument(&ctx, 1)), 0)
}

/// The direction of the first copy is taken for the whole batch.
#[uprobe]
pub fn transfer_batch(ctx: ProbeContext) -> u32 {
    let (sizes, count) = (argument(&ctx, 2), argument(&ctx, 3));
    // SAFETY: the helper checks the addresses that it reads.
    let ends = unsafe {
        (bpf_probe_read_user(argument(&ctx, 0) as *const u64), bpf_probe_read_user(argument(&ctx, 1) as *const u64))
    };
    let direction = match ends {
        (Ok(to), Ok(from)) => direction(to, from),
        _ => Direction::Unknown as u32,
    };
    let (mut bytes, mut copies) = (0u64, 0);
    while copies < BATCH {
        if copies >= count {
            break;
        }
        // SAFETY: as above.
        let Ok(size) = (unsafe { bpf_probe_read_user((sizes as *const u64).wrapping_add(copies as usize)) }) else {
            break;
        };
        bytes = bytes.wrapping_add(size);
        copies += 1;
    }
    if copies < count {
        emit::lost(Stage::Transfer);
    }
    begin(&ctx, copies, bytes, direction, 0)
}

#[uretprobe]
pub fn transfer_copy_end(ctx: RetProbeContext) -> u32 {
    let Some(call) = end(&ctx) else { return 0 };
    // The mask shows the verifier the bound of the comparison below.
    let direction = call.kind & 3;
    if ctx.ret::<u32>() != 0 || direction >= NONE {
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let ns = unsafe { bpf_ktime_get_ns() }.saturating_sub(call.ns);
    slot::count(TRANSFER, |row| {
        counter::add(row, word::CALLS + direction as usize, call.address);
        counter::add(row, word::BYTES + direction as usize, call.bytes);
    });
    counter::observe_at(&TRANSFER_TIME, direction, ns);
    0
}

#[uprobe]
pub fn transfer_pin(ctx: ProbeContext) -> u32 {
    begin(&ctx, argument(&ctx, 0), argument(&ctx, 1), Memory::Pinned as u32, 1)
}

#[uprobe]
pub fn transfer_register(ctx: ProbeContext) -> u32 {
    begin(&ctx, argument(&ctx, 0), argument(&ctx, 1), Memory::Pinned as u32, 0)
}

#[uprobe]
pub fn transfer_allocate(ctx: ProbeContext) -> u32 {
    begin(&ctx, argument(&ctx, 0), argument(&ctx, 1), Memory::Device as u32, 1)
}

#[uretprobe]
pub fn transfer_allocation_end(ctx: RetProbeContext) -> u32 {
    let Some(mut call) = end(&ctx) else { return 0 };
    let code: u32 = ctx.ret();
    if code != 0 {
        return refused(&call, code);
    }
    if call.indirect != 0 {
        // SAFETY: the helper checks the address that it reads.
        match unsafe { bpf_probe_read_user(call.address as *const u64) } {
            Ok(address) => call.address = address,
            Err(_) => {
                emit::lost(Stage::Transfer);
                return 0;
            }
        }
    }
    keep(&call);
    0
}

#[uprobe]
pub fn transfer_unpin(ctx: ProbeContext) -> u32 {
    release(&ctx, Memory::Pinned)
}

#[uprobe]
pub fn transfer_free(ctx: ProbeContext) -> u32 {
    release(&ctx, Memory::Device)
}

#[uretprobe]
pub fn transfer_release_end(ctx: RetProbeContext) -> u32 {
    let Some(call) = end(&ctx) else { return 0 };
    if ctx.ret::<u32>() != 0 {
        // The release failed: it is still allocated.
        add(call.address, call.kind, call.bytes);
    } else {
        charge(call.kind, call.bytes.wrapping_neg());
    }
    0
}

/// The allocation is removed before the driver releases it: right after, the driver can give the address to another thread.
#[inline(always)]
fn release(ctx: &ProbeContext, memory: Memory) -> u32 {
    let address = argument(ctx, 0);
    let key = allocation(address, memory as u32);
    // SAFETY: a single word, which is read at once.
    let Some(bytes) = (unsafe { TRANSFER_ALLOCATIONS.get(key) }).copied() else { return 0 };
    if TRANSFER_ALLOCATIONS.remove(key).is_ok() {
        give_allocation(user(pid()));
    }
    begin(ctx, address, bytes, memory as u32, 0)
}

/// A call within another one, further down the stack, is part of that one.
///
/// Nothing here may be a function of its own: a call makes the verifiers of 5.10 and 6.1 take every number for precise
/// (backtrack_insn, mark_all_scalars_precise), and follow [`transfer_batch`] from each round of its loop to the end.
#[inline(always)]
fn begin(ctx: &ProbeContext, address: u64, bytes: u64, kind: u32, indirect: u32) -> u32 {
    let (ids, stack) = (kernel::current_ids(), stack(ctx));
    let (pid, tid) = ((ids >> 32) as u32, ids as u32);
    // SAFETY: only this thread writes or removes its entry.
    let before = unsafe { TRANSFER_CALLS.get(tid) }.map(|call| (call.uid, call.pid == pid && call.stack > stack));
    // Otherwise a call that never returned: its entry is used again.
    let uid = match before {
        Some((_, true)) => return 0,
        Some((uid, false)) => uid,
        None => share::current_user(),
    };
    if before.is_none() && share::take(uid, entry::CALLS) == 0 {
        emit::lost(Stage::Transfer);
        return 0;
    }
    // SAFETY: the helper has no preconditions.
    let call = Call { ns: unsafe { bpf_ktime_get_ns() }, stack, bytes, address, kind, indirect, pid, uid };
    if TRANSFER_CALLS.insert(tid, call, 0).is_err() {
        share::give(uid, entry::CALLS);
        emit::lost(Stage::Transfer);
    }
    0
}

/// Takes the call that the thread began. `None` at the end of an inner call, or of one that began before the probes were
/// attached.
#[inline(always)]
fn end(ctx: &RetProbeContext) -> Option<Call> {
    let tid = kernel::current_tid();
    // SAFETY: only this thread writes or removes its entry.
    let call = unsafe { TRANSFER_CALLS.get(tid) }.copied()?;
    // Some architectures pop the return address off the stack.
    let popped = stack(ctx).wrapping_sub(call.stack);
    if (popped != 0 && popped != 8) || call.pid != pid() {
        return None;
    }
    if TRANSFER_CALLS.remove(tid).is_ok() {
        share::give(call.uid, entry::CALLS);
    }
    Some(call)
}

#[inline(always)]
fn keep(call: &Call) {
    let key = allocation(call.address, call.kind);
    // When a context ends, the driver frees all that is in it without a call for each: the address may still have an entry.
    // SAFETY: a single word, which is read at once.
    let before = unsafe { TRANSFER_ALLOCATIONS.get(key) }.copied().unwrap_or(0);
    if add(call.address, call.kind, call.bytes) != 0 {
        charge(call.kind, call.bytes.wrapping_sub(before));
    }
}

/// Adds an allocation of the current process, unless its user has too many. 1 if there was room.
#[inline(never)]
fn add(address: u64, memory: u32, bytes: u64) -> u32 {
    let pid = pid();
    if !enter(pid) {
        emit::lost(Stage::Transfer);
        return 0;
    }
    let (key, uid) = (allocation(address, memory), user(pid));
    // SAFETY: the value is not read.
    let known = unsafe { TRANSFER_ALLOCATIONS.get(key) }.is_some();
    if !known && take_allocation(uid) == 0 {
        emit::lost(Stage::Transfer);
        return 0;
    }
    if TRANSFER_ALLOCATIONS.insert(key, bytes, 0).is_err() {
        give_allocation(uid);
        emit::lost(Stage::Transfer);
        return 0;
    }
    1
}

/// Makes sure that the current process, `pid`, has an entry; `false` if there is no room for it.
#[inline(always)]
fn enter(pid: u32) -> bool {
    if TRANSFER_PROCESSES.get_ptr(pid).is_some() {
        return true;
    }
    let uid = share::current_user();
    if take_process(uid) == 0 {
        return false;
    }
    let new = Process { bytes: [0; MEMORIES], cgroup: Css::current().id(), uid, reserved: 0 };
    if TRANSFER_PROCESSES.insert(pid, new, BPF_NOEXIST as u64).is_err() {
        // Another thread was first, and its entry is used; or the map is full.
        share::give(uid, entry::PROCESSES);
    }
    TRANSFER_PROCESSES.get_ptr(pid).is_some()
}

/// The user as whom a process has entered; the current one if it has not.
#[inline(always)]
fn user(pid: u32) -> u32 {
    match TRANSFER_PROCESSES.get_ptr(pid) {
        // SAFETY: a single word of an entry, which is read at once.
        Some(process) => unsafe { (*process).uid },
        None => share::current_user(),
    }
}

#[inline(never)]
fn take_allocation(uid: u32) -> u32 {
    share::take(uid, entry::ALLOCATIONS)
}

#[inline(never)]
fn give_allocation(uid: u32) -> u32 {
    share::give(uid, entry::ALLOCATIONS);
    0
}

#[inline(never)]
fn take_process(uid: u32) -> u32 {
    share::take(uid, entry::PROCESSES)
}

/// Adds to what the current process holds.
#[inline(never)]
fn charge(kind: u32, bytes: u64) -> u32 {
    match TRANSFER_PROCESSES.get_ptr_mut(pid()) {
        Some(process) => {
            let row = process.cast::<[u64; MEMORIES]>();
            if kind == Memory::Device as u32 {
                counter::add(row, Memory::Device as usize, bytes);
            } else {
                counter::add(row, Memory::Pinned as usize, bytes);
            }
            // After it: who is told finds it.
            if let Some(words) = NOTICE.get_ptr_mut(0) {
                counter::add(words, notice::word::PROCESSES, 1);
            }
        }
        None => emit::lost(Stage::Transfer),
    }
    0
}

#[inline(always)]
fn refused(call: &Call, code: u32) -> u32 {
    let css = Css::current();
    let memory = call.kind & 1;
    slot::count_for(css, Controller::Memory, TRANSFER, |row| {
        counter::add(row, word::FAILURES + memory as usize, 1);
    });
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    let header = Header::new(Kind::AllocationRefused, now);
    let refusal = Refusal { header, cgroup: css.id(), bytes: call.bytes, task: kernel::current(), memory, code };
    emit::send(Ring::Bulk, refusal);
    0
}

/// Direction of a copy whose function does not say it.
#[inline(always)]
fn direction(to: u64, from: u64) -> u32 {
    match (side(to), side(from)) {
        (Side::Device | Side::Unseen, Side::Host) => Direction::HostToDevice as u32,
        (Side::Host, Side::Device | Side::Unseen) => Direction::DeviceToHost as u32,
        (Side::Device, Side::Device) => NONE,
        _ => Direction::Unknown as u32,
    }
}

/// The memory at one end of a copy.
enum Side {
    Device,
    Host,
    /// GPU memory whose allocation was not seen or that begins at a lower address, or host memory that was never touched.
    Unseen,
}

/// Known if its allocation was seen. Otherwise, memory that the process can read is the host's: the driver reserves the
/// addresses of GPU memory (CUDA C++ Programming Guide, Unified Virtual Address Space).
#[inline(always)]
fn side(address: u64) -> Side {
    let is = |memory: Memory| {
        // SAFETY: a single word, which is read at once.
        unsafe { TRANSFER_ALLOCATIONS.get(allocation(address, memory as u32)) }.is_some()
    };
    // SAFETY: the helper checks the address that it reads.
    let readable = || unsafe { bpf_probe_read_user(address as *const u8) }.is_ok();
    if is(Memory::Device) {
        Side::Device
    } else if is(Memory::Pinned) || readable() {
        Side::Host
    } else {
        Side::Unseen
    }
}

#[inline(always)]
fn allocation(address: u64, memory: u32) -> Allocation {
    Allocation { pid: pid(), memory, address }
}

#[inline(always)]
fn pid() -> u32 {
    (kernel::current_ids() >> 32) as u32
}

#[inline(always)]
fn argument(ctx: &ProbeContext, index: usize) -> u64 {
    ctx.arg(index).unwrap_or(0)
}

#[inline(always)]
fn stack(ctx: &impl EbpfContext) -> u64 {
    #[cfg(bpf_target_arch = "x86_64")]
    // SAFETY: the context of a uprobe is the thread's registers.
    return unsafe { (*ctx.as_ptr().cast::<aya_ebpf::bindings::pt_regs>()).rsp };
    #[cfg(bpf_target_arch = "aarch64")]
    // SAFETY: as above.
    return unsafe { (*ctx.as_ptr().cast::<aya_ebpf::bindings::user_pt_regs>()).sp };
    #[cfg(bpf_target_arch = "riscv64")]
    // SAFETY: as above.
    return unsafe { (*ctx.as_ptr().cast::<aya_ebpf::bindings::user_regs_struct>()).sp };
}
