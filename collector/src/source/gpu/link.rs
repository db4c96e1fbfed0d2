//! The PCIe link of one GPU: which way its bytes can be counted on this driver, and when that has to be done.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::PcieUtilCounter;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_PCIE_COUNT_RX_BYTES, NVML_FI_DEV_PCIE_COUNT_TX_BYTES};

use super::device::{Meaning, meaning};
use super::pcie::{self, Count, Way};
use crate::source::clock;
use crate::source::watch::Watch;
use crate::statistic::gpu::{Statistic, Values};
use Statistic::*;

/// A counter that wraps in less than twice this is not worth reading that often.
const OFTEN_NS: u64 = 10_000_000;

/// One link. To the GPU comes first, as everywhere.
#[derive(Debug, Default)]
pub struct Link {
    ways: [Way; 2],
    how: How,
    most: u64,
    counted: u64,
    doubtful: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum How {
    /// Not tried yet.
    #[default]
    Unknown,
    /// By the driver's own counters.
    Counters,
    /// By looking for 20 ms at a time.
    Windows,
    /// Not at all.
    Not,
}

impl Link {
    /// When its counters have to be read again (CLOCK_MONOTONIC), if that cannot wait for the next round.
    pub fn due(&self) -> Option<u64> {
        let narrow = self.how == How::Counters && self.ways.iter().any(|way| way.narrow);
        narrow.then(|| self.counted.saturating_add(pcie::cadence(self.most)))
    }

    /// Reads its counters if they have to be. What goes wrong the next round will meet again.
    pub fn count_if_due(&mut self, device: &Device<'_>, watch: &Watch) {
        if self.due().is_some_and(|due| due <= clock::monotonic_ns()) {
            let _ = self.count(device, watch);
        }
    }

    /// What went over it, into the values.
    ///
    /// # Errors
    /// The GPU is lost, or NVML is over.
    pub fn read(
        &mut self,
        device: &Device<'_>,
        watch: &Watch,
        values: &mut Values,
    ) -> Result<Option<String>, NvmlError> {
        let link = |generation, width| pcie::link(values.get(generation)?, values.get(width)?);
        // An idle link is slow, and may have been fast a moment ago.
        let most = link(PcieGenerationMax, PcieWidthMax).max(values.get(PcieLink));
        self.most = most.unwrap_or_else(pcie::fastest);
        let read = match self.how {
            How::Unknown => self.count(device, watch).or_else(|_| self.look(device, watch)),
            How::Counters => self.count(device, watch),
            How::Windows => self.look(device, watch),
            How::Not => return Ok(None),
        };
        match read {
            Ok(()) => {
                let (now, most) = (clock::monotonic_ns(), self.most);
                self.ways.iter_mut().for_each(|way| way.rate(now, most));
                let [to, from] = &self.ways;
                values.set(HostToDevice, to.total);
                values.set(DeviceToHost, from.total);
                values.put(HostToDeviceRate, to.rate);
                values.put(DeviceToHostRate, from.rate);
                Ok(None)
            }
            Err(error) => match meaning(&error) {
                Meaning::Lost | Meaning::Over => Err(error),
                Meaning::Unsupported => {
                    self.how = if self.how == How::Counters { How::Unknown } else { How::Not };
                    Ok(None)
                }
                Meaning::Failed => Ok(Some(format!("PCIe bytes: {error}"))),
            },
        }
    }

    /// What could not be, since this was last asked.
    pub fn doubtful(&mut self) -> u64 {
        let sum = self.ways.iter().map(|way| way.doubtful).sum();
        sum - std::mem::replace(&mut self.doubtful, sum)
    }

    fn count(&mut self, device: &Device<'_>, watch: &Watch) -> Result<(), NvmlError> {
        // What the GPU receives is what the host sends.
        let fields = [FieldId(NVML_FI_DEV_PCIE_COUNT_RX_BYTES), FieldId(NVML_FI_DEV_PCIE_COUNT_TX_BYTES)];
        let samples = watch.call("PCIe counters", || device.field_values_for(&fields))?;
        let now = clock::monotonic_ns();
        let mut counts = [Count::Wide(0); 2];
        let mut samples = samples.into_iter();
        for count in &mut counts {
            let sample = samples.next().ok_or(NvmlError::NotFound)??;
            *count = match sample.value? {
                SampleValue::U64(value) => Count::Wide(value),
                SampleValue::U32(value) => Count::Narrow(value),
                // A signed counter counts up to half of it.
                SampleValue::I64(value) => Count::Wide(value.max(0) as u64),
                SampleValue::F64(_) => return Err(NvmlError::NotSupported),
            };
        }
        let narrow = self.ways.iter().any(|way| way.narrow) || counts.iter().any(|it| matches!(it, Count::Narrow(_)));
        if narrow && pcie::cadence(self.most) < OFTEN_NS {
            return Err(NvmlError::NotSupported);
        }
        let most = self.most;
        self.ways.iter_mut().zip(counts).for_each(|(way, count)| way.count(count, now, most));
        (self.counted, self.how) = (now, How::Counters);
        Ok(())
    }

    fn look(&mut self, device: &Device<'_>, watch: &Watch) -> Result<(), NvmlError> {
        let most = self.most;
        for (way, counter) in self.ways.iter_mut().zip([PcieUtilCounter::Receive, PcieUtilCounter::Send]) {
            let kilobytes = watch.call("PCIe throughput", || device.pcie_throughput(counter))?;
            way.measure(u64::from(kilobytes) * 1000, clock::monotonic_ns(), most);
        }
        self.how = How::Windows;
        Ok(())
    }
}
