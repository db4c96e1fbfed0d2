//! Averages between two samples of a GPU (GPM). A sample holds the counters and the time.

use std::ffi::c_uint;
use std::time::Instant;

use nvml_wrapper_sys::bindings::{
    nvmlGpmMetricId_t_NVML_GPM_METRIC_PCIE_RX_PER_SEC as RECEIVED,
    nvmlGpmMetricId_t_NVML_GPM_METRIC_PCIE_TX_PER_SEC as SENT, *,
};

use crate::answer::*;

/// The sample behind a handle.
struct Sample {
    when: Instant,
    /// Bytes sent and received.
    bytes: [u64; 2],
}

/// # Safety
/// `to` must be valid for reads and writes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpmQueryDeviceSupport(device: nvmlDevice_t, to: *mut nvmlGpmSupport_t) -> Return {
    let answer = gpu(device, "nvmlGpmQueryDeviceSupport", |gpu| {
        Ok(c_uint::from(gpu.pcie.is_some_and(|pcie| pcie.averaged.is_some())))
    });
    // SAFETY: by the contract of this function.
    unsafe { give(answer, &raw mut (*to).isSupportedDevice) }
}

/// # Safety
/// `to` must be valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpmSampleAlloc(to: *mut nvmlGpmSample_t) -> Return {
    let answer = host("nvmlGpmSampleAlloc").map(|_| Box::into_raw(Box::<Option<Sample>>::default()));
    // SAFETY: by the contract of this function.
    unsafe { give(answer.map(|sample| sample.cast()), to) }
}

/// # Safety
/// The sample must be allocated and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpmSampleFree(sample: nvmlGpmSample_t) -> Return {
    // SAFETY: by the contract of this function.
    result(host("nvmlGpmSampleFree").map(|_| drop(unsafe { Box::from_raw(sample.cast::<Option<Sample>>()) })))
}

/// # Safety
/// The sample must be allocated and not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpmSampleGet(device: nvmlDevice_t, sample: nvmlGpmSample_t) -> Return {
    let answer = gpu(device, "nvmlGpmSampleGet", |gpu| {
        let counters = gpu.pcie.and_then(|pcie| pcie.averaged).ok_or(UNSUPPORTED)?;
        let [sent, received] = counters;
        let bytes = [(sent, "sent"), (received, "received")];
        let bytes = bytes.map(|(counter, way)| counter.now(format!("{} averaged {way}", gpu.uuid)));
        Ok(Some(Sample { when: Instant::now(), bytes }))
    });
    // SAFETY: by the contract of this function.
    unsafe { give(answer, sample.cast()) }
}

/// Of each metric, the average between the two samples.
///
/// # Safety
/// `to` must be valid for reads and writes, and hold two samples.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlGpmMetricsGet(to: *mut nvmlGpmMetricsGet_t) -> Return {
    result(host("nvmlGpmMetricsGet").and_then(|_| {
        // SAFETY: by the contract of this function.
        let asked = unsafe { &mut *to };
        if asked.version != NVML_GPM_METRICS_GET_VERSION {
            return Err(nvmlReturn_enum_NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
        }
        // SAFETY: by the contract of this function.
        let samples =
            [asked.sample1, asked.sample2].map(|sample| unsafe { (*sample.cast::<Option<Sample>>()).as_ref() });
        let [Some(before), Some(after)] = samples else { return Err(INVALID) };
        let seconds = after.when.duration_since(before.when).as_secs_f64();
        for metric in asked.metrics.iter_mut().take(asked.numMetrics as usize) {
            let way = match metric.metricId {
                SENT => 0,
                RECEIVED => 1,
                _ => {
                    metric.nvmlReturn = UNSUPPORTED;
                    continue;
                }
            };
            metric.nvmlReturn = nvmlReturn_enum_NVML_SUCCESS;
            metric.value = after.bytes[way].wrapping_sub(before.bytes[way]) as f64 / seconds / f64::from(1 << 20);
        }
        Ok(())
    }))
}
