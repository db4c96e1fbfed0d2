//! GPUs: what NVML says of each, what goes over its PCIe link, and whose its memory is.

use std::fmt;

use super::row::{Emit, Kind, Metric, Unit, Value, WORKLOAD};
use crate::statistic::gpu::{REASONS, Statistic};
use crate::view::View;
use Statistic::*;

const GPU: &[&str] = &["gpu", "uuid"];
const DIRECTION: &[&str] = &["gpu", "uuid", "direction"];
/// A GPU that is busy for as much of the time needs its link.
const BUSY_PERCENT: u64 = 50;
const HOST_TO_DEVICE: &str = "host_to_device";
const DEVICE_TO_HOST: &str = "device_to_host";

/// Its memory by workload.
const BY_WORKLOAD: &[&str] = &{
    let [workload, namespace, pod, container] = WORKLOAD;
    [workload, namespace, pod, container, "gpu", "uuid"]
};

/// Which there are.
pub const INFO: Metric = Metric {
    name: "headroom_gpu_info",
    kind: Kind::Info,
    unit: None,
    help: "The GPUs that NVML tells of, and their MIG devices, each with the GPU that it is a part of.",
    labels: &["gpu", "uuid", "model", "driver", "parent"],
    needs: &[],
    read: |view, emit| {
        for gpu in view.gpus.iter() {
            let parent = gpu.device.parent.as_deref().unwrap_or_default();
            emit.info(&[&gpu.device.gpu, &gpu.device.uuid, &gpu.device.model, &gpu.device.driver, parent])?;
        }
        Ok(())
    },
};

/// Memory.
pub const MEMORY: Metric = Metric {
    name: "headroom_gpu_memory_bytes",
    kind: Kind::Gauge,
    unit: Some(Unit::Bytes),
    help: "Memory of the GPU by state: total is the sum of used, free and reserved; what the driver does not tell apart is in used. A MIG device's is a part of its GPU's.",
    labels: &["gpu", "uuid", "state"],
    needs: &[],
    read: |view, emit| {
        let states = [("total", MemoryTotal), ("used", MemoryUsed), ("free", MemoryFree), ("reserved", MemoryReserved)];
        each(view, emit, &states, Value::Int)
    },
};

/// How full.
pub const MEMORY_USED: Metric = Metric {
    read: |view, emit| {
        for gpu in view.gpus.iter() {
            let (Some(used), Some(free)) = (gpu.values.get(MemoryUsed), gpu.values.get(MemoryFree)) else { continue };
            if let all @ 1.. = used.saturating_add(free) {
                emit.gauge(&[&gpu.device.gpu, &gpu.device.uuid], Value::Float(used as f64 / all as f64))?;
            }
        }
        Ok(())
    },
    ..gauge(
        "headroom_gpu_memory_used_ratio",
        "The share of the GPU's memory that is used, of what can be: used / (used + free).",
    )
};

/// Time with anything running.
pub const UTILIZATION: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Utilization)], |percent| Value::Float(percent as f64 / 100.0)),
    ..gauge(
        "headroom_gpu_utilization_ratio",
        "Share of the last moments in which anything ran on the GPU; says nothing of how much of it was busy.",
    )
};

/// Time with memory in use.
pub const MEMORY_UTILIZATION: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", MemoryUtilization)], |percent| Value::Float(percent as f64 / 100.0)),
    ..gauge(
        "headroom_gpu_memory_utilization_ratio",
        "Share of the last moments in which the GPU's memory was read or written; not how full it is.",
    )
};

/// Temperature.
pub const TEMPERATURE: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Temperature)], Value::Int),
    ..gauge("headroom_gpu_temperature_celsius", "Temperature of the GPU.")
};

/// Power.
pub const POWER: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Power)], thousandth),
    ..gauge("headroom_gpu_power_watts", "Power that the GPU draws.")
};

/// The limit on it.
pub const POWER_LIMIT: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", PowerLimit)], thousandth),
    ..gauge("headroom_gpu_power_limit_watts", "The power limit that holds for the GPU.")
};

/// Energy.
pub const ENERGY: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Energy)], thousandth),
    ..counter("headroom_gpu_energy_joules_total", "Energy that the GPU used since the driver was loaded.")
};

/// Clocks.
pub const CLOCK: Metric = Metric {
    labels: &["gpu", "uuid", "clock"],
    read: |view, emit| {
        let clocks = [("graphics", ClockGraphics), ("sm", ClockSm), ("memory", ClockMemory), ("video", ClockVideo)];
        each(view, emit, &clocks, Value::Int)
    },
    ..gauge("headroom_gpu_clock_hertz", "The GPU's clocks as they are now.")
};

/// What keeps clocks down.
pub const THROTTLE: Metric = Metric {
    labels: &["gpu", "uuid", "reason"],
    read: |view, emit| {
        for gpu in view.gpus.iter() {
            let Some(bits) = gpu.values.get(Throttle) else { continue };
            for (bit, reason) in REASONS {
                let holds = u64::from(bits & bit != 0);
                emit.gauge(&[&gpu.device.gpu, &gpu.device.uuid, reason], Value::Int(holds))?;
            }
        }
        Ok(())
    },
    ..gauge("headroom_gpu_throttle", "Whether this keeps the GPU's clocks down now.")
};

/// Memory errors.
pub const ECC_ERRORS: Metric = Metric {
    labels: &["gpu", "uuid", "kind"],
    read: |view, emit| each(view, emit, &[("corrected", EccCorrected), ("uncorrected", EccUncorrected)], Value::Int),
    ..counter("headroom_gpu_ecc_errors_total", "Memory errors in the GPU's life, by whether they could be corrected.")
};

/// Replaced rows.
pub const REMAPPED_ROWS: Metric = Metric {
    labels: &["gpu", "uuid", "kind"],
    read: |view, emit| {
        let kinds = [("correctable", RemappedCorrectable), ("uncorrectable", RemappedUncorrectable)];
        each(view, emit, &kinds, Value::Int)
    },
    ..counter(
        "headroom_gpu_remapped_rows_total",
        "Rows of the GPU's memory that were replaced by spare ones, by the kind of their errors.",
    )
};

/// A row waits.
pub const REMAP_PENDING: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", RemapPending)], Value::Int),
    ..gauge(
        "headroom_gpu_row_remap_pending",
        "Whether a row of the GPU's memory will be replaced when the GPU is reset.",
    )
};

/// A row could not be replaced.
pub const REMAP_FAILED: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", RemapFailed)], Value::Int),
    ..gauge("headroom_gpu_row_remap_failed", "Whether a row of the GPU's memory could not be replaced.")
};

/// Errors.
pub const XID_ERRORS: Metric = Metric {
    labels: &["gpu", "uuid", "xid"],
    read: |view, emit| {
        for (uuid, xids) in view.gpus.xids() {
            for (code, (created, count)) in &xids.codes {
                emit.counter(&[&xids.gpu, uuid, itoa::Buffer::new().format(*code)], Value::Int(*count), *created)?;
            }
        }
        Ok(())
    },
    ..counter(
        "headroom_gpu_xid_errors_total",
        "Critical errors that the driver reported of the GPU while the agent ran, by NVIDIA's number (XID); there is no series before the first.",
    )
};

/// Whether it is divided.
pub const MIG: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Mig)], Value::Int),
    ..gauge("headroom_gpu_mig", "Whether the GPU is divided into MIG devices.")
};

/// Bytes over PCIe.
pub const PCIE_BYTES: Metric = Metric {
    unit: Some(Unit::Bytes),
    labels: DIRECTION,
    read: |view, emit| each(view, emit, &[(HOST_TO_DEVICE, HostToDevice), (DEVICE_TO_HOST, DeviceToHost)], Value::Int),
    ..counter(
        "headroom_gpu_pcie_bytes_total",
        "Bytes over the GPU's PCIe link since the agent met it, by direction as the host sees it: host_to_device is what the GPU received. By the driver's own counters; where they wrap at 32 bits, by what the GPU itself averages (Hopper and newer); where there is neither, 20 ms in every gpu.interval are measured and taken for the whole of it.",
    )
};

/// What the link can do.
pub const PCIE_LINK: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", PcieLink)], Value::Int),
    ..gauge(
        "headroom_gpu_pcie_link_bytes_per_second",
        "What the GPU's PCIe link carries in each direction, by the generation and width negotiated now, packets' headers included. An idle link goes down to a lower generation.",
    )
};

/// Share of it.
pub const PCIE_LINK_USED: Metric = Metric {
    labels: DIRECTION,
    read: |view, emit| {
        for gpu in view.gpus.iter() {
            let Some(link) = gpu.values.get(PcieLink).filter(|link| *link > 0) else { continue };
            for (direction, rate) in [(HOST_TO_DEVICE, HostToDeviceRate), (DEVICE_TO_HOST, DeviceToHostRate)] {
                let Some(rate) = gpu.values.get(rate) else { continue };
                // A link that went down since then was faster while it carried that.
                let share = (rate as f64 / link as f64).min(1.0);
                emit.gauge(&[&gpu.device.gpu, &gpu.device.uuid, direction], Value::Float(share))?;
            }
        }
        Ok(())
    },
    ..gauge(
        "headroom_gpu_pcie_link_used_ratio",
        "Share of the negotiated PCIe link that was in use in the last gpu.interval, by direction as the host sees it.",
    )
};

/// What is left of it while it is needed.
pub const PCIE_BUSY_LINK: Metric = Metric {
    read: |view, emit| {
        for gpu in view.gpus.iter() {
            let value = |statistic| gpu.values.get(statistic);
            let link = |generation, width| Some(value(width)? << value(generation)?.min(32));
            let (Some(now), Some(most)) = (link(PcieGeneration, PcieWidth), link(PcieGenerationMax, PcieWidthMax))
            else {
                continue;
            };
            let busy = value(Utilization).is_some_and(|percent| percent >= BUSY_PERCENT);
            if busy && most > 0 {
                let share = (now as f64 / most as f64).min(1.0);
                emit.gauge(&[&gpu.device.gpu, &gpu.device.uuid], Value::Float(share))?;
            }
        }
        Ok(())
    },
    ..gauge(
        "headroom_gpu_pcie_busy_link_ratio",
        "What the PCIe link carries as it is negotiated now, as a share of what GPU and slot can have, each generation counted as twice the one before; only while the GPU is at least half busy, for an idle link goes down by design.",
    )
};

/// Generation.
pub const PCIE_GENERATION: Metric = Metric {
    labels: &["gpu", "uuid", "state"],
    read: |view, emit| each(view, emit, &[("current", PcieGeneration), ("max", PcieGenerationMax)], Value::Int),
    ..gauge(
        "headroom_gpu_pcie_link_generation",
        "Generation of the GPU's PCIe link: as negotiated now, and the highest that GPU and slot can have.",
    )
};

/// Width.
pub const PCIE_WIDTH: Metric = Metric {
    labels: &["gpu", "uuid", "state"],
    read: |view, emit| each(view, emit, &[("current", PcieWidth), ("max", PcieWidthMax)], Value::Int),
    ..gauge(
        "headroom_gpu_pcie_link_width",
        "Lanes of the GPU's PCIe link: as negotiated now, and the most that GPU and slot can have.",
    )
};

/// Retries.
pub const PCIE_REPLAYS: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", PcieReplays)], Value::Int),
    ..counter("headroom_gpu_pcie_replays_total", "Retries on the GPU's PCIe link, by the driver's own count.")
};

/// Whose memory.
pub const WORKLOAD_MEMORY: Metric = Metric {
    name: "headroom_workload_gpu_memory_bytes",
    kind: Kind::Gauge,
    unit: Some(Unit::Bytes),
    help: "Memory of the GPU that the workload's processes hold, as the driver lists them; absent if it does not know it of one of them. Processes whose workload is not known are other.",
    labels: BY_WORKLOAD,
    needs: &[],
    read: |view, emit| {
        for gpu in view.gpus.iter() {
            for (workload, bytes) in gpu.holders(&view.workloads).into_values() {
                let Some(bytes) = bytes else { continue };
                let [name, namespace, pod, container] = workload.labels();
                let labels = [name, namespace, pod, container, &gpu.device.gpu, &gpu.device.uuid];
                emit.gauge(&labels, Value::Int(bytes))?;
            }
        }
        Ok(())
    },
};

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, unit: None, help, labels: GPU, needs: &[], read: |_, _| Ok(()) }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { kind: Kind::Counter, ..gauge(name, help) }
}

fn thousandth(number: u64) -> Value {
    Value::Float(number as f64 / 1000.0)
}

/// A series for each of these that is known, with the value of the last label if there is one.
fn each(view: &View, emit: &mut Emit<'_>, series: &[(&str, Statistic)], value: fn(u64) -> Value) -> fmt::Result {
    let kind = emit.metric().kind;
    let labels = emit.metric().labels.len();
    for gpu in view.gpus.iter() {
        for (label, statistic) in series {
            let Some(number) = gpu.values.get(*statistic) else { continue };
            // When the driver's own counters began is not known.
            let created = if matches!(statistic, HostToDevice | DeviceToHost) { gpu.created } else { 0 };
            let all = [&*gpu.device.gpu, &*gpu.device.uuid, label];
            match kind {
                Kind::Counter => emit.counter(&all[..labels], value(number), created)?,
                _ => emit.gauge(&all[..labels], value(number))?,
            }
        }
    }
    Ok(())
}
