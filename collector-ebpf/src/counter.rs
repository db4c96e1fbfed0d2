//! Counters and histograms in the rows of maps.

use core::arch::asm;

use collector_common::histogram;

use crate::map::Histogram;

/// Adds to one word of a row. Atomic: on newer kernels a program can be preempted between load and store, and an interrupt
/// can complete IO at any time. Counts must be exact.
#[inline(always)]
pub fn add<const N: usize>(row: *mut [u64; N], word: usize, amount: u64) {
    // The atomic types have no addition on this target, so it is inline assembly.
    // SAFETY: rows come from successful map lookups, words are checked against the row's length by the verifier.
    unsafe {
        let word = row.cast::<u64>().add(word);
        asm!("lock *(u64 *)({word} + 0) += {amount}", word = in(reg) word, amount = in(reg) amount);
    }
}

/// Adds a duration to the histogram that starts at word `first` of a row.
#[inline(always)]
pub fn observe<const N: usize>(row: *mut [u64; N], first: usize, ns: u64) {
    // The mask shows the verifier the bound of `bucket`.
    let bucket = histogram::bucket(ns) & 31;
    if bucket < histogram::BUCKETS {
        add(row, first + bucket, 1);
    }
    add(row, first + histogram::SUM, ns);
}

/// Adds a duration to the histogram at `index` of a map.
#[inline(always)]
pub fn observe_at(map: &aya_ebpf::maps::Array<Histogram>, index: u32, ns: u64) {
    if let Some(row) = map.get_ptr_mut(index) {
        observe(row, 0, ns);
    }
}
