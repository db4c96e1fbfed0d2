//! Sends records through the rings, and counts those that find no room.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::maps::RingBuf;
use collector_common::lost::Stage;
use collector_common::ring::Ring;

use crate::counter;
use crate::kernel::setting;
use crate::map::{BULK, CRITICAL, LOST};

#[inline(always)]
pub fn lost(stage: Stage) {
    if let Some(row) = LOST.get_ptr_mut(0) {
        counter::add(row, stage as usize, 1);
    }
}

#[inline(always)]
pub fn send<T: 'static>(ring: Ring, record: T) {
    let (map, stage) = place(ring);
    match map.reserve::<T>(0) {
        Some(mut entry) => {
            entry.write(record);
            entry.submit(wake(ring));
        }
        None => lost(stage),
    }
}

/// Sends a record whose size is known only at run time. The caller bounds it for the verifier.
#[inline(always)]
pub fn send_bytes(ring: Ring, bytes: &[u8]) {
    let (map, stage) = place(ring);
    if map.output::<[u8]>(bytes, wake(ring)).is_err() {
        lost(stage);
    }
}

#[inline(always)]
fn place(ring: Ring) -> (&'static RingBuf, Stage) {
    match ring {
        Ring::Critical => (&CRITICAL, Stage::RingCritical),
        Ring::Bulk => (&BULK, Stage::RingBulk),
    }
}

/// Critical records wake the reader at once; bulk records only once enough wait, since the reader also reads every tick.
#[inline(always)]
fn wake(ring: Ring) -> u64 {
    let wake = match ring {
        Ring::Critical => true,
        Ring::Bulk => BULK.query(BPF_RB_AVAIL_DATA as u64) >= setting!(bulk_wake_bytes),
    };
    if wake { BPF_RB_FORCE_WAKEUP as u64 } else { BPF_RB_NO_WAKEUP as u64 }
}
