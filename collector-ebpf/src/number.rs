//! Small numbers for the keys that something is counted by: a key takes a free one at its first count. Does not know what the
//! numbers mean.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::maps::{HashMap, Stack};

use crate::counter;
use crate::map::NOTICE;

/// The number of a key. `None` if there is no room for another. The collector learns of a new one by this word of [`NOTICE`].
#[inline(always)]
pub fn find<K>(numbers: &HashMap<K, u32>, free: &Stack<u32>, key: &K, notice: usize) -> Option<u32> {
    if let Some(number) = get(numbers, key) {
        return Some(number);
    }
    let Ok(Some(number)) = free.pop() else { return None };
    if numbers.insert(key, number, BPF_NOEXIST as u64).is_ok() {
        if let Some(words) = NOTICE.get_ptr_mut(0) {
            counter::add(words, notice, 1);
        }
        return Some(number);
    }
    let _ = free.push(number, 0);
    // Another CPU was first, or there was no room.
    get(numbers, key)
}

#[inline(always)]
fn get<K>(numbers: &HashMap<K, u32>, key: &K) -> Option<u32> {
    // SAFETY: the value is a single word, which is read at once.
    unsafe { numbers.get(key) }.copied()
}
