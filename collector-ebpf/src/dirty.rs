//! dirty: see `collector_common::dirty`.

use aya_ebpf::macros::{map, raw_tracepoint};
use aya_ebpf::maps::PerCpuArray;
use aya_ebpf::programs::RawTracePointContext;
use collector_common::dirty::word;

use crate::kernel::{argument, layout};
use crate::{counter, slot};

#[map]
static DIRTY: PerCpuArray<[u64; word::COUNT]> = PerCpuArray::with_max_entries(2048, 0);

#[raw_tracepoint(tracepoint = "balance_dirty_pages")]
pub fn dirty_wait(ctx: RawTracePointContext) -> i32 {
    let jiffies: i64 = argument(&ctx, layout!(dirty_pause));
    // The tracepoint reports every decision: zero or less means to continue without a sleep.
    if jiffies > 0
        && let Some(row) = DIRTY.get_ptr_mut(slot::current())
    {
        counter::add(row, word::WAITS, 1);
        counter::add(row, word::JIFFIES, jiffies as u64);
    }
    0
}
