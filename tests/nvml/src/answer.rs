//! Answers calls: whether the scenario allows an answer, which device the call is for, and how the answer is written.

use std::ffi::{c_char, c_uint};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nvml_wrapper_sys::bindings::*;

use crate::scenario::{Call, Gpu, Scenario, now};

pub type Return = nvmlReturn_t;
/// An answer, or the error to return.
pub type Answer<T> = Result<T, Return>;

pub const UNINITIALIZED: Return = nvmlReturn_enum_NVML_ERROR_UNINITIALIZED;
pub const INVALID: Return = nvmlReturn_enum_NVML_ERROR_INVALID_ARGUMENT;
pub const UNSUPPORTED: Return = nvmlReturn_enum_NVML_ERROR_NOT_SUPPORTED;
pub const SHORT: Return = nvmlReturn_enum_NVML_ERROR_INSUFFICIENT_SIZE;
pub const NOT_FOUND: Return = nvmlReturn_enum_NVML_ERROR_NOT_FOUND;
pub const TIMEOUT: Return = nvmlReturn_enum_NVML_ERROR_TIMEOUT;

/// `Scenario::load` at the last initialisation, plus one; 0 if there was none.
pub static LOAD: AtomicU64 = AtomicU64::new(0);

/// Keeps the CPU busy.
fn spin(time: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Sleeps, hangs or fails as the scenario says, and returns the scenario.
pub fn behave(call: impl Fn(&Scenario) -> Call) -> Answer<Arc<Scenario>> {
    let begun = Instant::now();
    loop {
        let scenario = now();
        let Call { sleep_ms, spin_ms, hang, error } = call(&scenario);
        if !hang {
            spin(Duration::from_millis(spin_ms));
            sleep(Duration::from_millis(sleep_ms).saturating_sub(begun.elapsed()));
            return if error == 0 { Ok(scenario) } else { Err(error) };
        }
        sleep(Duration::from_millis(5));
    }
}

/// A call for the host.
pub fn host(name: &str) -> Answer<Arc<Scenario>> {
    let scenario = behave(|scenario| scenario.calls.get(name).copied().unwrap_or_default())?;
    if name != "nvmlInit_v2" && LOAD.load(Ordering::Relaxed) != scenario.load + 1 {
        return Err(UNINITIALIZED);
    }
    Ok(scenario)
}

/// Index of the GPU, and of its MIG device.
pub fn place(device: nvmlDevice_t) -> (usize, Option<usize>) {
    let handle = device as usize;
    ((handle & 0xff).wrapping_sub(1), (handle >> 8).checked_sub(1))
}

/// The GPU or MIG device of a handle.
pub fn find(scenario: &Scenario, device: nvmlDevice_t) -> Answer<&Gpu> {
    let (index, mig) = place(device);
    let gpu = scenario.gpus.get(index).ok_or(INVALID)?;
    match mig {
        None => Ok(gpu),
        Some(mig) => gpu.mig.as_ref().and_then(|migs| migs.get(mig)).ok_or(INVALID),
    }
}

/// A call for one GPU.
pub fn gpu<T>(device: nvmlDevice_t, name: &str, answer: impl FnOnce(&Gpu) -> Answer<T>) -> Answer<T> {
    host(name)?;
    let scenario = behave(|scenario| {
        let calls = find(scenario, device).map(|gpu| &gpu.calls);
        calls.ok().and_then(|calls| calls.get(name).or_else(|| calls.get("*"))).copied().unwrap_or_default()
    })?;
    answer(find(&scenario, device)?)
}

pub fn result(answer: Answer<()>) -> Return {
    answer.err().unwrap_or(nvmlReturn_enum_NVML_SUCCESS)
}

/// Writes an answer through the caller's pointer.
///
/// # Safety
/// `to` must be null or valid for a write.
pub unsafe fn give<T>(answer: Answer<T>, to: *mut T) -> Return {
    result(answer.and_then(|value| {
        if to.is_null() {
            return Err(INVALID);
        }
        // SAFETY: by the contract of this function.
        unsafe { to.write(value) };
        Ok(())
    }))
}

/// Writes a string with its NUL.
///
/// # Safety
/// `to` must be valid for writes of `length` bytes.
pub unsafe fn give_text(answer: Answer<String>, to: *mut c_char, length: c_uint) -> Return {
    result(answer.and_then(|text| {
        if text.len() >= length as usize {
            return Err(SHORT);
        }
        // SAFETY: the string and its NUL fit.
        unsafe {
            ptr::copy_nonoverlapping(text.as_ptr().cast(), to, text.len());
            to.add(text.len()).write(0);
        }
        Ok(())
    }))
}
