//! The PCIe link of one GPU: how its bytes can be counted with this driver, and when its counters must be read.

use collector_core::statistic::gpu::{Statistic, Values};
use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::PcieUtilCounter;
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_PCIE_COUNT_RX_BYTES, NVML_FI_DEV_PCIE_COUNT_TX_BYTES};

use super::average::{Average, Averages};
use super::device::{Meaning, meaning};
use super::pcie::{self, Count, Direction};
use crate::clock;
use crate::source::watch::Watch;
use Statistic::*;

/// A counter that would have to be read more often than this is not used.
const MIN_CADENCE_NS: u64 = 10_000_000;

/// One link. Host to device comes first, as everywhere.
#[derive(Debug, Default)]
pub struct Link {
    directions: [Direction; 2],
    method: Method,
    max_rate: u64,
    counted_at: u64,
    implausible: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Method {
    /// Not tried yet.
    #[default]
    Unknown,
    /// The driver's byte counters.
    Counters,
    /// GPM averages between two samples.
    Averages,
    /// Throughput over windows of 20 ms.
    Windows,
    /// Not supported.
    Unsupported,
}

impl Link {
    /// When its counters must be read again (CLOCK_MONOTONIC, in nanoseconds), if that cannot wait for the next round.
    pub fn due(&self) -> Option<u64> {
        let needed = self.method == Method::Counters && self.is_narrow();
        needed.then(|| self.counted_at.saturating_add(pcie::cadence(self.max_rate)))
    }

    fn is_narrow(&self) -> bool {
        self.directions.iter().any(|direction| direction.narrow)
    }

    /// Reads its counters if that is due. The next round reports any error.
    pub fn count_if_due(&mut self, device: &Device<'_>, watch: &Watch) {
        if self.due().is_some_and(|due| due <= clock::monotonic_ns()) {
            let _ = self.count(device, watch);
        }
    }

    /// Adds the totals and rates to the values.
    ///
    /// # Errors
    /// The GPU is lost, or NVML must be restarted.
    pub fn read<'n>(
        &mut self,
        device: &Device<'n>,
        averages: &mut Option<Averages<'n>>,
        watch: &Watch,
        values: &mut Values,
    ) -> Result<Option<String>, NvmlError> {
        let link = |generation, width| pcie::link(values.get(generation)?, values.get(width)?);
        // An idle link is slow now but may have been fast a moment ago.
        let max_rate = link(PcieGenerationMax, PcieWidthMax).max(values.get(PcieLink));
        self.max_rate = max_rate.unwrap_or_else(pcie::fastest);
        if self.method == Method::Unsupported {
            return Ok(None);
        }
        match self.measure(device, averages, watch) {
            Ok(new) => {
                let (now, max_rate) = (clock::monotonic_ns(), self.max_rate);
                if new {
                    self.directions.iter_mut().for_each(|direction| direction.rate(now, max_rate));
                }
                let [to, from] = &self.directions;
                values.set(HostToDevice, to.total);
                values.set(DeviceToHost, from.total);
                values.put(HostToDeviceRate, to.rate);
                values.put(DeviceToHostRate, from.rate);
                Ok(None)
            }
            Err(error) => match meaning(&error) {
                Meaning::Lost | Meaning::Restart => Err(error),
                Meaning::Unsupported => {
                    self.method = if self.method == Method::Counters { Method::Unknown } else { Method::Unsupported };
                    Ok(None)
                }
                Meaning::Failed => Ok(Some(format!("PCIe bytes: {error}"))),
            },
        }
    }

    /// Uses the best method available: counters that do not wrap, averages, counters that wrap, windows. Returns
    /// whether there is new data.
    fn measure<'n>(
        &mut self,
        device: &Device<'n>,
        averages: &mut Option<Averages<'n>>,
        watch: &Watch,
    ) -> Result<bool, NvmlError> {
        match self.method {
            Method::Windows => return self.sample_window(device, watch).map(|()| true),
            Method::Averages => match self.average(device, averages, watch) {
                Err(_) if averages.is_none() => {
                    // The next counter value is a new starting point.
                    self.directions.iter_mut().for_each(Direction::forget);
                    self.method = Method::Unknown;
                }
                read => return read,
            },
            _ => {}
        }
        let mut read = self.count(device, watch).map(|()| true);
        if self.is_narrow() || self.method == Method::Unknown {
            read = self.average(device, averages, watch).or(read);
        }
        match read {
            Err(_) if self.method == Method::Unknown => self.sample_window(device, watch).map(|()| true),
            read => read,
        }
    }

    /// The number of implausible values since the last call.
    pub fn implausible(&mut self) -> u64 {
        let sum = self.directions.iter().map(|direction| direction.implausible).sum();
        sum - std::mem::replace(&mut self.implausible, sum)
    }

    fn count(&mut self, device: &Device<'_>, watch: &Watch) -> Result<(), NvmlError> {
        // The GPU's RX is host to device.
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
                // A signed counter counts up to half the range.
                SampleValue::I64(value) => Count::Wide(value.max(0) as u64),
                SampleValue::F64(_) => return Err(NvmlError::NotSupported),
            };
        }
        let narrow = self.is_narrow() || counts.iter().any(|it| matches!(it, Count::Narrow(_)));
        if narrow && pcie::cadence(self.max_rate) < MIN_CADENCE_NS {
            return Err(NvmlError::NotSupported);
        }
        let max_rate = self.max_rate;
        self.directions.iter_mut().zip(counts).for_each(|(direction, count)| direction.count(count, now, max_rate));
        (self.counted_at, self.method) = (now, Method::Counters);
        Ok(())
    }

    /// Reads the averages; returns whether there is new data.
    ///
    /// # Errors
    /// Averages are not available, and are not tried again; or the GPU is lost, or NVML must be restarted.
    fn average<'n>(
        &mut self,
        device: &Device<'n>,
        averages: &mut Option<Averages<'n>>,
        watch: &Watch,
    ) -> Result<bool, NvmlError> {
        let read = averages.as_mut().map_or(Err(NvmlError::NotSupported), |averages| averages.read(device, watch));
        let (now, max_rate) = (clock::monotonic_ns(), self.max_rate);
        match read {
            Ok(Average::Rates(rates)) => {
                self.directions
                    .iter_mut()
                    .zip(rates)
                    .for_each(|(direction, rate)| direction.measure(rate, now, max_rate));
            }
            Ok(Average::Started) => self.directions.iter_mut().for_each(|direction| direction.begin(now)),
            Ok(Average::TooSoon) => return Ok(false),
            Err(error) => {
                if !matches!(meaning(&error), Meaning::Lost | Meaning::Restart) {
                    *averages = None;
                }
                return Err(error);
            }
        }
        self.method = Method::Averages;
        Ok(true)
    }

    fn sample_window(&mut self, device: &Device<'_>, watch: &Watch) -> Result<(), NvmlError> {
        let max_rate = self.max_rate;
        for (direction, counter) in self.directions.iter_mut().zip([PcieUtilCounter::Receive, PcieUtilCounter::Send]) {
            let kilobytes = watch.call("PCIe throughput", || device.pcie_throughput(counter))?;
            direction.measure(u64::from(kilobytes) * 1000, clock::monotonic_ns(), max_rate);
        }
        self.method = Method::Windows;
        Ok(())
    }
}
