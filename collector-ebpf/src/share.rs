//! How many entries a user may take in the maps of `transfer`: any user can call functions that are named like the driver's.
//! Root's take what is left.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_get_current_uid_gid;
use collector_common::transfer::{ALL_USERS, MAX_OF_USER, MAX_OF_USERS, MEMORIES, Process, taken};

use crate::counter;
use crate::kernel::Css;
use crate::map::{TRANSFER_PROCESSES, TRANSFER_SWEPT, TRANSFER_USERS};

type Row = [u64; taken::COUNT];

/// Makes sure that the current process, `pid`, has an entry; `false` if there is no room for it.
#[inline(always)]
pub fn enter(pid: u32) -> bool {
    if TRANSFER_PROCESSES.get_ptr(pid).is_some() {
        return true;
    }
    let uid = current_user();
    if take_process(uid) == 0 {
        return false;
    }
    let new = Process { bytes: [0; MEMORIES], cgroup: Css::current().id(), uid, reserved: 0 };
    if TRANSFER_PROCESSES.insert(pid, new, BPF_NOEXIST as u64).is_err() {
        // Another thread was first, and its entry is used; or the map is full.
        give(uid, taken::PROCESSES);
    }
    TRANSFER_PROCESSES.get_ptr(pid).is_some()
}

/// The user as whom a process has entered; the current one if it has not.
#[inline(always)]
pub fn user(pid: u32) -> u32 {
    match TRANSFER_PROCESSES.get_ptr(pid) {
        // SAFETY: a single word of an entry, which is read at once.
        Some(process) => unsafe { (*process).uid },
        None => current_user(),
    }
}

/// Takes a place for one more allocation; 0 if the user, or all users together, have too many.
#[inline(never)]
pub fn take_allocation(uid: u32) -> u32 {
    take(uid, taken::ALLOCATIONS)
}

#[inline(never)]
pub fn give_allocation(uid: u32) -> u32 {
    give(uid, taken::ALLOCATIONS);
    0
}

#[inline(never)]
fn take_process(uid: u32) -> u32 {
    take(uid, taken::PROCESSES)
}

#[inline(always)]
fn take(uid: u32, word: usize) -> u32 {
    if uid == 0 {
        return 1;
    }
    let (Some(all), Some(own)) = (row(ALL_USERS), row(uid)) else { return 0 };
    if held(all, ALL_USERS, word) >= MAX_OF_USERS[word] as i64 || held(own, uid, word) >= MAX_OF_USER[word] as i64 {
        return 0;
    }
    counter::add(all, word, 1);
    counter::add(own, word, 1);
    1
}

#[inline(always)]
fn give(uid: u32, word: usize) {
    if uid == 0 {
        return;
    }
    if let (Some(all), Some(own)) = (row(ALL_USERS), row(uid)) {
        counter::add(all, word, u64::MAX);
        counter::add(own, word, u64::MAX);
    }
}

/// The entries that a user has. Other CPUs may just be taking some, so that a user may have a few more than the limit.
#[inline(always)]
fn held(row: *mut Row, uid: u32, word: usize) -> i64 {
    // SAFETY: single words, which are read at once.
    let (taken, swept) = unsafe { ((*row)[word], TRANSFER_SWEPT.get(uid).map_or(0, |swept| swept[word])) };
    taken.wrapping_sub(swept) as i64
}

#[inline(always)]
fn row(uid: u32) -> Option<*mut Row> {
    if TRANSFER_USERS.get_ptr(uid).is_none() {
        let _ = TRANSFER_USERS.insert(uid, [0; taken::COUNT], BPF_NOEXIST as u64);
    }
    TRANSFER_USERS.get_ptr_mut(uid)
}

#[inline(always)]
fn current_user() -> u32 {
    bpf_get_current_uid_gid() as u32
}
