//! Each figure against the metric of its name, and against readings whose rates are known.

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::engine::Engine;
use crate::engine::test::{ID, start};
use crate::metric::METRICS;
use crate::metric::visit::{Part, visit};
use crate::rule::{Rules, raw};
use crate::sample::{Reading, Sample, Source};
use crate::signal::cgroup;
use crate::statistic::{Statistic as _, disk as disks, filesystem, host};

const SECOND: u64 = 1_000_000_000;

/// A host that was read twenty times, a second apart: every counter of nanoseconds grows by a number of its own.
fn engine() -> Engine {
    let mut engine = Engine::with(Arc::new(Rules::new(&raw::read("").unwrap()).unwrap()));
    let mut apply = |time: u64, reading| drop(engine.apply(&Sample { time, reading }));
    apply(SECOND, Reading::Start(start()));
    apply(SECOND, Reading::Cgroup(cgroup::Reading::Born { id: ID, path: "/a".into() }));
    for second in 2..22 {
        let number = |index: usize| (index as u64 + 1) * SECOND / 200 * second;
        let mut values: host::Values = Statistic::ALL.iter().map(|it| (*it, number(*it as usize))).collect();
        for (statistic, value) in [(Cpus, 4), (MemoryTotal, 1 << 40), (MemoryHugePagesFree, 1 << 20)] {
            values.set(statistic, value);
        }
        for (statistic, value) in [(MemoryAvailable, 7 << 30), (MemoryArcReclaimable, 1 << 20), (SwapTotal, 1 << 40)] {
            values.set(statistic, value);
        }
        let device = Arc::from("sda");
        let each = disks::Statistic::ALL.iter().map(|it| (*it, number(*it as usize)));
        let disk = disks::Reading { device, values: Some(each.collect()) };
        let each = filesystem::Statistic::ALL.iter().map(|it| match it {
            filesystem::Statistic::ReadOnly => (*it, 1),
            other => (*it, 100 - 10 * *other as u64),
        });
        let (mountpoint, device, fstype) = ("/data".into(), "/dev/sda1".into(), "ext4".into());
        let state = filesystem::State::Read(each.collect());
        let filesystem = filesystem::Reading { mountpoint, device, fstype, owner: None, state };
        for reading in [Reading::Host(values), Reading::Disk(disk), Reading::Filesystem(filesystem), Reading::Tick] {
            apply(second * SECOND, reading);
        }
    }
    engine
}

fn series(view: &View, name: &str) -> Vec<f64> {
    let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else { return Vec::new() };
    let mut found = Vec::new();
    visit(view, metric, Part::Whole, &mut |_, number, _| found.push(number));
    found
}

fn figures(part: &Value) -> Vec<(String, f64)> {
    let number = |value: &Value| value.as_f64().or_else(|| value.as_bool().map(f64::from));
    part.as_object().unwrap().iter().filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect()
}

#[test]
fn each_figure_equals_the_metric_of_its_name() {
    let engine = engine();
    let view = engine.view();
    let status = serde_json::to_value(Status::of(view)).unwrap();
    let mut compared = 0;
    for (part, prefix) in [
        (&status["memory"], "headroom_host_memory_"),
        (&status["swap"], "headroom_host_swap_"),
        (&status["cpu"], "headroom_host_"),
        (&status["filesystems"][0], "headroom_host_filesystem_"),
        (&status["disks"][0], "headroom_host_disk_"),
    ] {
        for (field, value) in figures(part) {
            // Rates and loads are compared below; these are what the ratio is made of.
            let other = ["used_bytes", "usable_bytes", "busy_ratio", "iowait_ratio", "steal_ratio"];
            if other.contains(&&*field) || field.contains("per_second") || field.starts_with("load") {
                continue;
            }
            compared += 1;
            assert_eq!(series(view, &format!("{prefix}{field}")), [value], "{prefix}{field}");
        }
    }
    assert_eq!(compared, 8 + 3 + 1 + 8 + 1);
    let cpu = Status::of(view).cpu;
    assert_eq!(series(view, "headroom_host_load"), [cpu.load1, cpu.load5, cpu.load15].map(Option::unwrap));
    let memory = Status::of(view).memory;
    let share = memory.used_bytes.unwrap() as f64 / memory.usable_bytes.unwrap() as f64;
    assert!((memory.used_ratio.unwrap() - share).abs() < 1e-12, "{memory:?}");
    assert_eq!(memory.usable_bytes, Some((1 << 40) - (1 << 20)));
}

#[test]
fn rates_are_those_of_the_last_seconds() {
    let engine = engine();
    let Status { cpu, pressure, disks, .. } = Status::of(engine.view());
    let own = |index: usize| (index as f64 + 1.0) / 200.0;
    let near = |found: Option<f64>, wanted: f64| {
        assert!(found.is_some_and(|found| (found - wanted).abs() < 1e-6 * wanted), "{found:?} {wanted}");
    };
    let busy = [CpuUser, CpuNice, CpuSystem, CpuIrq, CpuSoftirq, CpuSteal, CpuGuest, CpuGuestNice];
    near(cpu.busy_ratio, busy.iter().map(|mode| own(*mode as usize)).sum::<f64>() / 4.0);
    near(cpu.iowait_ratio, own(CpuIowait as usize) / 4.0);
    near(cpu.steal_ratio, own(CpuSteal as usize) / 4.0);
    near(pressure.cpu_waiting_ratio, own(CpuPressureSome as usize));
    near(pressure.memory_waiting_ratio, own(MemoryPressureSome as usize));
    near(pressure.memory_stalled_ratio, own(MemoryPressureFull as usize));
    near(pressure.io_waiting_ratio, own(IoPressureSome as usize));
    near(pressure.io_stalled_ratio, own(IoPressureFull as usize));
    near(disks[0].busy_ratio, own(disks::Statistic::Busy as usize));
    near(disks[0].read_bytes_per_second, own(disks::Statistic::ReadBytes as usize) * 1e9);
    near(disks[0].written_bytes_per_second, own(disks::Statistic::WriteBytes as usize) * 1e9);
}

#[test]
fn what_is_not_known_is_absent_and_what_cannot_be_read_is_said() {
    let mut engine = Engine::new();
    engine.apply(&Sample { time: 5, reading: Reading::Start(start()) });
    let source = Source { source: "gpu".into(), up: false, ns: 1, error: Some("no NVML".into()) };
    engine.apply(&Sample { time: 5, reading: Reading::Source(source) });
    let status = Status::of(engine.view());
    let json = serde_json::to_value(&status).unwrap();
    for part in ["memory", "swap", "cpu", "pressure"] {
        assert_eq!(json[part], serde_json::json!({}), "{part}");
    }
    assert_eq!(json["unavailable"], serde_json::json!([{"source": "gpu", "reason": "no NVML"}]));
    assert!(status.health.is_none() && status.incident.is_none());
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), status);
}

#[test]
fn alerts_and_the_newest_incident_are_in_it() {
    use crate::statistic::gpu::{self, Device};
    let mut engine = engine();
    let [model, driver] = ["H100".into(), "555".into()];
    let device = Arc::new(Device { uuid: "GPU-a".into(), gpu: "0".into(), model, driver, parent: None });
    let device = gpu::Reading::Device { device, values: gpu::Values::new() };
    for (time, reading) in [(25, device), (30, gpu::Reading::Gone { uuid: "GPU-a".into() })] {
        for reading in [Reading::Gpu(reading), Reading::Tick] {
            engine.apply(&Sample { time: time * SECOND, reading });
        }
    }
    let status = Status::of(engine.view());
    let lost = status.alerts.iter().find(|alert| &*alert.alert == "GpuLost").unwrap();
    let incident = status.incident.as_ref().unwrap();
    assert_eq!((status.health, &*incident.kind), (Some(Health::Critical), "gpu_lost"));
    assert_eq!((incident.time, Some(&incident.id)), (30 * SECOND, lost.incident.as_ref()));
    assert!(status.reasons.contains(&incident.title), "{status:?}");
    assert!(status.alerts.is_sorted_by_key(|alert| std::cmp::Reverse(alert.severity)));
}
