//! The GPUs at one moment, one line each: the answer of `/api/v1/gpus`, and what `headroom gpus` prints. Figures are the same as
//! in the metrics. What is not known is absent.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::level::Level;
use crate::statistic::gpu::{METHODS, REASONS, Statistic};
use crate::view::View;
use crate::view::gpu::Gpu;
use Statistic::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Gpus {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    pub gpus: Vec<GpuLine>,
}

/// A GPU, or a MIG device of one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct GpuLine {
    /// Its number; for a MIG device the GPU's number and its own: `0:1`.
    pub gpu: String,
    pub uuid: String,
    pub model: String,
    /// Version of the driver.
    pub driver: String,
    /// The uuid of the GPU that a MIG device is part of: its memory is a part of that GPU's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_total_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_free_bytes: Option<u64>,
    /// Memory that driver and firmware keep, in neither of the two before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_reserved_bytes: Option<u64>,
    /// Used memory as a share (0 to 1) of used and free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_ratio: Option<f64>,
    /// How degraded its memory is, from 0 (normal) to 4 (critical), without what model servers hold on purpose; absent while it is not
    /// known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<u8>,
    /// Share (0 to 1) of the driver's last sampling period in which anything ran on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilization_ratio: Option<f64>,
    /// Share (0 to 1) of that period in which its memory was read or written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_utilization_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_celsius: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_watts: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_limit_watts: Option<f64>,
    /// Capacity of its PCIe link in each direction, as negotiated now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_link_bytes_per_second: Option<u64>,
    /// Share (0 to 1) of the link that was used in the last `gpu.interval` for copies to the GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_host_to_device_ratio: Option<f64>,
    /// The same for copies from the GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_device_to_host_ratio: Option<f64>,
    /// How PCIe traffic is measured: `counters`, `averages`, or `windows` of 20 ms, which miss or overstate short bursts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_generation: Option<u64>,
    /// The highest generation that GPU and slot support.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_generation_max: Option<u64>,
    /// Lanes of the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_width: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_width_max: Option<u64>,
    /// Such as `9.0`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_capability: Option<String>,
    /// What keeps its clocks down now, by NVML's names; absent if the driver does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle: Option<Vec<String>>,
    /// Memory errors over its lifetime that could not be corrected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ecc_errors_uncorrected: Option<u64>,
    /// Number of errors that the driver reported while the agent ran, by NVIDIA's number (XID).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub xid_errors: BTreeMap<u64, u64>,
    /// Who holds its memory, the largest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<Holder>,
}

/// What the processes of a workload hold of a GPU's memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Holder {
    /// Its name; `other` for processes whose workload is not known.
    pub workload: String,
    /// Absent if the driver does not know the amount for one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl Gpus {
    pub fn of(view: &View) -> Gpus {
        Gpus { time: view.time, gpus: lines(view) }
    }
}

/// By number: `2` comes before `10`.
pub(super) fn lines(view: &View) -> Vec<GpuLine> {
    let mut lines: Vec<GpuLine> = view.gpus.iter().map(|gpu| GpuLine::of(gpu, view)).collect();
    let number = |line: &GpuLine| line.gpu.split(':').map(|part| part.parse::<u64>().ok()).collect::<Vec<_>>();
    lines.sort_by_key(|line| (number(line), line.gpu.clone()));
    lines
}

impl GpuLine {
    fn of(gpu: &Gpu, view: &View) -> GpuLine {
        let get = |statistic| gpu.values.get(statistic);
        let percent = |statistic| get(statistic).map(|percent| percent as f64 / 100.0);
        let thousandth = |statistic| get(statistic).map(|number| number as f64 / 1000.0);
        let link = get(PcieLink).filter(|link| *link > 0);
        // The link may have dropped to a lower generation since then.
        let share = |rate| get(rate).zip(link).map(|(rate, link)| (rate as f64 / link as f64).min(1.0));
        let held = get(MemoryUsed).zip(get(MemoryFree)).map(|(used, free)| (used, used.saturating_add(free)));
        GpuLine {
            gpu: gpu.device.gpu.to_string(),
            uuid: gpu.device.uuid.to_string(),
            model: gpu.device.model.to_string(),
            driver: gpu.device.driver.to_string(),
            parent: gpu.device.parent.as_deref().map(str::to_owned),
            memory_total_bytes: get(MemoryTotal),
            memory_used_bytes: get(MemoryUsed),
            memory_free_bytes: get(MemoryFree),
            memory_reserved_bytes: get(MemoryReserved),
            memory_used_ratio: held.filter(|(_, all)| *all > 0).map(|(used, all)| used as f64 / all as f64),
            level: view.level.gpus.get(&gpu.device.uuid).and_then(|it| it.standing.level).map(Level::number),
            utilization_ratio: percent(Utilization),
            memory_utilization_ratio: percent(MemoryUtilization),
            temperature_celsius: get(Temperature).map(|degrees| degrees as f64),
            power_watts: thousandth(Power),
            power_limit_watts: thousandth(PowerLimit),
            pcie_link_bytes_per_second: get(PcieLink),
            pcie_host_to_device_ratio: share(HostToDeviceRate),
            pcie_device_to_host_ratio: share(DeviceToHostRate),
            pcie_method: get(PcieMethod).and_then(|index| Some(METHODS.get(usize::try_from(index).ok()?)?.to_string())),
            pcie_generation: get(PcieGeneration),
            pcie_generation_max: get(PcieGenerationMax),
            pcie_width: get(PcieWidth),
            pcie_width_max: get(PcieWidthMax),
            compute_capability: get(ComputeCapability).map(|tenths| format!("{}.{}", tenths / 10, tenths % 10)),
            throttle: get(Throttle).map(reasons),
            ecc_errors_uncorrected: get(EccUncorrected),
            xid_errors: xids(view, &gpu.device.uuid),
            workloads: holders(gpu, view),
        }
    }
}

fn reasons(bits: u64) -> Vec<String> {
    REASONS.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, reason)| (*reason).to_owned()).collect()
}

fn xids(view: &View, uuid: &str) -> BTreeMap<u64, u64> {
    let own = view.gpus.xids().filter(|(of, _)| &***of == uuid);
    own.flat_map(|(_, xids)| xids.codes.iter().map(|(code, (_, count))| (*code, *count))).collect()
}

fn holders(gpu: &Gpu, view: &View) -> Vec<Holder> {
    let held = gpu.holders(&view.workloads).into_iter();
    let mut holders: Vec<Holder> =
        held.map(|(workload, (_, memory_bytes))| Holder { workload: workload.to_owned(), memory_bytes }).collect();
    holders.sort_by_key(|holder| Reverse(holder.memory_bytes));
    holders
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::Engine;
    use crate::engine::test::{ID, engine};
    use crate::metric::METRICS;
    use crate::metric::visit::{Part, visit};
    use crate::sample::{Reading, Sample};
    use crate::statistic::Statistic as _;
    use crate::statistic::gpu::{self as statistic, Device};

    fn add(engine: &mut Engine, number: &str, values: statistic::Values) {
        let [model, driver] = ["H100".into(), "555".into()];
        let uuid = format!("GPU-{number}").into();
        let device = Arc::new(Device { uuid, gpu: number.into(), model, driver, parent: None });
        let reading = statistic::Reading::Device { device, values };
        engine.apply(&Sample { time: 20, reading: Reading::Gpu(reading) });
    }

    /// A number of its own for each statistic.
    fn values() -> statistic::Values {
        let of = |statistic: &Statistic| match statistic {
            PcieMethod => 1,
            ComputeCapability => 89,
            Throttle => 0x44,
            HostToDeviceRate | DeviceToHostRate => 5_000 + *statistic as u64,
            PcieLink => 10_000,
            other => 100 + *other as u64,
        };
        Statistic::ALL.iter().map(|statistic| (*statistic, of(statistic))).collect()
    }

    /// The series of a metric with this label.
    fn series(view: &View, name: &str, label: &str) -> Option<f64> {
        let metric = METRICS.iter().find(|metric| metric.name == name).unwrap();
        let mut found = None;
        visit(view, metric, Part::Whole, &mut |labels, number, _| {
            if label.is_empty() || labels.contains(&label) {
                found = Some(number);
            }
        });
        found
    }

    #[test]
    fn each_figure_equals_the_metric_of_its_name() {
        let mut engine = engine();
        add(&mut engine, "0", values());
        let xid = statistic::Reading::Xid { uuid: "GPU-0".into(), code: 79 };
        let holder = statistic::Holder { pid: 7, cgroup: Some(ID), bytes: Some(5) };
        let held = statistic::Reading::Held { uuid: "GPU-0".into(), holders: vec![holder] };
        for reading in [xid, held] {
            engine.apply(&Sample { time: 21, reading: Reading::Gpu(reading) });
        }
        let view = engine.view();
        let line = serde_json::to_value(&Gpus::of(view).gpus[0]).unwrap();
        let mut figures: BTreeMap<&str, f64> =
            line.as_object().unwrap().iter().filter_map(|(name, value)| Some((&**name, value.as_f64()?))).collect();
        let labelled = [
            ("memory_total_bytes", "headroom_gpu_memory_bytes", "total"),
            ("memory_used_bytes", "headroom_gpu_memory_bytes", "used"),
            ("memory_free_bytes", "headroom_gpu_memory_bytes", "free"),
            ("memory_reserved_bytes", "headroom_gpu_memory_bytes", "reserved"),
            ("pcie_host_to_device_ratio", "headroom_gpu_pcie_link_used_ratio", "host_to_device"),
            ("pcie_device_to_host_ratio", "headroom_gpu_pcie_link_used_ratio", "device_to_host"),
            ("pcie_generation", "headroom_gpu_pcie_link_generation", "current"),
            ("pcie_generation_max", "headroom_gpu_pcie_link_generation", "max"),
            ("pcie_width", "headroom_gpu_pcie_link_width", "current"),
            ("pcie_width_max", "headroom_gpu_pcie_link_width", "max"),
            ("ecc_errors_uncorrected", "headroom_gpu_ecc_errors_total", "uncorrected"),
        ];
        assert_eq!(figures.len(), labelled.len() + 7, "{figures:?}");
        for (field, metric, label) in labelled {
            assert_eq!(figures.remove(field), series(view, metric, label), "{field}");
        }
        for (field, value) in figures {
            assert_eq!(Some(value), series(view, &format!("headroom_gpu_{field}"), ""), "{field}");
        }
        assert_eq!(line["pcie_method"], "averages");
        assert_eq!(line["compute_capability"], "8.9");
        assert_eq!(line["throttle"], serde_json::json!(["sw_power_cap", "hw_thermal_slowdown"]));
        assert_eq!(line["xid_errors"], serde_json::json!({"79": 1}));
        assert_eq!(line["workloads"], serde_json::json!([{"workload": "/a", "memory_bytes": 5}]));
        assert_eq!(serde_json::from_value::<GpuLine>(line).unwrap(), Gpus::of(view).gpus[0]);
    }

    #[test]
    fn what_the_driver_does_not_say_is_absent_and_gpus_are_in_the_order_of_their_numbers() {
        let mut engine = engine();
        for number in ["10", "2", "0:1", "0"] {
            add(&mut engine, number, statistic::Values::new());
        }
        let gpus = Gpus::of(engine.view()).gpus;
        assert_eq!(gpus.iter().map(|line| &*line.gpu).collect::<Vec<_>>(), ["0", "0:1", "2", "10"]);
        let known = serde_json::to_value(&gpus[0]).unwrap();
        assert_eq!(known.as_object().unwrap().keys().collect::<Vec<_>>(), ["driver", "gpu", "model", "uuid"]);
    }
}
