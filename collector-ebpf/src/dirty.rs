//! dirty: see `collector_common::dirty`.

use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use collector_common::dirty::word;
use collector_common::slot::Section;

use crate::kernel::{argument, layout};
use crate::{counter, slot};

const DIRTY: Section<{ word::COUNT }> = Section::of("DIRTY");

#[raw_tracepoint(tracepoint = "balance_dirty_pages")]
pub fn dirty_wait(ctx: RawTracePointContext) -> i32 {
    let jiffies: i64 = argument(&ctx, layout!(dirty_pause));
    // The tracepoint reports every decision: zero or less means to continue without a sleep.
    if jiffies > 0 {
        slot::count(DIRTY, |row| {
            counter::add(row, word::WAITS, 1);
            counter::add(row, word::JIFFIES, jiffies as u64);
        });
    }
    0
}
