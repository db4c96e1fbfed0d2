//! The lists of processes.

use std::ffi::c_uint;

use nvml_wrapper_sys::bindings::*;

use crate::answer::{Return, SHORT, UNSUPPORTED, gpu, result};
use crate::scenario::{Gpu, Process};

/// Writes a list of processes. Without room it returns only their number.
///
/// # Safety
/// `infos` must have room for `count` entries.
unsafe fn list(
    device: nvmlDevice_t,
    name: &str,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
    of: fn(&Gpu) -> Option<&Vec<Process>>,
) -> Return {
    result(gpu(device, name, |gpu| {
        let own = of(gpu).ok_or(UNSUPPORTED)?.iter().map(|process| (process, gpu.instance));
        // A GPU also lists the processes on its MIG devices.
        let parts = gpu.mig.iter().flatten().flat_map(|mig| of(mig).into_iter().flatten().map(|it| (it, mig.instance)));
        let all: Vec<_> = own.chain(parts).collect();
        // SAFETY: by the contract of this function.
        let room = unsafe { count.replace(all.len() as c_uint) } as usize;
        if room < all.len() {
            return Err(SHORT);
        }
        for (index, (process, instance)) in all.into_iter().enumerate() {
            let [gpu_instance, compute_instance] = instance.unwrap_or([u32::MAX; 2]);
            // SAFETY: `index` is below `count`.
            unsafe {
                infos.add(index).write(nvmlProcessInfo_t {
                    pid: process.pid,
                    usedGpuMemory: process.bytes.unwrap_or(u64::MAX),
                    gpuInstanceId: gpu_instance,
                    computeInstanceId: compute_instance,
                });
            }
        }
        Ok(())
    }))
}

/// # Safety
/// `infos` must have room for `count` entries.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
) -> Return {
    // SAFETY: by the contract of this function.
    unsafe { list(device, "nvmlDeviceGetComputeRunningProcesses_v3", count, infos, |gpu| gpu.processes.as_ref()) }
}

/// # Safety
/// `infos` must have room for `count` entries.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetGraphicsRunningProcesses_v3(
    device: nvmlDevice_t,
    count: *mut c_uint,
    infos: *mut nvmlProcessInfo_t,
) -> Return {
    // SAFETY: by the contract of this function.
    unsafe { list(device, "nvmlDeviceGetGraphicsRunningProcesses_v3", count, infos, |gpu| gpu.graphics.as_ref()) }
}
