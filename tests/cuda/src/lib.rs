//! A stand-in for the CUDA driver's library: the functions that Headroom watches, with their C ABI, without a GPU. Copies
//! move nothing, device memory is only addresses from a range of its own, and a test can make the next call fail.
//!
//! Signatures are those of `cuda.h` (12.x), with its `CUresult`, `CUdeviceptr`, `size_t` and streams.

#![allow(non_snake_case, reason = "the driver's names")]
// Each function has the contract of the driver's: pointers are valid, or never followed.
#![allow(clippy::missing_safety_doc)]

use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// `CUDA_SUCCESS`
const SUCCESS: u32 = 0;
/// `CUDA_ERROR_INVALID_VALUE`
const INVALID: u32 = 1;
/// `CUDA_ERROR_OUT_OF_MEMORY`
const OUT_OF_MEMORY: u32 = 2;

/// Page size.
const PAGE: usize = 4096;

/// Next device address: far from anything that a process maps.
static DEVICE: AtomicU64 = AtomicU64::new(0x0002_0000_0000);
/// Result of the next call.
static FAILURE: AtomicU32 = AtomicU32::new(SUCCESS);
/// Whether threads end inside calls.
static LEAVES: AtomicBool = AtomicBool::new(false);
/// Pinned memory by address: its size, and whether it was allocated here.
static PINNED: Mutex<Option<HashMap<usize, (usize, bool)>>> = Mutex::new(None);

/// Makes the next call return `code`. The real driver has no such function.
#[unsafe(no_mangle)]
pub extern "C" fn stand_in_fail(code: u32) {
    FAILURE.store(code, Ordering::Relaxed);
}

/// From now on a thread ends inside the function that it calls. The real driver has no such function.
#[unsafe(no_mangle)]
pub extern "C" fn stand_in_leave() {
    LEAVES.store(true, Ordering::Relaxed);
}

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_flags: u32) -> u32 {
    answer()
}

/// The only GPU.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> u32 {
    if ordinal != 0 {
        return INVALID;
    }
    // SAFETY: the caller's pointer is valid by the driver's contract.
    unsafe { device.write(0) };
    answer()
}

/// Contexts are null here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut *mut c_void, _device: c_int) -> u32 {
    // SAFETY: the caller's pointer is valid by the driver's contract.
    unsafe { context.write(std::ptr::null_mut()) };
    answer()
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: *mut c_void) -> u32 {
    std::hint::black_box(context);
    answer()
}

/// All work is done already.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> u32 {
    answer()
}

/// Address of a function by its name without a version: how CUDA's runtime finds functions of the driver.
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

/// The result that [`stand_in_fail`] set for this call.
fn answer() -> u32 {
    if LEAVES.load(Ordering::Relaxed) {
        // SAFETY: a system call with a number, which ends this thread and nothing else.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    }
    FAILURE.swap(SUCCESS, Ordering::Relaxed)
}

fn pinned<T>(with: impl FnOnce(&mut HashMap<usize, (usize, bool)>) -> T) -> T {
    with(PINNED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
}

macro_rules! copies {
    ($($name:ident($($argument:ident: $of:ty),*);)*) => {$(
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
        /// An asynchronous copy.
        #[unsafe(no_mangle)]
        pub extern "C" fn $name($($argument: $of),*, bytes: usize, stream: *mut c_void) -> u32 {
            let _ = ($($argument),*, stream);
            let code = finish(stringify!($name), bytes);
            std::hint::black_box(bytes);
            code
        }
    )*};
}

/// Result of a copy. The name keeps the callers different: the linker would fold equal functions into one address. Not
/// inlined and not a tail call, so that the callers begin by saving a register, like real functions.
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
    // SAFETY: the size is not zero; the caller's pointer is valid by the driver's contract.
    unsafe {
        let memory = alloc(layout);
        if memory.is_null() {
            return OUT_OF_MEMORY;
        }
        // Pinned memory is resident.
        memory.write_bytes(0, bytes);
        pointer.write(memory.cast());
        pinned(|pinned| pinned.insert(memory as usize, (bytes, true)));
    }
    SUCCESS
}

/// Calls [`cuMemHostAlloc`], so that one call of the driver happens inside another.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocHost_v2(pointer: *mut *mut c_void, bytes: usize) -> u32 {
    // SAFETY: by the same contract.
    std::hint::black_box(unsafe { cuMemHostAlloc(pointer, bytes, 0) })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(pointer: *mut c_void) -> u32 {
    let code = answer();
    if code != SUCCESS {
        return code;
    }
    let Some((bytes, true)) = pinned(|pinned| pinned.remove(&(pointer as usize))) else { return INVALID };
    let Ok(layout) = Layout::from_size_align(bytes, PAGE) else { return INVALID };
    // SAFETY: allocated with this layout, and removed from `PINNED` only now.
    unsafe { dealloc(pointer.cast(), layout) };
    SUCCESS
}

/// Pins memory of the caller.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostRegister_v2(pointer: *mut c_void, bytes: usize, _flags: u32) -> u32 {
    let code = answer();
    if code == SUCCESS {
        pinned(|pinned| pinned.insert(pointer as usize, (bytes, false)));
    }
    code
}

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

#[unsafe(no_mangle)]
pub extern "C" fn cuMemAlloc_v2(pointer: *mut u64, bytes: usize) -> u32 {
    allocate(pointer, bytes)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(pointer: u64) -> u32 {
    std::hint::black_box(pointer);
    answer()
}

macro_rules! streams {
    ($($allocate:ident, $free:ident;)*) => {$(
        #[unsafe(no_mangle)]
        pub extern "C" fn $allocate(pointer: *mut u64, bytes: usize, _stream: *mut c_void) -> u32 {
            std::hint::black_box(stringify!($allocate));
            allocate(pointer, bytes)
        }

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

#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocFromPoolAsync(
    pointer: *mut u64,
    bytes: usize,
    _pool: *mut c_void,
    _stream: *mut c_void,
) -> u32 {
    allocate(pointer, bytes)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemAllocFromPoolAsync_ptsz(
    pointer: *mut u64,
    bytes: usize,
    _pool: *mut c_void,
    _stream: *mut c_void,
) -> u32 {
    allocate(pointer, bytes)
}
