//! One GPU or MIG device: the table of values that are queried, and what each error means.

use collector_core::statistic::gpu::{Statistic, Values};
use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, TemperatureSensor};
use nvml_wrapper::error::{NvmlError, nvml_try};
use nvml_wrapper_sys::bindings::nvmlMemory_t;

use super::pcie;
use crate::source::watch::Watch;
use Statistic::*;

type Query = fn(&Device<'_>, &mut Values) -> Result<(), NvmlError>;

/// The queries, by the names that the doctor shows.
const QUERIES: [(&str, Query); 19] = [
    ("memory", memory),
    ("utilization", |device, values| {
        let rates = device.utilization_rates()?;
        values.set(Utilization, rates.gpu.into());
        values.set(MemoryUtilization, rates.memory.into());
        Ok(())
    }),
    ("temperature", |device, values| set(values, Temperature, device.temperature(TemperatureSensor::Gpu)?.into())),
    ("power", |device, values| set(values, Power, device.power_usage()?.into())),
    ("power limit", |device, values| set(values, PowerLimit, device.enforced_power_limit()?.into())),
    ("energy", |device, values| set(values, Energy, device.total_energy_consumption()?)),
    ("graphics clock", |device, values| clock(device, values, Clock::Graphics, ClockGraphics)),
    ("SM clock", |device, values| clock(device, values, Clock::SM, ClockSm)),
    ("memory clock", |device, values| clock(device, values, Clock::Memory, ClockMemory)),
    ("video clock", |device, values| clock(device, values, Clock::Video, ClockVideo)),
    ("throttle reasons", |device, values| set(values, Throttle, device.current_throttle_reasons()?.bits())),
    ("corrected ECC errors", |device, values| {
        set(values, EccCorrected, device.total_ecc_errors(MemoryError::Corrected, EccCounter::Aggregate)?)
    }),
    ("uncorrected ECC errors", |device, values| {
        set(values, EccUncorrected, device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Aggregate)?)
    }),
    ("remapped rows", remapped),
    ("PCIe link", |device, values| {
        let (generation, width) = (device.current_pcie_link_gen()?.into(), device.current_pcie_link_width()?.into());
        values.set(PcieGeneration, generation);
        values.set(PcieWidth, width);
        values.put(PcieLink, pcie::link(generation, width));
        Ok(())
    }),
    ("fastest PCIe link", |device, values| {
        values.set(PcieGenerationMax, device.max_pcie_link_gen()?.into());
        values.set(PcieWidthMax, device.max_pcie_link_width()?.into());
        Ok(())
    }),
    ("PCIe replays", |device, values| set(values, PcieReplays, device.pcie_replay_counter()?.into())),
    ("MIG", |device, values| set(values, Mig, device.mig_mode()?.current.into())),
    ("compute capability", |device, values| {
        let version = device.cuda_compute_capability()?;
        if let (Ok(major), Ok(minor)) = (u64::try_from(version.major), u64::try_from(version.minor)) {
            values.set(ComputeCapability, major * 10 + minor);
        }
        Ok(())
    }),
];

fn set(values: &mut Values, statistic: Statistic, value: u64) -> Result<(), NvmlError> {
    values.set(statistic, value);
    Ok(())
}

fn clock(device: &Device<'_>, values: &mut Values, clock: Clock, statistic: Statistic) -> Result<(), NvmlError> {
    set(values, statistic, u64::from(device.clock_info(clock)?) * 1_000_000)
}

/// Older drivers support only version 1 of the call, in which reserved memory counts as used.
fn memory(device: &Device<'_>, values: &mut Values) -> Result<(), NvmlError> {
    let (total, used, free) = match device.memory_info() {
        Ok(memory) => {
            values.set(MemoryReserved, memory.reserved);
            (memory.total, memory.used, memory.free)
        }
        Err(NvmlError::FailedToLoadSymbol(_) | NvmlError::UnexpectedVariant(_)) => {
            let call = device.nvml().lib().nvmlDeviceGetMemoryInfo.as_ref().map_err(|_| NvmlError::FunctionNotFound)?;
            let mut memory = nvmlMemory_t { total: 0, free: 0, used: 0 };
            // SAFETY: the handle is the device's, and the pointers are valid for writing.
            nvml_try(unsafe { call(device.handle(), &mut memory) })?;
            (memory.total, memory.used, memory.free)
        }
        Err(error) => return Err(error),
    };
    values.set(MemoryTotal, total);
    values.set(MemoryUsed, used);
    values.set(MemoryFree, free);
    Ok(())
}

/// nvml-wrapper has no wrapper for this call.
fn remapped(device: &Device<'_>, values: &mut Values) -> Result<(), NvmlError> {
    let call = device.nvml().lib().nvmlDeviceGetRemappedRows.as_ref().map_err(|_| NvmlError::FunctionNotFound)?;
    let (mut corrected, mut uncorrected, mut pending, mut failed) = (0, 0, 0, 0);
    // SAFETY: the handle is the device's, and the pointers are valid for writing.
    nvml_try(unsafe { call(device.handle(), &mut corrected, &mut uncorrected, &mut pending, &mut failed) })?;
    let numbers = [corrected, uncorrected, pending, failed];
    let statistics = [RemappedCorrectable, RemappedUncorrectable, RemapPending, RemapFailed];
    statistics.into_iter().zip(numbers).for_each(|(statistic, number)| values.set(statistic, number.into()));
    Ok(())
}

/// How to treat an NVML error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// This device or driver does not provide the value.
    Unsupported,
    /// The value could not be read this time.
    Failed,
    /// This GPU is lost.
    Lost,
    /// NVML must be restarted.
    Restart,
}

pub fn meaning(error: &NvmlError) -> Meaning {
    match error {
        NvmlError::NotSupported
        | NvmlError::FailedToLoadSymbol(_)
        | NvmlError::FunctionNotFound
        | NvmlError::NoPermission
        | NvmlError::InvalidArg
        | NvmlError::NotFound
        | NvmlError::NoData
        | NvmlError::UnexpectedVariant(_)
        | NvmlError::VgpuEccNotSupported => Meaning::Unsupported,
        NvmlError::GpuLost | NvmlError::ResetRequired => Meaning::Lost,
        NvmlError::Uninitialized
        | NvmlError::DriverNotLoaded
        | NvmlError::LibRmVersionMismatch
        | NvmlError::LibraryNotFound => Meaning::Restart,
        _ => Meaning::Failed,
    }
}

/// Reads every value. Values that are not supported or could not be read are absent; returns the reason of the first
/// that could not be read.
///
/// # Errors
/// The GPU is lost, or NVML must be restarted.
pub fn read(device: &Device<'_>, watch: &Watch, values: &mut Values) -> Result<Option<String>, NvmlError> {
    let mut failed = None;
    for (name, query) in QUERIES {
        let Err(error) = watch.call(name, || query(device, values)) else { continue };
        match meaning(&error) {
            Meaning::Unsupported => {}
            Meaning::Failed => failed = failed.or_else(|| Some(format!("{name}: {error}"))),
            Meaning::Lost | Meaning::Restart => return Err(error),
        }
    }
    Ok(failed)
}

/// The values of this GPU, and those that it does not provide, with the reason.
pub fn examine(device: &Device<'_>) -> (Values, Vec<String>) {
    let mut values = Values::new();
    let query =
        |(name, query): (&str, Query)| query(device, &mut values).err().map(|error| format!("{name} ({error})"));
    let unsupported = QUERIES.into_iter().filter_map(query).collect();
    (values, unsupported)
}
