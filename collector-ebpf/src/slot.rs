//! Slots: every cgroup that something is counted for has a small number, its row in each of the counter maps.
//!
//! A slot is taken here at the first count, and given back by the collector some time after the cgroup died. Slot 0 is
//! everybody's who found none.
//!
//! Finding the slot of the running task on every page fault must cost next to nothing: each CPU remembers the last one.
//! What it remembers is keyed by the `serial_nr` of the controller's state, which the kernel never gives out twice, and
//! not by an address, which it does; so there is nothing to invalidate. Serial and slot share one word, for a program
//! may be preempted by another on the same CPU and must not leave the serial of one beside the slot of the other.

use aya_ebpf::bindings::BPF_NOEXIST;
use collector_common::cgroup::Id;
use collector_common::lost::Stage;

use crate::emit;
use crate::kernel::Css;
use crate::map::{CACHE, FREE, SLOTS};

const SLOT_BITS: u32 = 16;
const SLOT_MASK: u64 = (1 << SLOT_BITS) - 1;

/// Which of a CPU's two memories is used.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Controller {
    Memory = 0,
    Io = 1,
}

/// The slot of the running task's memory cgroup.
#[inline(always)]
pub fn current() -> u32 {
    of(Css::current(), Controller::Memory)
}

/// The slot of a cgroup's controller state.
#[inline(always)]
pub fn of(css: Css, controller: Controller) -> u32 {
    let Some(cached) = CACHE.get_ptr_mut(controller as u32) else { return 0 };
    // SAFETY: from a successful lookup; one word, read and written whole.
    let word = unsafe { cached.read_volatile() };
    if word >> SLOT_BITS == css.serial {
        return (word & SLOT_MASK) as u32;
    }
    let slot = find(css);
    // That there is none is remembered too: on a host with more cgroups than slots every fault would come all this way.
    // A slot that comes free is then found when this CPU is next used by another cgroup.
    // SAFETY: as above.
    unsafe { cached.write_volatile(css.serial << SLOT_BITS | slot as u64) };
    slot
}

/// A real call: the way past the cache is long, and would otherwise stand in every program several times.
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
    // SAFETY: a value is a single word, which cannot be read half.
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
    // Another CPU was first.
    let _ = FREE.push(slot, 0);
    get(id)
}
