//! Times operations of threads from begin to end.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use collector_common::lost::Stage;

use crate::emit;
use crate::kernel::current_tid;
use crate::map::{STOPWATCH, Started};

/// Operations that can be timed. A thread can be in several at once, one inside the other.
#[derive(Clone, Copy)]
#[repr(u64)]
pub enum Lap {
    DirectReclaim = 0,
    MemcgReclaim = 1,
    Compaction = 2,
    FileFault = 3,
    SwapFault = 4,
}

/// A timed operation that has ended.
#[derive(Clone, Copy)]
pub struct Stopped {
    /// Time of the end.
    pub now: u64,
    /// Duration in nanoseconds.
    pub ns: u64,
    pub note: u64,
}

#[inline(always)]
pub fn start(lap: Lap, note: u64) {
    // SAFETY: the helper has no preconditions.
    let started = Started { ns: unsafe { bpf_ktime_get_ns() }, note };
    if STOPWATCH.insert(key(lap), started, 0).is_err() {
        emit::lost(Stage::Stopwatch);
    }
}

/// Takes the time since [`start`]. `None` is no loss of its own: the begin was before the programs were attached, or it was
/// counted where it was lost (no room here, or a missed run).
#[inline(always)]
pub fn stop(lap: Lap) -> Option<Stopped> {
    let key = key(lap);
    // SAFETY: only this thread writes or removes its entry.
    let started = (unsafe { STOPWATCH.get(key) }).copied()?;
    let _ = STOPWATCH.remove(key);
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    Some(Stopped { now, ns: now.saturating_sub(started.ns), note: started.note })
}

#[inline(always)]
fn key(lap: Lap) -> u64 {
    (current_tid() as u64) << 8 | lap as u64
}
