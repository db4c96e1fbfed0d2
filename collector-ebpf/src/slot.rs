//! Slots: each cgroup that has counts gets a small number, the index of its row in the counter maps.
//!
//! A program takes a slot at the first count. The collector returns it some time after the cgroup was removed. Slot 0 is
//! shared by all cgroups that found no free slot.
//!
//! Finding the slot of the current task must cost next to nothing, since it happens on every page fault. So each CPU caches
//! the last slot. The key is the `serial_nr` of the controller state, which the kernel never reuses, and not its address,
//! which it does. But a dead cgroup has IO long after its removal, and its slot may be another's by then: so the collector
//! clears the caches before it frees a slot. Serial and slot share one word, because another program can preempt
//! this one on the same CPU and must not mix the serial of one cgroup with the slot of another.

use aya_ebpf::bindings::BPF_NOEXIST;
use collector_common::cgroup::Id;
use collector_common::lost::Stage;

use crate::emit;
use crate::kernel::Css;
use crate::map::{CACHE, FREE, SLOTS};

const SLOT_BITS: u32 = 16;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

/// Index of the cached word.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Controller {
    Memory = 0,
    Io = 1,
}

/// Slot of the current task's memory cgroup.
#[inline(always)]
pub fn current() -> u32 {
    of(Css::current(), Controller::Memory)
}

#[inline(always)]
pub fn of(css: Css, controller: Controller) -> u32 {
    let Some(cached) = CACHE.get_ptr_mut(controller as u32) else { return 0 };
    // SAFETY: from a successful lookup; one word, read and written at once.
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
    get(&id).or_else(|| take(&id)).unwrap_or(0)
}

#[inline(always)]
fn get(id: &Id) -> Option<u32> {
    // SAFETY: the value is a single word, which is read at once.
    unsafe { SLOTS.get(id) }.copied().filter(|slot| (*slot as u64) <= SLOT_MASK)
}

#[inline(always)]
fn take(id: &Id) -> Option<u32> {
    let Ok(Some(slot)) = FREE.pop() else {
        emit::lost(Stage::Slot);
        return None;
    };
    if SLOTS.insert(id, slot, BPF_NOEXIST as u64).is_ok() {
        return Some(slot).filter(|slot| (*slot as u64) <= SLOT_MASK);
    }
    if FREE.push(slot, 0).is_err() {
        emit::lost(Stage::Slot);
    }
    // Another CPU was first, or there was no room.
    let first = get(id);
    if first.is_none() {
        emit::lost(Stage::Slot);
    }
    first
}
