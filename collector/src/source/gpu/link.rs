//! The PCIe link of one GPU: which way its bytes can be counted on this driver, and when that has to be done.

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::PcieUtilCounter;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_PCIE_COUNT_RX_BYTES, NVML_FI_DEV_PCIE_COUNT_TX_BYTES};

use super::average::{Average, Averages};
use super::device::{Meaning, meaning};
use super::pcie::{self, Count, Way};
use crate::clock;
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
    /// By what the GPU averages over the time between two samples.
    Averages,
    /// By looking for 20 ms at a time.
    Windows,
    /// Not at all.
    Not,
}

impl Link {
    /// When its counters have to be read again (CLOCK_MONOTONIC), if that cannot wait for the next round.
    pub fn due(&self) -> Option<u64> {
        let often = self.how == How::Counters && self.is_narrow();
        often.then(|| self.counted.saturating_add(pcie::cadence(self.most)))
    }

    fn is_narrow(&self) -> bool {
        self.ways.iter().any(|way| way.narrow)
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
    pub fn read<'n>(
        &mut self,
        device: &Device<'n>,
        averages: &mut Option<Averages<'n>>,
        watch: &Watch,
        values: &mut Values,
    ) -> Result<Option<String>, NvmlError> {
        let link = |generation, width| pcie::link(values.get(generation)?, values.get(width)?);
        // An idle link is slow, and may have been fast a moment ago.
        let most = link(PcieGenerationMax, PcieWidthMax).max(values.get(PcieLink));
        self.most = most.unwrap_or_else(pcie::fastest);
        if self.how == How::Not {
            return Ok(None);
        }
        match self.take(device, averages, watch) {
            Ok(new) => {
                let (now, most) = (clock::monotonic_ns(), self.most);
                if new {
                    self.ways.iter_mut().for_each(|way| way.rate(now, most));
                }
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

    /// By the best that there is: counters that do not wrap, averages, counters that do, windows. Whether it says anything
    /// new.
    fn take<'n>(
        &mut self,
        device: &Device<'n>,
        averages: &mut Option<Averages<'n>>,
        watch: &Watch,
    ) -> Result<bool, NvmlError> {
        match self.how {
            How::Windows => return self.look(device, watch).map(|()| true),
            How::Averages => match self.average(device, averages, watch) {
                Err(_) if averages.is_none() => {
                    // Counters are met anew.
                    self.ways.iter_mut().for_each(Way::forget);
                    self.how = How::Unknown;
                }
                read => return read,
            },
            _ => {}
        }
        let mut read = self.count(device, watch).map(|()| true);
        if self.is_narrow() || self.how == How::Unknown {
            read = self.average(device, averages, watch).or(read);
        }
        match read {
            Err(_) if self.how == How::Unknown => self.look(device, watch).map(|()| true),
            read => read,
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
        let narrow = self.is_narrow() || counts.iter().any(|it| matches!(it, Count::Narrow(_)));
        if narrow && pcie::cadence(self.most) < OFTEN_NS {
            return Err(NvmlError::NotSupported);
        }
        let most = self.most;
        self.ways.iter_mut().zip(counts).for_each(|(way, count)| way.count(count, now, most));
        (self.counted, self.how) = (now, How::Counters);
        Ok(())
    }

    /// What is averaged, if it says anything new.
    ///
    /// # Errors
    /// Nothing is, and from now on it is not asked for; or the GPU is lost, or NVML is over.
    fn average<'n>(
        &mut self,
        device: &Device<'n>,
        averages: &mut Option<Averages<'n>>,
        watch: &Watch,
    ) -> Result<bool, NvmlError> {
        let read = averages.as_mut().map_or(Err(NvmlError::NotSupported), |them| them.read(device, watch));
        let (now, most) = (clock::monotonic_ns(), self.most);
        match read {
            Ok(Average::Rates(rates)) => {
                self.ways.iter_mut().zip(rates).for_each(|(way, rate)| way.measure(rate, now, most));
            }
            Ok(Average::Begun) => self.ways.iter_mut().for_each(|way| way.begin(now)),
            Ok(Average::Early) => return Ok(false),
            Err(error) => {
                if !matches!(meaning(&error), Meaning::Lost | Meaning::Over) {
                    *averages = None;
                }
                return Err(error);
            }
        }
        self.how = How::Averages;
        Ok(true)
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
