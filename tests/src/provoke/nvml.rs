//! Calls the NVML functions that the agent uses, and prints a line for each: name, median and maximum time in nanoseconds,
//! and `ok` or the error. For counters of PCIe bytes it also prints a line of `field`, the number, the type and the value.

use std::time::Instant;

use nvml_wrapper::enum_wrappers::device::{Clock, EccCounter, MemoryError, PcieUtilCounter, TemperatureSensor};
use nvml_wrapper::enums::device::SampleValue;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::sys_exports::field_id::{NVML_FI_DEV_PCIE_COUNT_RX_BYTES, NVML_FI_DEV_PCIE_COUNT_TX_BYTES};
use nvml_wrapper::{Device, Nvml};

type Call = fn(&Device<'_>) -> Result<(), NvmlError>;

const FIELDS: [FieldId; 2] = [FieldId(NVML_FI_DEV_PCIE_COUNT_TX_BYTES), FieldId(NVML_FI_DEV_PCIE_COUNT_RX_BYTES)];

const CALLS: [(&str, Call); 20] = [
    ("nvmlDeviceGetMemoryInfo_v2", |device| device.memory_info().map(drop)),
    ("nvmlDeviceGetUtilizationRates", |device| device.utilization_rates().map(drop)),
    ("nvmlDeviceGetTemperature", |device| device.temperature(TemperatureSensor::Gpu).map(drop)),
    ("nvmlDeviceGetPowerUsage", |device| device.power_usage().map(drop)),
    ("nvmlDeviceGetEnforcedPowerLimit", |device| device.enforced_power_limit().map(drop)),
    ("nvmlDeviceGetTotalEnergyConsumption", |device| device.total_energy_consumption().map(drop)),
    ("nvmlDeviceGetClockInfo", |device| device.clock_info(Clock::SM).map(drop)),
    ("nvmlDeviceGetCurrentClocksEventReasons", |device| device.current_throttle_reasons().map(drop)),
    ("nvmlDeviceGetTotalEccErrors", |device| {
        device.total_ecc_errors(MemoryError::Corrected, EccCounter::Aggregate).map(drop)
    }),
    ("nvmlDeviceGetCurrPcieLinkGeneration", |device| device.current_pcie_link_gen().map(drop)),
    ("nvmlDeviceGetCurrPcieLinkWidth", |device| device.current_pcie_link_width().map(drop)),
    ("nvmlDeviceGetMaxPcieLinkGeneration", |device| device.max_pcie_link_gen().map(drop)),
    ("nvmlDeviceGetPcieReplayCounter", |device| device.pcie_replay_counter().map(drop)),
    ("nvmlDeviceGetMigMode", |device| device.mig_mode().map(drop)),
    ("nvmlDeviceGetFieldValues (197, 198)", |device| {
        device.field_values_for(&FIELDS)?.into_iter().try_for_each(|sample| sample?.value.map(drop))
    }),
    ("nvmlDeviceGetPcieThroughput", |device| device.pcie_throughput(PcieUtilCounter::Receive).map(drop)),
    ("nvmlGpmSampleGet", |device| device.gpm_sample().map(drop)),
    ("nvmlDeviceGetComputeRunningProcesses_v3", |device| device.running_compute_processes().map(drop)),
    ("nvmlDeviceGetGraphicsRunningProcesses_v3", |device| device.running_graphics_processes().map(drop)),
    ("nvmlDeviceGetUUID", |device| device.uuid().map(drop)),
];

pub fn run(times: usize, library: Option<&str>) {
    let begun = Instant::now();
    let library = library.unwrap_or("libnvidia-ml.so.1");
    let nvml = Nvml::builder().lib_path(library.as_ref()).init().unwrap();
    println!("nvmlInit_v2\t{0}\t{0}\tok", begun.elapsed().as_nanos());
    measure("nvmlDeviceGetHandleByIndex_v2", times, || nvml.device_by_index(0).map(drop));
    let device = nvml.device_by_index(0).unwrap();
    for (name, call) in CALLS {
        measure(name, times, || call(&device));
    }
    for sample in device.field_values_for(&FIELDS).into_iter().flatten().flatten() {
        let (kind, value) = match sample.value {
            Ok(SampleValue::U64(value)) => ("64 bits", value),
            Ok(SampleValue::U32(value)) => ("32 bits", value.into()),
            Ok(SampleValue::I64(value)) => ("64 bits, signed", value as u64),
            Ok(SampleValue::F64(value)) => ("a fraction", value as u64),
            Err(_) => continue,
        };
        println!("field\t{}\t{kind}\t{value}", sample.field.0);
    }
}

fn measure(name: &str, times: usize, call: impl Fn() -> Result<(), NvmlError>) {
    let mut result = Ok(());
    let mut took: Vec<u128> = (0..times)
        .map(|_| {
            let begun = Instant::now();
            result = call();
            begun.elapsed().as_nanos()
        })
        .collect();
    took.sort_unstable();
    let result = result.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
    println!("{name}\t{}\t{}\t{result}", took[times / 2], took[times - 1]);
}
