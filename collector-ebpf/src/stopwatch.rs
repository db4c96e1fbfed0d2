//! How long a thread was in something: noted at its begin, taken at its end.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use collector_common::lost::Stage;

use crate::emit;
use crate::kernel::current_tid;
use crate::map::{STOPWATCH, Started};

/// What can be timed; a thread can be in several at once, one inside the other.
#[derive(Clone, Copy)]
#[repr(u64)]
pub enum Lap {
    DirectReclaim = 0,
    MemcgReclaim = 1,
    Compaction = 2,
    FileFault = 3,
    SwapFault = 4,
}

/// An end.
#[derive(Clone, Copy)]
pub struct Stopped {
    /// The time of the end.
    pub now: u64,
    /// How long it took.
    pub ns: u64,
    pub note: u64,
}

/// Notes that the running thread begins something.
#[inline(always)]
pub fn start(lap: Lap, note: u64) {
    // SAFETY: the helper has no preconditions.
    let started = Started { ns: unsafe { bpf_ktime_get_ns() }, note };
    if STOPWATCH.insert(key(lap), started, 0).is_err() {
        emit::lost(Stage::Stopwatch);
    }
}

/// Takes what the running thread began. `None` is counted as lost: the begin came before the programs were attached, or
/// found no room.
#[inline(always)]
pub fn stop(lap: Lap) -> Option<Stopped> {
    let key = key(lap);
    // SAFETY: only this thread writes or removes its entry.
    let Some(started) = (unsafe { STOPWATCH.get(key) }).copied() else {
        emit::lost(Stage::Stopwatch);
        return None;
    };
    let _ = STOPWATCH.remove(key);
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    Some(Stopped { now, ns: now.saturating_sub(started.ns), note: started.note })
}

#[inline(always)]
fn key(lap: Lap) -> u64 {
    (current_tid() as u64) << 8 | lap as u64
}
