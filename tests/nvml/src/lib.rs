//! A `libnvidia-ml.so.1` for hosts without a GPU: the real C interface, as far as Headroom uses it, with answers from a
//! [`scenario`]. Its numbers say nothing about any hardware.
//!
//! The handle of a GPU is its index plus one. For a MIG device, 256 times its own index plus one is added.

mod answer;
mod average;
mod process;
mod scenario;

use std::ffi::{c_char, c_int, c_longlong, c_uint, c_ulonglong};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use answer::*;
use nvml_wrapper_sys::bindings::*;
use scenario::Gpu;

/// Xid events delivered so far.
static DELIVERED: AtomicUsize = AtomicUsize::new(0);

/// Functions that read one value of one GPU: name, type, and field of the scenario.
macro_rules! values {
    ($($name:ident: $type:ty = $answer:expr;)+) => {$(
        /// # Safety
        /// `to` must be valid for a write.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(device: nvmlDevice_t, to: *mut $type) -> Return {
            let answer: fn(&Gpu) -> Option<$type> = $answer;
            let answer = gpu(device, stringify!($name), |gpu| answer(gpu).ok_or(UNSUPPORTED));
            // SAFETY: by the contract of this function.
            unsafe { give(answer, to) }
        }
    )+};
}

values! {
    nvmlDeviceGetUtilizationRates: nvmlUtilization_t =
        |gpu| gpu.utilization.map(|[gpu, memory]| nvmlUtilization_t { gpu, memory });
    nvmlDeviceGetPciInfo_v3: nvmlPciInfo_t = |gpu| gpu.bus_id.as_deref().map(pci_info);
    nvmlDeviceGetPowerUsage: c_uint = |gpu| gpu.power;
    nvmlDeviceGetEnforcedPowerLimit: c_uint = |gpu| gpu.power_limit;
    nvmlDeviceGetTotalEnergyConsumption: c_ulonglong =
        |gpu| gpu.energy.map(|energy| energy.now(format!("{} energy", gpu.uuid)));
    nvmlDeviceGetCurrentClocksThrottleReasons: c_ulonglong = |gpu| gpu.throttle;
    nvmlDeviceGetCurrentClocksEventReasons: c_ulonglong = |gpu| gpu.throttle;
    nvmlDeviceGetCurrPcieLinkGeneration: c_uint = |gpu| gpu.pcie.map(|pcie| pcie.generation);
    nvmlDeviceGetCurrPcieLinkWidth: c_uint = |gpu| gpu.pcie.map(|pcie| pcie.width);
    nvmlDeviceGetMaxPcieLinkGeneration: c_uint = |gpu| gpu.pcie.map(|pcie| pcie.max_generation);
    nvmlDeviceGetMaxPcieLinkWidth: c_uint = |gpu| gpu.pcie.map(|pcie| pcie.max_width);
    nvmlDeviceGetPcieReplayCounter: c_uint = |gpu| gpu.pcie.and_then(|pcie| pcie.replays);
    nvmlDeviceGetMaxMigDeviceCount: c_uint = |gpu| gpu.mig.as_ref().map(|migs| migs.len() as c_uint);
    nvmlDeviceGetGpuInstanceId: c_uint = |gpu| gpu.instance.map(|[instance, _]| instance);
    nvmlDeviceGetComputeInstanceId: c_uint = |gpu| gpu.instance.map(|[_, instance]| instance);
    nvmlDeviceGetMemoryInfo: nvmlMemory_t = |gpu| gpu.memory.map(|memory| nvmlMemory_t {
        total: memory.total,
        free: memory.total - memory.used - memory.reserved,
        // The first version has no field for reserved memory, and counts it as used.
        used: memory.used + memory.reserved,
    });
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> Return {
    result(host("nvmlInit_v2").map(|scenario| LOAD.store(scenario.load + 1, Ordering::Relaxed)))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> Return {
    result(host("nvmlShutdown").map(drop))
}

/// # Safety
/// `to` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(to: *mut c_char, length: c_uint) -> Return {
    let answer = host("nvmlSystemGetDriverVersion").map(|scenario| scenario.driver.clone());
    // SAFETY: by the contract of this function.
    unsafe { give_text(answer, to, length) }
}

/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(to: *mut c_uint) -> Return {
    // SAFETY: by the contract of this function.
    unsafe { give(host("nvmlDeviceGetCount_v2").map(|scenario| scenario.gpus.len() as c_uint), to) }
}

/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(index: c_uint, to: *mut nvmlDevice_t) -> Return {
    let handle = (index as usize + 1) as nvmlDevice_t;
    // SAFETY: by the contract of this function.
    unsafe { give(gpu(handle, "nvmlDeviceGetHandleByIndex_v2", |_| Ok(handle)), to) }
}

/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigDeviceHandleByIndex(
    device: nvmlDevice_t,
    index: c_uint,
    to: *mut nvmlDevice_t,
) -> Return {
    let answer = gpu(device, "nvmlDeviceGetMigDeviceHandleByIndex", |gpu| {
        let found = gpu.mig.as_ref().ok_or(UNSUPPORTED)?.get(index as usize).is_some();
        found.then(|| (device as usize + ((index as usize + 1) << 8)) as nvmlDevice_t).ok_or(NOT_FOUND)
    });
    // SAFETY: by the contract of this function.
    unsafe { give(answer, to) }
}

/// # Safety
/// `to` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUUID(device: nvmlDevice_t, to: *mut c_char, length: c_uint) -> Return {
    // SAFETY: by the contract of this function.
    unsafe { give_text(gpu(device, "nvmlDeviceGetUUID", |gpu| Ok(gpu.uuid.clone())), to, length) }
}

/// # Safety
/// `to` must be valid for writes of `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(device: nvmlDevice_t, to: *mut c_char, length: c_uint) -> Return {
    // SAFETY: by the contract of this function.
    unsafe { give_text(gpu(device, "nvmlDeviceGetName", |gpu| Ok(gpu.name.clone())), to, length) }
}

/// # Safety
/// `to` must be valid for reads and writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMemoryInfo_v2(device: nvmlDevice_t, to: *mut nvmlMemory_v2_t) -> Return {
    // SAFETY: by the contract of this function.
    let version = unsafe { (*to).version };
    let answer = gpu(device, "nvmlDeviceGetMemoryInfo_v2", |gpu| {
        if version as usize != size_of::<nvmlMemory_v2_t>() | 2 << 24 {
            return Err(nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
        }
        let memory = gpu.memory.ok_or(UNSUPPORTED)?;
        let free = memory.total - memory.used - memory.reserved;
        Ok(nvmlMemory_v2_t { version, total: memory.total, reserved: memory.reserved, free, used: memory.used })
    });
    // SAFETY: by the contract of this function.
    unsafe { give(answer, to) }
}

/// # Safety
/// `major` and `minor` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCudaComputeCapability(
    device: nvmlDevice_t,
    major: *mut c_int,
    minor: *mut c_int,
) -> Return {
    let answer = gpu(device, "nvmlDeviceGetCudaComputeCapability", |gpu| gpu.compute_capability.ok_or(UNSUPPORTED));
    // SAFETY: by the contract of this function.
    unsafe {
        match answer {
            Ok([of, and]) => {
                give(Ok(and), minor);
                give(Ok(of), major)
            }
            Err(error) => give(Err(error), major),
        }
    }
}

/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTemperature(device: nvmlDevice_t, sensor: c_uint, to: *mut c_uint) -> Return {
    let answer = gpu(device, "nvmlDeviceGetTemperature", |gpu| gpu.temperature.ok_or(UNSUPPORTED));
    // SAFETY: by the contract of this function.
    unsafe { give(if sensor == 0 { answer } else { Err(INVALID) }, to) }
}

/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetClockInfo(device: nvmlDevice_t, clock: c_uint, to: *mut c_uint) -> Return {
    let answer = gpu(device, "nvmlDeviceGetClockInfo", |gpu| {
        gpu.clocks.ok_or(UNSUPPORTED)?.get(clock as usize).copied().ok_or(INVALID)
    });
    // SAFETY: by the contract of this function.
    unsafe { give(answer, to) }
}

/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEccErrors(
    device: nvmlDevice_t,
    kind: c_uint,
    _counter: c_uint,
    to: *mut c_ulonglong,
) -> Return {
    let answer = gpu(device, "nvmlDeviceGetTotalEccErrors", |gpu| {
        gpu.ecc.ok_or(UNSUPPORTED)?.get(kind as usize).copied().ok_or(INVALID)
    });
    // SAFETY: by the contract of this function.
    unsafe { give(answer, to) }
}

/// # Safety
/// Each pointer must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetRemappedRows(
    device: nvmlDevice_t,
    corrected: *mut c_uint,
    uncorrected: *mut c_uint,
    pending: *mut c_uint,
    failed: *mut c_uint,
) -> Return {
    let answer = gpu(device, "nvmlDeviceGetRemappedRows", |gpu| gpu.remapped.ok_or(UNSUPPORTED));
    result(answer.map(|numbers| {
        for (to, number) in [corrected, uncorrected, pending, failed].into_iter().zip(numbers) {
            // SAFETY: by the contract of this function.
            unsafe { to.write(number) };
        }
    }))
}

/// # Safety
/// Each pointer must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMigMode(
    device: nvmlDevice_t,
    current: *mut c_uint,
    pending: *mut c_uint,
) -> Return {
    let answer = gpu(device, "nvmlDeviceGetMigMode", |gpu| match place(device).1 {
        None => Ok(gpu.mig.is_some().into()),
        Some(_) => Err(UNSUPPORTED),
    });
    result(answer.map(|on: c_uint| {
        // SAFETY: by the contract of this function.
        unsafe { (current.write(on), pending.write(on)) };
    }))
}

/// Measures the link for 20 ms, like the real one, unless the scenario says otherwise.
///
/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPcieThroughput(device: nvmlDevice_t, way: c_uint, to: *mut c_uint) -> Return {
    let answer = gpu(device, "nvmlDeviceGetPcieThroughput", |gpu| {
        let throughput = gpu.pcie.and_then(|pcie| pcie.throughput).ok_or(UNSUPPORTED)?;
        sleep(Duration::from_millis(20));
        throughput.get(way as usize).copied().ok_or(INVALID)
    });
    // SAFETY: by the contract of this function.
    unsafe { give(answer, to) }
}

/// # Safety
/// `values` must be valid for reads and writes of `count` values.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetFieldValues(
    device: nvmlDevice_t,
    count: c_int,
    values: *mut nvmlFieldValue_t,
) -> Return {
    result(gpu(device, "nvmlDeviceGetFieldValues", |gpu| {
        for index in 0..count as usize {
            // SAFETY: by the contract of this function.
            let value = unsafe { &mut *values.add(index) };
            let way = match value.fieldId {
                field_id::NVML_FI_DEV_PCIE_COUNT_TX_BYTES => 0,
                field_id::NVML_FI_DEV_PCIE_COUNT_RX_BYTES => 1,
                _ => usize::MAX,
            };
            let Some(pcie) = gpu.pcie.filter(|pcie| pcie.counters.is_some()) else {
                value.nvmlReturn = UNSUPPORTED;
                continue;
            };
            let Some(counter) = pcie.counters.and_then(|counters| counters.get(way).copied()) else {
                value.nvmlReturn = INVALID;
                continue;
            };
            let number = counter.now(format!("{} {way}", gpu.uuid));
            value.nvmlReturn = nvmlReturn_enum_NVML_SUCCESS;
            value.timestamp = 0 as c_longlong;
            value.value.ullVal = if pcie.bits == 64 { number } else { number & 0xffff_ffff };
            value.valueType = match pcie.bits {
                32 => nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_INT,
                _ => nvmlValueType_enum_NVML_VALUE_TYPE_UNSIGNED_LONG_LONG,
            };
        }
        Ok(())
    }))
}

/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetCreate(to: *mut nvmlEventSet_t) -> Return {
    // SAFETY: by the contract of this function.
    unsafe { give(host("nvmlEventSetCreate").map(|_| ptr::dangling_mut()), to) }
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlEventSetFree(_set: nvmlEventSet_t) -> Return {
    result(host("nvmlEventSetFree").map(drop))
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceRegisterEvents(device: nvmlDevice_t, _types: c_ulonglong, _set: nvmlEventSet_t) -> Return {
    result(gpu(device, "nvmlDeviceRegisterEvents", |_| Ok(())))
}

/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlEventSetWait_v2(_set: nvmlEventSet_t, to: *mut nvmlEventData_t, ms: c_uint) -> Return {
    let until = Instant::now() + Duration::from_millis(ms.into());
    let answer = loop {
        let answer =
            host("nvmlEventSetWait_v2").map(|scenario| scenario.xids.get(DELIVERED.load(Ordering::Relaxed)).copied());
        match answer {
            Err(error) => break Err(error),
            Ok(Some(xid)) => {
                DELIVERED.fetch_add(1, Ordering::Relaxed);
                break Ok(nvmlEventData_t {
                    device: (xid.gpu + 1) as nvmlDevice_t,
                    eventType: nvmlEventTypeXidCriticalError.into(),
                    eventData: xid.code,
                    gpuInstanceId: u32::MAX,
                    computeInstanceId: u32::MAX,
                });
            }
            Ok(None) if Instant::now() >= until => break Err(TIMEOUT),
            Ok(None) => sleep(Duration::from_millis(5)),
        }
    };
    // SAFETY: by the contract of this function.
    unsafe { give(answer, to) }
}

/// A bus address without anything else.
fn pci_info(bus_id: &str) -> nvmlPciInfo_t {
    // SAFETY: numbers and arrays of them, for which zero is a value.
    let mut info: nvmlPciInfo_t = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = info.busId.len() - 1;
    for (to, byte) in info.busId[..room].iter_mut().zip(bus_id.bytes()) {
        *to = byte as c_char;
    }
    info
}
