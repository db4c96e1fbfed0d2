//! What is read of a GPU, and who holds its memory. PCIe is seen from the host: to the device, and from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cgroup::Id;

super::statistics! {
    /// One statistic of a GPU.
    {
        /// Its memory, in bytes.
        MemoryTotal: Limit = "memory_total",
        /// Of that, what processes have, in bytes.
        MemoryUsed: Gauge = "memory_used",
        /// What nobody has, in bytes.
        MemoryFree: Gauge = "memory_free",
        /// What the driver and the firmware keep, in bytes.
        MemoryReserved: Gauge = "memory_reserved",
        /// Share of the time in which anything ran, in percent.
        Utilization: Gauge = "utilization",
        /// Share of the time in which its memory was read or written, in percent.
        MemoryUtilization: Gauge = "memory_utilization",
        /// Degrees Celsius.
        Temperature: Gauge = "temperature",
        /// Milliwatts.
        Power: Gauge = "power",
        /// The limit that holds, in milliwatts.
        PowerLimit: Limit = "power_limit",
        /// Millijoules since the driver was loaded.
        Energy: Counter = "energy",
        /// Graphics clock, in hertz.
        ClockGraphics: Gauge = "clock_graphics",
        /// Clock of the streaming multiprocessors, in hertz.
        ClockSm: Gauge = "clock_sm",
        /// Memory clock, in hertz.
        ClockMemory: Gauge = "clock_memory",
        /// Video clock, in hertz.
        ClockVideo: Gauge = "clock_video",
        /// What keeps the clocks down, as bits: see [`REASONS`].
        Throttle: Gauge = "throttle",
        /// Memory errors corrected in the GPU's life.
        EccCorrected: Counter = "ecc_corrected",
        /// Memory errors that could not be.
        EccUncorrected: Counter = "ecc_uncorrected",
        /// Rows of memory replaced for correctable errors.
        RemappedCorrectable: Counter = "remapped_correctable",
        /// Rows of memory replaced for uncorrectable errors.
        RemappedUncorrectable: Counter = "remapped_uncorrectable",
        /// 1 if a row waits to be replaced at the next reset.
        RemapPending: Gauge = "remap_pending",
        /// 1 if one could not be replaced.
        RemapFailed: Gauge = "remap_failed",
        /// Generation of the PCIe link, as negotiated now.
        PcieGeneration: Gauge = "pcie_generation",
        /// Lanes of the link, as negotiated now.
        PcieWidth: Gauge = "pcie_width",
        /// The highest generation that GPU and slot can have.
        PcieGenerationMax: Limit = "pcie_generation_max",
        /// The most lanes that they can have.
        PcieWidthMax: Limit = "pcie_width_max",
        /// Bytes per second that the negotiated link carries in each direction.
        PcieLink: Gauge = "pcie_link",
        /// Retries on the link.
        PcieReplays: Counter = "pcie_replays",
        /// Bytes sent to the GPU since it was met.
        HostToDevice: Counter = "host_to_device",
        /// Bytes that the GPU sent since it was met.
        DeviceToHost: Counter = "device_to_host",
        /// The latest rate to the GPU, in bytes per second.
        HostToDeviceRate: Gauge = "host_to_device_rate",
        /// The latest rate from the GPU, in bytes per second.
        DeviceToHostRate: Gauge = "device_to_host_rate",
        /// 1 if it is divided into MIG devices.
        Mig: Gauge = "mig",
    }
}

/// What keeps clocks down: the bit and its name (`nvmlClocksEventReason*`).
pub const REASONS: [(u64, &str); 9] = [
    (0x1, "idle"),
    (0x2, "applications_clocks_setting"),
    (0x4, "sw_power_cap"),
    (0x8, "hw_slowdown"),
    (0x10, "sync_boost"),
    (0x20, "sw_thermal_slowdown"),
    (0x40, "hw_thermal_slowdown"),
    (0x80, "hw_power_brake_slowdown"),
    (0x100, "display_clock_setting"),
];

/// Which GPU, or MIG device of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// What NVML knows it by, for ever.
    pub uuid: Arc<str>,
    /// Its number; of a MIG device the GPU's number and its own: `0:1`.
    pub gpu: Arc<str>,
    /// The model.
    pub model: Arc<str>,
    /// The driver's version.
    pub driver: Arc<str>,
    /// The GPU that a MIG device is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Arc<str>>,
}

/// What is read of GPUs.
// As in the sample that it is a part of: on the heap each would be an allocation a round.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// What one says now, in absolute numbers.
    Device {
        /// Which.
        device: Arc<Device>,
        /// The numbers.
        values: Values,
    },
    /// Who holds its memory now: all of them.
    Held {
        /// Whose memory.
        uuid: Arc<str>,
        /// By process.
        holders: Vec<Holder>,
    },
    /// An error was reported.
    Xid {
        /// By which.
        uuid: Arc<str>,
        /// Its number in NVIDIA's list.
        code: u64,
    },
    /// It is not there any more, or says nothing.
    Gone {
        /// Which.
        uuid: Arc<str>,
    },
}

/// A process that holds memory of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// Its id.
    pub pid: u32,
    /// The memory cgroup that it is in; absent if it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// How much; absent if the driver does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What the victim of a kill held of one GPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    /// The GPU's number.
    pub gpu: Arc<str>,
    /// Its uuid.
    pub uuid: Arc<str>,
    /// When that was read, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// What the process held; absent if it held none, or the driver does not know.
    pub process_bytes: Option<u64>,
    /// What all processes of its workload held, it included.
    pub workload_bytes: Option<u64>,
}
