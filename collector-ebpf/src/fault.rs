//! fault: see `collector_common::fault`.

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe, perf_event, raw_tracepoint};
use aya_ebpf::programs::{
    FEntryContext, FExitContext, PerfEventContext, ProbeContext, RawTracePointContext, RetProbeContext,
};
use collector_common::fault::{Access, word};
use collector_common::slot::Section;

use crate::kernel::layout;
use crate::map::MAJOR_FAULT_TIME;
use crate::stopwatch::{self, Lap};
use crate::{counter, slot};

const FAULT: Section<{ word::COUNT }> = Section::of("FAULT");

#[raw_tracepoint(tracepoint = "page_fault_user")]
pub fn fault_user(ctx: RawTracePointContext) -> i32 {
    count(word::USER + access(ctx.arg(2)) as usize)
}

#[raw_tracepoint(tracepoint = "page_fault_kernel")]
pub fn fault_kernel(ctx: RawTracePointContext) -> i32 {
    count(word::KERNEL + access(ctx.arg(2)) as usize)
}

#[perf_event]
pub fn fault_any(_ctx: PerfEventContext) -> i32 {
    count(word::ANY)
}

#[perf_event]
pub fn fault_major(_ctx: PerfEventContext) -> i32 {
    count(word::MAJOR)
}

#[fentry(function = "filemap_fault")]
pub fn fault_file_entry(_ctx: FEntryContext) -> i32 {
    begin(Lap::FileFault)
}

// Both functions have one argument, so that argument 1 at the exit is the return value.
#[fexit(function = "filemap_fault")]
pub fn fault_file_exit(ctx: FExitContext) -> i32 {
    end(Lap::FileFault, ctx.arg(1))
}

#[fentry(function = "do_swap_page")]
pub fn fault_swap_entry(_ctx: FEntryContext) -> i32 {
    begin(Lap::SwapFault)
}

#[fexit(function = "do_swap_page")]
pub fn fault_swap_exit(ctx: FExitContext) -> i32 {
    end(Lap::SwapFault, ctx.arg(1))
}

#[kprobe(function = "filemap_fault")]
pub fn fault_file_kprobe(_ctx: ProbeContext) -> i32 {
    begin(Lap::FileFault)
}

#[kretprobe(function = "filemap_fault")]
pub fn fault_file_kretprobe(ctx: RetProbeContext) -> i32 {
    end(Lap::FileFault, ctx.ret())
}

#[kprobe(function = "do_swap_page")]
pub fn fault_swap_kprobe(_ctx: ProbeContext) -> i32 {
    begin(Lap::SwapFault)
}

#[kretprobe(function = "do_swap_page")]
pub fn fault_swap_kretprobe(ctx: RetProbeContext) -> i32 {
    end(Lap::SwapFault, ctx.ret())
}

/// From the error code of an x86 page fault (Intel SDM vol. 3, 4.7: bit 1 is a write, bit 4 an instruction fetch), or the
/// cause of a RISC-V one (privileged ISA, table 14: 12 fetch, 13 load, 15 store).
#[inline(always)]
fn access(code: u64) -> Access {
    let (write, execute) = if cfg!(bpf_target_arch = "riscv64") {
        (code == 15, code == 12)
    } else {
        (code & (1 << 1) != 0, code & (1 << 4) != 0)
    };
    match (write, execute) {
        (_, true) => Access::Execute,
        (true, _) => Access::Write,
        _ => Access::Read,
    }
}

#[inline(always)]
fn count(word: usize) -> i32 {
    if word < word::COUNT {
        slot::count(FAULT, |row| counter::add(row, word, 1));
    }
    0
}

#[inline(always)]
fn begin(lap: Lap) -> i32 {
    stopwatch::start(lap, 0);
    0
}

#[inline(always)]
fn end(lap: Lap, returned: u64) -> i32 {
    if let Some(stopped) = stopwatch::stop(lap)
        && returned as u32 & layout!(vm_fault_major) != 0
    {
        counter::observe_at(&MAJOR_FAULT_TIME, 0, stopped.ns);
    }
    0
}
