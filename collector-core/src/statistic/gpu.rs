//! Statistics of a GPU, and the holders of its memory. PCIe directions are seen from the host: to the device, and from it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::cgroup::Id;

super::statistics! {
    {
        /// Total memory, in bytes.
        MemoryTotal: Limit = "memory_total",
        /// Memory used by processes, in bytes.
        MemoryUsed: Gauge = "memory_used",
        /// Free memory, in bytes.
        MemoryFree: Gauge = "memory_free",
        /// Memory reserved by driver and firmware, in bytes.
        MemoryReserved: Gauge = "memory_reserved",
        /// Share of time in which a kernel ran, in percent.
        Utilization: Gauge = "utilization",
        /// Share of time in which its memory was read or written, in percent.
        MemoryUtilization: Gauge = "memory_utilization",
        /// Degrees Celsius.
        Temperature: Gauge = "temperature",
        /// Milliwatts.
        Power: Gauge = "power",
        /// The enforced limit, in milliwatts.
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
        /// Reasons for reduced clocks, as bits: see [`REASONS`].
        Throttle: Gauge = "throttle",
        /// Corrected memory errors in the GPU's lifetime.
        EccCorrected: Counter = "ecc_corrected",
        /// Uncorrected memory errors in the GPU's lifetime.
        EccUncorrected: Counter = "ecc_uncorrected",
        /// Memory rows replaced for correctable errors.
        RemappedCorrectable: Counter = "remapped_correctable",
        /// Memory rows replaced for uncorrectable errors.
        RemappedUncorrectable: Counter = "remapped_uncorrectable",
        /// 1 if a row is replaced at the next reset.
        RemapPending: Gauge = "remap_pending",
        /// 1 if a row could not be replaced.
        RemapFailed: Gauge = "remap_failed",
        /// Negotiated generation of the PCIe link.
        PcieGeneration: Gauge = "pcie_generation",
        /// Negotiated lanes of the link.
        PcieWidth: Gauge = "pcie_width",
        /// Highest generation that GPU and slot support.
        PcieGenerationMax: Limit = "pcie_generation_max",
        /// Most lanes that GPU and slot support.
        PcieWidthMax: Limit = "pcie_width_max",
        /// Highest generation that the card itself supports, in whatever slot.
        PcieGenerationCard: Limit = "pcie_generation_card",
        /// Most lanes that the card itself supports.
        PcieWidthCard: Limit = "pcie_width_card",
        /// Bytes per second that the negotiated link carries in each direction.
        PcieLink: Gauge = "pcie_link",
        /// Retries on the link.
        PcieReplays: Counter = "pcie_replays",
        /// Bytes sent to the GPU since the agent first read it.
        HostToDevice: Counter = "host_to_device",
        /// Bytes sent by the GPU since the agent first read it.
        DeviceToHost: Counter = "device_to_host",
        /// The latest rate to the GPU, in bytes per second.
        HostToDeviceRate: Gauge = "host_to_device_rate",
        /// The latest rate from the GPU, in bytes per second.
        DeviceToHostRate: Gauge = "device_to_host_rate",
        /// How its PCIe bytes are measured: an index of [`METHODS`].
        PcieMethod: Gauge = "pcie_method",
        /// 1 if it is divided into MIG devices.
        Mig: Gauge = "mig",
        /// Compute capability in tenths: 89 is 8.9.
        ComputeCapability: Limit = "compute_capability",
        /// The memory node that it is connected to, on a host with several.
        NumaNode: Limit = "numa_node",
    }
}

/// How PCIe bytes are measured: the driver's counters, averages between two samples, windows of 20 ms.
pub const METHODS: [&str; 3] = ["counters", "averages", "windows"];

/// Reasons for reduced clocks: bit and name (`nvmlClocksEventReason*`).
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

/// The reasons that mean that something is wrong: heat, or too little power. The rule GpuThrottled has the same.
pub const THROTTLED: u64 = 0x8 | 0x20 | 0x40 | 0x80;
/// Software that keeps a GPU within its power limit works as intended.
pub const POWER_CAPPED: u64 = 0x4;

/// A GPU, or a MIG device of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// NVML's permanent id.
    pub uuid: Arc<str>,
    /// Its number; for a MIG device the GPU's number and its own: `0:1`.
    pub gpu: Arc<str>,
    pub model: Arc<str>,
    pub driver: Arc<str>,
    /// The uuid of the GPU that a MIG device is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Arc<str>>,
}

// Large like the sample that holds it: on the heap it would be an allocation per round.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// Current figures of a device, in absolute numbers.
    Device { device: Arc<Device>, values: Values },
    /// All current holders of its memory.
    Held { uuid: Arc<str>, holders: Vec<Holder> },
    /// A GPU reported an error.
    Xid {
        uuid: Arc<str>,
        /// XID number.
        code: u64,
    },
    /// It disappeared, or no longer answers.
    Gone { uuid: Arc<str> },
}

/// A process that holds memory of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    pub pid: u32,
    /// Its memory cgroup; absent if the process is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<Id>,
    /// Absent if the driver does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// Memory of one GPU that the victim of an OOM kill held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = HeldMemory)]
pub struct Held {
    pub gpu: Arc<str>,
    pub uuid: Arc<str>,
    /// When it was read, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Memory of the process; absent if it held none, or the driver does not know.
    pub process_bytes: Option<u64>,
    /// Memory of all processes of its workload, including it.
    pub workload_bytes: Option<u64>,
}
