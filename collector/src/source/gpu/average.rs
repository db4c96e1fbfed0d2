//! What a GPU from Hopper on averages over the time between two samples that it is asked for (GPM, GPU Performance
//! Monitoring). It misses nothing and cannot wrap, and is asked once a round: counters of 32 bits would have to be read some
//! thirty times a second, and each reading keeps a CPU busy for up to half a millisecond.

use std::time::Duration;

use nvml_wrapper::Device;
use nvml_wrapper::enums::gpm::GpmMetricId;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::gpm::{GpmSample, gpm_metrics_get};

use crate::clock;
use crate::source::watch::Watch;

/// What the averages are in: MiB per second (nvml.h, `NVML_GPM_METRIC_PCIE_RX_PER_SEC`).
const MEBIBYTE: f64 = 1_048_576.0;

/// The least time from one sample to the next. Those of an H100 are 100 ms apart at least: asked sooner, it averages over
/// another time than the caller takes it for.
const APART: Duration = Duration::from_millis(200);

/// The averages of one GPU.
#[derive(Default)]
pub struct Averages<'n> {
    /// The last sample, and when it was taken (CLOCK_MONOTONIC).
    last: Option<(GpmSample<'n>, u64)>,
}

/// What the averages say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Average {
    /// They begin now.
    Begun,
    /// It is too soon to say.
    Early,
    /// Bytes per second to the GPU and from it, since they last said anything.
    Rates([u64; 2]),
}

impl<'n> Averages<'n> {
    /// `None` if this GPU or driver has none.
    pub fn new(device: &Device<'n>) -> Option<Averages<'n>> {
        // What is let go of has to be freed, and read with the rest.
        let lib = device.nvml().lib();
        let whole = lib.nvmlGpmSampleFree.is_ok() && lib.nvmlGpmSampleGet.is_ok() && lib.nvmlGpmMetricsGet.is_ok();
        let supported = whole && lib.nvmlGpmQueryDeviceSupport.is_ok() && device.gpm_support().unwrap_or(false);
        supported.then(Averages::default)
    }

    /// What went over the link since this was last asked.
    pub fn read(&mut self, device: &Device<'n>, watch: &Watch) -> Result<Average, NvmlError> {
        let now = clock::monotonic_ns();
        if self.last.as_ref().is_some_and(|(_, then)| u128::from(now - then) < APART.as_nanos()) {
            return Ok(Average::Early);
        }
        let sample = watch.call("PCIe averages", || device.gpm_sample())?;
        let Some((before, _)) = &self.last else {
            self.last = Some((sample, now));
            return Ok(Average::Begun);
        };
        // What the GPU receives is what the host sends.
        let ways = [GpmMetricId::PcieRxPerSec, GpmMetricId::PcieTxPerSec];
        let averages = gpm_metrics_get(device.nvml(), before, &sample, &ways)?;
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
