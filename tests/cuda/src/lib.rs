//! A stand-in for the CUDA driver's library: the entry points that Headroom watches, with their C ABI, and no GPU. Copies
//! move nothing; what is allocated on the device is addresses of a range of its own; the next call fails on demand.
//!
//! Signatures are those of `cuda.h` (12.x); `CUresult`, `CUdeviceptr`, `size_t` and streams are what they are there.

#![allow(non_snake_case, reason = "the driver's names")]
// The contract of each function is the driver's: pointers are valid, or never followed.
#![allow(clippy::missing_safety_doc)]

use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// `CUDA_SUCCESS`
const SUCCESS: u32 = 0;
/// `CUDA_ERROR_INVALID_VALUE`
const INVALID: u32 = 1;
/// `CUDA_ERROR_OUT_OF_MEMORY`
const OUT_OF_MEMORY: u32 = 2;

/// Where a page begins.
const PAGE: usize = 4096;

/// The next device address: far from anything that a process has mapped.
static DEVICE: AtomicU64 = AtomicU64::new(0x0002_0000_0000);
/// What the next call answers.
static FAILURE: AtomicU32 = AtomicU32::new(SUCCESS);
/// What is pinned: its bytes, and whether it was allocated here.
static PINNED: Mutex<Option<HashMap<usize, (usize, bool)>>> = Mutex::new(None);

/// Makes the next call answer `code`. The driver has nothing of the sort.
#[unsafe(no_mangle)]
pub extern "C" fn stand_in_fail(code: u32) {
    FAILURE.store(code, Ordering::Relaxed);
}

/// The driver starts, and has one GPU.
#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_flags: u32) -> u32 {
    answer()
}

/// That GPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> u32 {
    if ordinal != 0 {
        return INVALID;
    }
    // SAFETY: the caller's pointer is valid by the driver's contract.
    unsafe { device.write(0) };
    answer()
}

/// A context, which is nothing here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, _device: c_int) -> u32 {
    // SAFETY: the caller's pointer is valid by the driver's contract.
    unsafe { context.write(std::ptr::null_mut()) };
    answer()
}

/// Nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: *mut c_void) -> u32 {
    std::hint::black_box(context);
    answer()
}

/// Everything is done already.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> u32 {
    answer()
}

/// Where a function is, by its name without a version: how CUDA's runtime finds the driver's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetProcAddress_v2(
    symbol: *const c_char,
    function: *mut *const c_void,
    _version: c_int,
    _flags: u64,
    _status: *mut c_int,
) -> u32 {
    // SAFETY: the caller's pointers are valid by the driver's contract.
    let symbol = unsafe { CStr::from_ptr(symbol) };
    let found = match symbol.to_bytes() {
        b"cuMemcpyHtoD" => cuMemcpyHtoD_v2 as *const c_void,
        b"cuMemcpyDtoH" => cuMemcpyDtoH_v2 as *const c_void,
        b"cuMemAlloc" => cuMemAlloc_v2 as *const c_void,
        b"cuMemHostAlloc" => cuMemHostAlloc as *const c_void,
        _ => return INVALID,
    };
    // SAFETY: as above.
    unsafe { function.write(found) };
    answer()
}

/// What this call is to answer before it does anything.
fn answer() -> u32 {
    FAILURE.swap(SUCCESS, Ordering::Relaxed)
}

fn pinned<T>(with: impl FnOnce(&mut HashMap<usize, (usize, bool)>) -> T) -> T {
    with(PINNED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

macro_rules! copies {
    ($($name:ident($($argument:ident: $of:ty),*);)*) => {$(
        /// A copy.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($argument: $of),*, bytes: usize) -> u32 {
            let _ = ($($argument),*);
            let code = finish(stringify!($name), bytes);
            std::hint::black_box(bytes);
            code
        }
    )*};
}

macro_rules! async_copies {
    ($($name:ident($($argument:ident: $of:ty),*);)*) => {$(
        /// A copy that is only asked for.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($argument: $of),*, bytes: usize, stream: *mut c_void) -> u32 {
            let _ = ($($argument),*, stream);
            let code = finish(stringify!($name), bytes);
            std::hint::black_box(bytes);
            code
        }
    )*};
}

/// Answers a copy. The name makes each a function of its own: equal ones would be folded into one address. It is called,
/// and not made a part of them or jumped to, so that they begin by saving a register, as a function that does something
/// does.
#[inline(never)]
fn finish(name: &'static str, bytes: usize) -> u32 {
    std::hint::black_box((name, bytes));
    answer()
}

copies! {
    cuMemcpyHtoD_v2(to: u64, from: *const c_void);
    cuMemcpyHtoD_v2_ptds(to: u64, from: *const c_void);
    cuMemcpyDtoH_v2(to: *mut c_void, from: u64);
    cuMemcpyDtoH_v2_ptds(to: *mut c_void, from: u64);
    cuMemcpy(to: u64, from: u64);
    cuMemcpy_ptds(to: u64, from: u64);
}

async_copies! {
    cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void);
    cuMemcpyHtoDAsync_v2_ptsz(to: u64, from: *const c_void);
    cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64);
    cuMemcpyDtoHAsync_v2_ptsz(to: *mut c_void, from: u64);
    cuMemcpyAsync(to: u64, from: u64);
    cuMemcpyAsync_ptsz(to: u64, from: u64);
}

macro_rules! batches {
    ($($name:ident($($more:ident: $of:ty),*);)*) => {$(
        /// Copies in a batch.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name(
            to: *const u64,
            from: *const u64,
            bytes: *const usize,
            count: usize,
            attributes: *const c_void,
            indices: *const usize,
            attribute_count: usize,
            $($more: $of,)*
            stream: *mut c_void,
        ) -> u32 {
            let _ = (to, from, bytes, attributes, indices, attribute_count, $($more,)* stream);
            let code = finish(stringify!($name), count);
            std::hint::black_box(count);
            code
        }
    )*};
}

batches! {
    cuMemcpyBatchAsync(failed: *mut usize);
    cuMemcpyBatchAsync_ptsz(failed: *mut usize);
    cuMemcpyBatchAsync_v2();
    cuMemcpyBatchAsync_v2_ptsz();
}

/// Pinned host memory.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(pointer: *mut *mut c_void, bytes: usize, _flags: u32) -> u32 {
    let code = answer();
    if code != SUCCESS {
        return code;
    }
    let Ok(layout) = Layout::from_size_align(bytes, PAGE) else { return INVALID };
    if bytes == 0 {
        return INVALID;
    }
    // SAFETY: of more than no bytes; the caller's pointer is valid by the driver's contract.
    unsafe {
        let memory = alloc(layout);
        if memory.is_null() {
            return OUT_OF_MEMORY;
        }
        // What is pinned is there.
        memory.write_bytes(0, bytes);
        pointer.write(memory.cast());
        pinned(|pinned| pinned.insert(memory as usize, (bytes, true)));
    }
    SUCCESS
}

/// The same; it calls the other, so that one call of the driver's is seen inside another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) -> u32 {
    // SAFETY: as there.
    std::hint::black_box(unsafe { cuMemHostAlloc(pointer, bytes, 0) })
}

/// Gives it back.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(pointer: *mut c_void) -> u32 {
    let code = answer();
    if code != SUCCESS {
        return code;
    }
    let Some((bytes, true)) = pinned(|pinned| pinned.remove(&(pointer as usize))) else { return INVALID };
    let Ok(layout) = Layout::from_size_align(bytes, PAGE) else { return INVALID };
    // SAFETY: allocated above with this very layout, and out of the books only now.
    unsafe { dealloc(pointer.cast(), layout) };
    SUCCESS
}

/// Pins what the caller has.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostRegister_v2(pointer: *mut c_void, bytes: usize, _flags: u32) -> u32 {
    let code = answer();
    if code == SUCCESS {
        pinned(|pinned| pinned.insert(pointer as usize, (bytes, false)));
    }
    code
}

/// Lets go of it.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostUnregister(pointer: *mut c_void) -> u32 {
    let code = answer();
    if code != SUCCESS {
        return code;
    }
    match pinned(|pinned| pinned.remove(&(pointer as usize))) {
        Some((_, false)) => SUCCESS,
        _ => INVALID,
    }
}

fn allocate(pointer: *mut u64, bytes: usize) -> u32 {
    let code = answer();
    if code != SUCCESS {
        return code;
    }
    let size = bytes.next_multiple_of(PAGE) as u64;
    // SAFETY: the caller's pointer is valid by the driver's contract.
    unsafe { pointer.write(DEVICE.fetch_add(size, Ordering::Relaxed)) };
    SUCCESS
}

/// Device memory.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemAlloc_v2(pointer: *mut u64, bytes: usize) -> u32 {
    allocate(pointer, bytes)
}

/// Gives it back.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(pointer: u64) -> u32 {
    std::hint::black_box(pointer);
    answer()
}

macro_rules! streams {
    ($($allocate:ident, $free:ident;)*) => {$(
        /// Device memory, in the order of a stream.
        #[unsafe(no_mangle)]
        pub extern "C" fn $allocate(pointer: *mut u64, bytes: usize, _stream: *mut c_void) -> u32 {
            std::hint::black_box(stringify!($allocate));
            allocate(pointer, bytes)
        }

        /// Gives it back.
        #[unsafe(no_mangle)]
        pub extern "C" fn $free(pointer: u64, _stream: *mut c_void) -> u32 {
            std::hint::black_box((stringify!($free), pointer));
            answer()
        }
    )*};
}

streams! {
    cuMemAllocAsync, cuMemFreeAsync;
    cuMemAllocAsync_ptsz, cuMemFreeAsync_ptsz;
}

/// Device memory of a pool, in the order of a stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocFromPoolAsync(
    pointer: *mut u64,
    bytes: usize,
    _pool: *mut c_void,
    _stream: *mut c_void,
) -> u32 {
    allocate(pointer, bytes)
}

/// The same.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocFromPoolAsync_ptsz(
    pointer: *mut u64,
    bytes: usize,
    _pool: *mut c_void,
    _stream: *mut c_void,
) -> u32 {
    allocate(pointer, bytes)
}
