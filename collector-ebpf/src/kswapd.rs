//! kswapd: see `collector_common::kswapd`.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::raw_tracepoint;
use aya_ebpf::programs::RawTracePointContext;
use collector_common::kswapd::word;
use collector_common::lost::Stage;

use crate::map::{KSWAPD, KSWAPD_SINCE};
use crate::{counter, emit};

#[raw_tracepoint(tracepoint = "mm_vmscan_kswapd_wake")]
pub fn kswapd_wake(ctx: RawTracePointContext) -> i32 {
    // SAFETY: the helper has no preconditions.
    mark(ctx.arg(0), unsafe { bpf_ktime_get_ns() })
}

#[raw_tracepoint(tracepoint = "mm_vmscan_kswapd_sleep")]
pub fn kswapd_sleep(ctx: RawTracePointContext) -> i32 {
    mark(ctx.arg(0), 0)
}

/// Adds the time since the last mark if kswapd was awake, and stores since when it is awake now. One thread per node runs
/// this, so nothing races. kswapd wakes again for every pass without having slept: counting at each wake keeps the counter
/// current even when it is awake for minutes.
#[inline(always)]
fn mark(node: i32, since: u64) -> i32 {
    let (Some(awake), Some(row)) = (KSWAPD_SINCE.get_ptr_mut(node as u32), KSWAPD.get_ptr_mut(node as u32)) else {
        emit::lost(Stage::Node);
        return 0;
    };
    // SAFETY: from a successful lookup; one word, written by one thread.
    let before = unsafe { awake.read_volatile() };
    if before != 0 {
        // SAFETY: the helper has no preconditions.
        let now = if since != 0 { since } else { unsafe { bpf_ktime_get_ns() } };
        counter::add(row, word::AWAKE_NS, now.saturating_sub(before));
    } else if since != 0 {
        counter::add(row, word::WAKES, 1);
    }
    // SAFETY: as above.
    unsafe { awake.write_volatile(since) };
    0
}
