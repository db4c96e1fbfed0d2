//! Slots: each cgroup that has counts gets a small number, which says where its rows of counters are. See
//! `collector_common::slot`.
//!
//! A program takes a slot at the first count. The collector returns it some time after the cgroup was removed. Slot 0 is
//! shared by all cgroups that found no free slot.
//!
//! Finding the slot of the current task must cost next to nothing, since it happens on every page fault. So each CPU caches
//! the last slot. The key is the `serial_nr` of the controller state, which the kernel never reuses, and not its address,
//! which it does. But a dead cgroup has IO long after its removal, and its slot may be another's by then: so the collector
//! clears the caches before it frees a slot. Serial and slot share one word, because another program can preempt
//! this one on the same CPU and must not mix the serial of one cgroup with the slot of another.

use collector_common::lost::Stage;
use collector_common::notice::word;
use collector_common::slot::{SHARDS, Section, cache};

use crate::kernel::Css;
use crate::map::{CACHE, FREE, MARKS, ROWS, SLOTS};
use crate::{emit, number};

const SLOT_BITS: u32 = 16;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

/// Index of the cached word.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Controller {
    Memory = cache::MEMORY as u32,
    Io = cache::IO as u32,
}

/// Counts for the current task's memory cgroup.
#[inline(always)]
pub fn count<const N: usize>(section: Section<N>, add: impl FnOnce(*mut [u64; N])) {
    count_for(Css::current(), Controller::Memory, section, add);
}

/// Calls `add` with a section of the cgroup's row in the shard of this CPU.
#[inline(always)]
pub fn count_for<const N: usize>(
    css: Css,
    controller: Controller,
    section: Section<N>,
    add: impl FnOnce(*mut [u64; N]),
) {
    let Some(cpu) = CACHE.get_ptr_mut(0) else { return };
    let cpu = cpu.cast::<u64>();
    // SAFETY: from a successful lookup; the collector wrote this word before any program ran.
    let place = unsafe { cpu.add(cache::PLACE).read() };
    // SAFETY: as above; each is one word, read and written at once.
    let slot = of(css, unsafe { cpu.add(controller as usize) });
    let (Some(row), Some(marks)) = (ROWS.get_ptr_mut(place as u32 + slot), MARKS.get_ptr_mut(slot)) else { return };
    // SAFETY: from a successful lookup, and the catalogue has the section within the row.
    add(unsafe { row.cast::<u64>().add(section.first) }.cast());
    // Counted first, then marked: the collector takes the mark first. All CPUs of a shard share the byte, so it is written
    // only once a tick.
    // SAFETY: from a successful lookup, within the bound that the mask shows the verifier.
    unsafe {
        let mark = marks.cast::<u8>().add((place >> 32) as usize & (SHARDS - 1));
        if mark.read_volatile() == 0 {
            mark.write_volatile(1);
        }
    }
}

#[inline(always)]
fn of(css: Css, cached: *mut u64) -> u32 {
    // SAFETY: see the caller.
    let word = unsafe { cached.read_volatile() };
    if word >> SLOT_BITS == css.serial {
        return (word & SLOT_MASK) as u32;
    }
    let slot = find(css);
    // A failed lookup is cached too: on a host with more cgroups than slots every fault would be slow. A slot that becomes
    // free is then found after this CPU has run another cgroup.
    // SAFETY: as above.
    unsafe { cached.write_volatile(css.serial << SLOT_BITS | slot as u64) };
    slot
}

/// Not inlined: the slow path is long, and would be in every program several times.
#[inline(never)]
fn find(css: Css) -> u32 {
    let id = css.id();
    if id.id == 0 {
        return 0;
    }
    let slot = number::find(&SLOTS, &FREE, &id, word::SLOTS);
    if slot.is_none() {
        emit::lost(Stage::Slot);
    }
    slot.filter(|slot| (*slot as u64) <= SLOT_MASK).unwrap_or(0)
}
