//! GPUs: what NVML reports for each, the traffic on its PCIe link, and which workloads hold its memory.

use std::fmt;

use super::row::{Detail, Emit, Kind, Metric, Unit, Value, WORKLOAD};
use crate::statistic::gpu::{METHODS, REASONS, Statistic};
use crate::view::View;
use Statistic::*;

const GPU: &[&str] = &["gpu", "uuid"];
const DIRECTION: &[&str] = &["gpu", "uuid", "direction"];
/// From this utilization on, a GPU counts as busy and needs its link.
const BUSY_PERCENT: u64 = 50;
const HOST_TO_DEVICE: &str = "host_to_device";
const DEVICE_TO_HOST: &str = "device_to_host";

const BY_WORKLOAD: &[&str] = &{
    let [workload, namespace, pod, container] = WORKLOAD;
    [workload, namespace, pod, container, "gpu", "uuid"]
};

pub const INFO: Metric = Metric {
    name: "headroom_gpu_info",
    kind: Kind::Info,
    unit: None,
    detail: Detail::Always,
    help: "GPUs that NVML reports, and their MIG devices, each with the GPU that it is a part of.",
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

pub const MEMORY: Metric = Metric {
    name: "headroom_gpu_memory_bytes",
    kind: Kind::Gauge,
    unit: Some(Unit::Bytes),
    detail: Detail::Always,
    help: "Memory of the GPU by state: total is the sum of used, free and reserved; what the driver does not report separately is in used. The memory of a MIG device is a part of its GPU's.",
    labels: &["gpu", "uuid", "state"],
    needs: &[],
    read: |view, emit| {
        let states = [("total", MemoryTotal), ("used", MemoryUsed), ("free", MemoryFree), ("reserved", MemoryReserved)];
        each(view, emit, &states, Value::Int)
    },
};

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
        "Share (0 to 1) of the GPU's usable memory that is used: used / (used + free).",
    )
};

pub const UTILIZATION: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Utilization)], |percent| Value::Float(percent as f64 / 100.0)),
    ..gauge(
        "headroom_gpu_utilization_ratio",
        "Share (0 to 1) of the driver's last sampling period in which anything ran on the GPU; it does not say how much of the GPU was busy.",
    )
};

pub const MEMORY_UTILIZATION: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", MemoryUtilization)], |percent| Value::Float(percent as f64 / 100.0)),
    ..gauge(
        "headroom_gpu_memory_utilization_ratio",
        "Share (0 to 1) of the driver's last sampling period in which the GPU's memory was read or written; it does not say how full the memory is.",
    )
};

pub const TEMPERATURE: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Temperature)], Value::Int),
    ..gauge("headroom_gpu_temperature_celsius", "Temperature of the GPU, in degrees Celsius.")
};

pub const POWER: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Power)], thousandth),
    ..gauge("headroom_gpu_power_watts", "Power that the GPU draws, in watts.")
};

pub const POWER_LIMIT: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", PowerLimit)], thousandth),
    ..gauge("headroom_gpu_power_limit_watts", "Power limit in effect for the GPU, in watts.")
};

pub const ENERGY: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Energy)], thousandth),
    ..counter("headroom_gpu_energy_joules_total", "Energy that the GPU used since the driver was loaded, in joules.")
};

pub const CLOCK: Metric = Metric {
    labels: &["gpu", "uuid", "clock"],
    read: |view, emit| {
        let clocks = [("graphics", ClockGraphics), ("sm", ClockSm), ("memory", ClockMemory), ("video", ClockVideo)];
        each(view, emit, &clocks, Value::Int)
    },
    ..gauge("headroom_gpu_clock_hertz", "Current clock frequencies of the GPU, in hertz.")
};

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
    ..gauge("headroom_gpu_throttle", "1 if this reason keeps the GPU's clocks down now, else 0.")
};

pub const ECC_ERRORS: Metric = Metric {
    labels: &["gpu", "uuid", "kind"],
    read: |view, emit| each(view, emit, &[("corrected", EccCorrected), ("uncorrected", EccUncorrected)], Value::Int),
    ..counter(
        "headroom_gpu_ecc_errors_total",
        "Memory errors over the lifetime of the GPU, by whether they could be corrected.",
    )
};

pub const REMAPPED_ROWS: Metric = Metric {
    labels: &["gpu", "uuid", "kind"],
    read: |view, emit| {
        let kinds = [("correctable", RemappedCorrectable), ("uncorrectable", RemappedUncorrectable)];
        each(view, emit, &kinds, Value::Int)
    },
    ..counter(
        "headroom_gpu_remapped_rows_total",
        "Rows of the GPU's memory that were replaced by spare rows, by the kind of their errors.",
    )
};

pub const REMAP_PENDING: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", RemapPending)], Value::Int),
    ..gauge(
        "headroom_gpu_row_remap_pending",
        "1 if a row of the GPU's memory will be replaced when the GPU is reset, else 0.",
    )
};

pub const REMAP_FAILED: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", RemapFailed)], Value::Int),
    ..gauge("headroom_gpu_row_remap_failed", "1 if a row of the GPU's memory could not be replaced, else 0.")
};

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
        "Critical errors that the driver reported for the GPU while the agent ran, by NVIDIA's error number (XID); there is no series before the first error.",
    )
};

pub const MIG: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", Mig)], Value::Int),
    ..gauge("headroom_gpu_mig", "1 if the GPU is divided into MIG devices, else 0.")
};

pub const PCIE_BYTES: Metric = Metric {
    unit: Some(Unit::Bytes),
    labels: DIRECTION,
    read: |view, emit| each(view, emit, &[(HOST_TO_DEVICE, HostToDevice), (DEVICE_TO_HOST, DeviceToHost)], Value::Int),
    ..counter(
        "headroom_gpu_pcie_bytes_total",
        "Bytes over the GPU's PCIe link since the agent first saw it, by direction as the host sees it: host_to_device is what the GPU received. From the driver's own counters; where they wrap at 32 bits, from the GPU's own averages (Hopper and newer); where there is neither, from 20 ms measured in every gpu.interval and taken for the whole interval; so too where reading counters of 32 bits often enough takes more CPU than gpu.pcie_budget. headroom_gpu_pcie_method says which.",
    )
};

pub const PCIE_METHOD: Metric = Metric {
    detail: Detail::Used,
    labels: &["gpu", "uuid", "method"],
    read: |view, emit| {
        for gpu in view.gpus.iter() {
            let Some(used) = gpu.values.get(PcieMethod) else { continue };
            for (method, name) in (0..).zip(METHODS) {
                let holds = u64::from(method == used);
                emit.gauge(&[&gpu.device.gpu, &gpu.device.uuid, name], Value::Int(holds))?;
            }
        }
        Ok(())
    },
    ..gauge(
        "headroom_gpu_pcie_method",
        "How headroom_gpu_pcie_bytes_total is measured: 1 for the driver's counters, the GPU's averages, or windows of 20 ms, which miss or overstate short bursts; at metrics.detail = full also 0 for the others.",
    )
};

pub const PCIE_LINK: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", PcieLink)], Value::Int),
    ..gauge(
        "headroom_gpu_pcie_link_bytes_per_second",
        "Capacity of the GPU's PCIe link in each direction, in bytes per second, by the generation and width negotiated now, including packet headers. An idle link drops to a lower generation.",
    )
};

pub const PCIE_LINK_USED: Metric = Metric {
    labels: DIRECTION,
    read: |view, emit| {
        for gpu in view.gpus.iter() {
            let Some(link) = gpu.values.get(PcieLink).filter(|link| *link > 0) else { continue };
            for (direction, rate) in [(HOST_TO_DEVICE, HostToDeviceRate), (DEVICE_TO_HOST, DeviceToHostRate)] {
                let Some(rate) = gpu.values.get(rate) else { continue };
                // The link may have dropped to a lower generation since then: it was faster while it carried that.
                let share = (rate as f64 / link as f64).min(1.0);
                emit.gauge(&[&gpu.device.gpu, &gpu.device.uuid, direction], Value::Float(share))?;
            }
        }
        Ok(())
    },
    ..gauge(
        "headroom_gpu_pcie_link_used_ratio",
        "Share (0 to 1) of the negotiated PCIe link's capacity that was used in the last gpu.interval, by direction as the host sees it.",
    )
};

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
        "Capacity of the PCIe link as negotiated now, as a share (0 to 1) of the most that GPU and slot support, each generation counted as twice the one before; present only while the GPU is at least half busy, because an idle link drops to a lower generation by design.",
    )
};

pub const PCIE_GENERATION: Metric = Metric {
    labels: &["gpu", "uuid", "state"],
    read: |view, emit| {
        each(
            view,
            emit,
            &[("current", PcieGeneration), ("max", PcieGenerationMax), ("card", PcieGenerationCard)],
            Value::Int,
        )
    },
    ..gauge(
        "headroom_gpu_pcie_link_generation",
        "Generation of the GPU's PCIe link: as negotiated now (current), the highest that GPU and slot support (max), and the highest of the card itself, whatever the slot (card).",
    )
};

pub const PCIE_WIDTH: Metric = Metric {
    labels: &["gpu", "uuid", "state"],
    read: |view, emit| {
        each(view, emit, &[("current", PcieWidth), ("max", PcieWidthMax), ("card", PcieWidthCard)], Value::Int)
    },
    ..gauge(
        "headroom_gpu_pcie_link_width",
        "Lanes of the GPU's PCIe link: as negotiated now (current), the most that GPU and slot support (max), and the most of the card itself, whatever the slot (card).",
    )
};

pub const PCIE_REPLAYS: Metric = Metric {
    read: |view, emit| each(view, emit, &[("", PcieReplays)], Value::Int),
    ..counter("headroom_gpu_pcie_replays_total", "Retransmissions on the GPU's PCIe link, as counted by the driver.")
};

pub const WORKLOAD_MEMORY: Metric = Metric {
    name: "headroom_workload_gpu_memory_bytes",
    kind: Kind::Gauge,
    unit: Some(Unit::Bytes),
    detail: Detail::Always,
    help: "GPU memory that the workload's processes hold, as listed by the driver; absent if the driver does not know the amount for one of them. Processes whose workload is not known count as other.",
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
    Metric {
        name,
        kind: Kind::Gauge,
        unit: None,
        detail: Detail::Always,
        help,
        labels: GPU,
        needs: &[],
        read: |_, _| Ok(()),
    }
}

const fn counter(name: &'static str, help: &'static str) -> Metric {
    Metric { kind: Kind::Counter, ..gauge(name, help) }
}

fn thousandth(number: u64) -> Value {
    Value::Float(number as f64 / 1000.0)
}

/// Emits a series for each known statistic, with the value of its last label if the metric has one.
fn each(view: &View, emit: &mut Emit<'_>, series: &[(&str, Statistic)], value: fn(u64) -> Value) -> fmt::Result {
    let kind = emit.metric().kind;
    let labels = emit.metric().labels.len();
    for gpu in view.gpus.iter() {
        for (label, statistic) in series {
            let Some(number) = gpu.values.get(*statistic) else { continue };
            // When the driver's own counters started is not known.
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
