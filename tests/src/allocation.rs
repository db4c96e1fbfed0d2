//! An allocator that counts the calls of each thread and, during [`peak`], the bytes on the heap.
//!
//! A program that measures declares it: `#[global_allocator] static ALLOCATOR: Counting = Counting;`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

static TOTAL: AtomicU64 = AtomicU64::new(0);
static WATCHED: AtomicBool = AtomicBool::new(false);
static HEAP: AtomicI64 = AtomicI64::new(0);
static PEAK: AtomicI64 = AtomicI64::new(0);

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// Allocations of the calling thread so far; other threads do not count.
pub fn count() -> u64 {
    COUNT.get()
}

/// Allocations of all other threads so far.
pub fn others() -> u64 {
    TOTAL.load(Ordering::Relaxed).saturating_sub(count())
}

/// Largest growth of the process's heap during `action`, in bytes. The process must do nothing else.
pub fn peak(action: impl FnOnce()) -> usize {
    HEAP.store(0, Ordering::SeqCst);
    PEAK.store(0, Ordering::SeqCst);
    WATCHED.store(true, Ordering::SeqCst);
    action();
    WATCHED.store(false, Ordering::SeqCst);
    usize::try_from(PEAK.load(Ordering::SeqCst)).unwrap_or_default()
}

/// The system's allocator, counted.
pub struct Counting;

fn tick() {
    TOTAL.fetch_add(1, Ordering::Relaxed);
    // A thread that is exiting is no longer counted.
    let _ = COUNT.try_with(|count| count.set(count.get() + 1));
}

fn change(taken: usize, given_back: usize) {
    if WATCHED.load(Ordering::Relaxed) {
        let change = taken as i64 - given_back as i64;
        let heap = HEAP.fetch_add(change, Ordering::Relaxed) + change;
        PEAK.fetch_max(heap, Ordering::Relaxed);
    }
}

// SAFETY: all calls are passed to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        tick();
        change(layout.size(), 0);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        tick();
        change(layout.size(), 0);
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        tick();
        change(size, layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        change(0, layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}
