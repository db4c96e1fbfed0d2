//! PCIe throughput from GPM (GPU Performance Monitoring, Hopper and newer): the average between two samples. It misses
//! nothing and cannot wrap, and one sample per round is enough. 32-bit counters would have to be read some thirty times
//! a second, and each read keeps a CPU busy for up to half a millisecond.

use std::time::Duration;

use nvml_wrapper::Device;
use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::{GpmSample, gpm_metrics_get};

use crate::clock;
use crate::source::watch::Watch;

/// Unit of the averages: MiB per second (nvml.h, `NVML_GPM_METRIC_PCIE_RX_PER_SEC`).
const MEBIBYTE: f64 = 1_048_576.0;

/// Minimum time between two samples. An H100 updates its samples every 100 ms at best: sampled sooner, the average
/// covers another time span than the caller assumes.
const MIN_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Default)]
pub struct Averages<'n> {
    /// The last sample and its time (CLOCK_MONOTONIC, in nanoseconds).
    last: Option<(GpmSample<'n>, u64)>,
}

/// The result of one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// First sample: no average yet.
    Started,
    /// Too soon after the last sample.
    TooSoon,
    /// Bytes per second to the GPU and from it, since the last sample.
    Rates([u64; 2]),
}

impl<'n> Averages<'n> {
    /// `None` if this GPU or driver does not support GPM.
    pub fn new(device: &Device<'n>) -> Option<Averages<'n>> {
        // Every call that is needed must exist, including the one that frees a sample.
        let lib = device.nvml().lib();
        let complete = lib.nvmlGpmSampleFree.is_ok() && lib.nvmlGpmSampleGet.is_ok() && lib.nvmlGpmMetricsGet.is_ok();
        let supported = complete && lib.nvmlGpmQueryDeviceSupport.is_ok() && device.gpm_support().unwrap_or(false);
        supported.then(Averages::default)
    }

    /// Takes a sample, and computes the average since the last one.
    pub fn read(&mut self, device: &Device<'n>, watch: &Watch) -> Result<Average, NvmlError> {
        let now = clock::monotonic_ns();
        if self.last.as_ref().is_some_and(|(_, then)| u128::from(now - then) < MIN_INTERVAL.as_nanos()) {
            return Ok(Average::TooSoon);
        }
        let sample = watch.call("PCIe averages", || device.gpm_sample())?;
        let Some((before, _)) = &self.last else {
            self.last = Some((sample, now));
            return Ok(Average::Started);
        };
        // The GPU's RX is host to device.
        let directions = [GpmMetricId::PcieRxPerSec, GpmMetricId::PcieTxPerSec];
        let averages = gpm_metrics_get(device.nvml(), before, &sample, &directions)?;
        self.last = Some((sample, now));
        let mut rates = [0; 2];
        for (rate, average) in rates.iter_mut().zip(averages) {
            let value = average?.value;
            if !value.is_finite() || value < 0.0 {
                return Err(NvmlError::Unknown);
            }
            *rate = (value * MEBIBYTE) as u64;
        }
        Ok(Average::Rates(rates))
    }
}
