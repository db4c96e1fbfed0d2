//! The PCIe link of one GPU: how its bytes can be counted with this driver, and when its counters must be read.

use std::time::Duration;

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
/// How long counters that cost too much are left alone: the driver may only have been busy.
const RETRY_NS: u64 = 3600 * 1_000_000_000;

/// Readings from which the doctor learns what one costs.
const TRIALS: u32 = 4;

/// One link. Host to device comes first, as everywhere.
#[derive(Debug, Default)]
pub struct Link {
    directions: [Direction; 2],
    method: Method,
    max_rate: u64,
    counted_at: u64,
    implausible: u64,
    /// Until when 32-bit counters are not used, because they cost too much (CLOCK_MONOTONIC, in nanoseconds).
    spared: Option<u64>,
    /// The driver has no windows, so nothing can replace the counters.
    no_windows: bool,
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

/// Bytes per second that the link can carry at most.
fn max_rate(values: &Values) -> u64 {
    let link = |generation, width| pcie::link(values.get(generation)?, values.get(width)?);
    // An idle link is slow now but may have been fast a moment ago.
    link(PcieGenerationMax, PcieWidthMax).max(values.get(PcieLink)).unwrap_or_else(pcie::fastest)
}

impl Method {
    /// Its place in [`METHODS`](collector_core::statistic::gpu::METHODS).
    fn index(self) -> Option<u64> {
        match self {
            Method::Counters => Some(0),
            Method::Averages => Some(1),
            Method::Windows => Some(2),
            Method::Unknown | Method::Unsupported => None,
        }
    }
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

    /// Reads its counters if that is due, and returns the CPU time that it took. The next round reports any error.
    pub fn count_if_due(&mut self, device: &Device<'_>, watch: &Watch) -> Option<u64> {
        self.due().filter(|due| *due <= clock::monotonic_ns())?;
        let before = clock::thread_ns();
        let _ = self.count(device, watch);
        Some(clock::thread_ns() - before)
    }

    /// Its counters cost too much: measures windows instead from now on. Returns whether it can.
    pub fn spare_counters(&mut self) -> bool {
        if self.no_windows {
            return false;
        }
        let now = clock::monotonic_ns();
        self.spared = Some(now.saturating_add(RETRY_NS));
        self.directions.iter_mut().for_each(|direction| direction.begin(now));
        self.method = Method::Windows;
        true
    }

    /// Uses counters again, from the next value on.
    fn resume_counters(&mut self) {
        self.spared = None;
        self.directions.iter_mut().for_each(Direction::forget);
        self.method = Method::Unknown;
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
        self.max_rate = max_rate(values);
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
                values.put(PcieMethod, self.method.index());
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
        if self.spared.is_some_and(|until| until <= clock::monotonic_ns()) {
            self.resume_counters();
        }
        match self.method {
            Method::Windows => match self.sample_window(device, watch) {
                Err(error) if self.spared.is_some() && meaning(&error) == Meaning::Unsupported => {
                    self.no_windows = true;
                    self.resume_counters();
                }
                read => return read.map(|()| true),
            },
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

    /// How bytes are counted with this driver, for the doctor; `budget` is the CPU time per second that counters of 32 bits may take.
    pub fn examine(device: &Device<'_>, values: &Values, budget: Duration) -> Option<String> {
        let mut link = Link { max_rate: max_rate(values), ..Link::default() };
        let watch = Watch::new(Duration::from_secs(3600));
        let counts = link.count(device, &watch).is_ok();
        if counts && !link.is_narrow() {
            return Some("PCIe bytes from counters".into());
        }
        if Averages::new(device).is_some() {
            return Some("PCIe bytes from averages".into());
        }
        if !counts {
            return device
                .pcie_throughput(PcieUtilCounter::Send)
                .ok()
                .map(|_| "PCIe bytes from windows of 20 ms".into());
        }
        let cadence = pcie::cadence(link.max_rate);
        let before = clock::thread_ns();
        for _ in 0..TRIALS {
            // Readings in a row are cheaper than those that the agent does.
            std::thread::sleep(Duration::from_nanos(cadence));
            let _ = link.count(device, &watch);
        }
        let cost = (clock::thread_ns() - before) / u64::from(TRIALS);
        let price = Duration::from_nanos(cost.saturating_mul(1_000_000_000 / cadence.max(1)));
        let costs = format!("counters of 32 bits, which take {:.1} ms of CPU per second", price.as_secs_f64() * 1e3);
        Some(match price <= budget {
            true => format!("PCIe bytes from {costs}"),
            false => format!("PCIe bytes from windows of 20 ms instead of {costs}: more than gpu.pcie_budget"),
        })
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
