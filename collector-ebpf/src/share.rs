//! Takes and gives back the entries that a user has in a map, see `collector_common::share`.

use aya_ebpf::helpers::bpf_get_current_uid_gid;
use collector_common::share::{self, ALL, MAX_OF_USER, MAX_OF_USERS, word};

use crate::counter;
use crate::kernel::setting;
use crate::map::USERS;

type Row = [u64; word::COUNT];

/// Takes an entry of the map `word` for a user; 0 if the user, or all users together, have too many.
#[inline(always)]
pub fn take(uid: u32, word: usize) -> u32 {
    if uid == 0 {
        return 1;
    }
    let Some((all, own)) = rows(uid) else { return 0 };
    if held(all, word) >= MAX_OF_USERS[word] as i64 || held(own, word) >= MAX_OF_USER[word] as i64 {
        return 0;
    }
    counter::add(all, word, 1);
    counter::add(own, word, 1);
    1
}

#[inline(always)]
pub fn give(uid: u32, word: usize) {
    if uid == 0 {
        return;
    }
    if let Some((all, own)) = rows(uid) {
        counter::add(all, word, u64::MAX);
        counter::add(own, word, u64::MAX);
    }
}

#[inline(always)]
pub fn current_user() -> u32 {
    bpf_get_current_uid_gid() as u32
}

/// The rows of all users together and of this one.
#[inline(always)]
fn rows(uid: u32) -> Option<(*mut Row, *mut Row)> {
    Some((USERS.get_ptr_mut(ALL)?, USERS.get_ptr_mut(share::row(uid, setting!(secret)))?))
}

/// The entries that are held. Other CPUs may just be taking some, so that there may be a few more than the limit.
#[inline(always)]
fn held(row: *mut Row, word: usize) -> i64 {
    // SAFETY: a single word, which is read at once.
    unsafe { (*row)[word] as i64 }
}
