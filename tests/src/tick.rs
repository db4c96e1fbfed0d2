//! What an agent publishes tick by tick, and the numbers of the host that its screens should show.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

use crate::agent::body;
use crate::exposition::Exposition;

/// A rate of the host is over the time between two readings, which are some milliseconds before the ends of their ticks.
const APART: f64 = 0.04;
/// A rate of a workload is over the time between two ticks. Its digits may differ where it is rounded.
const EXACT: f64 = 0.001;
/// Ticks before a rate of the host is compared: over a short time, some milliseconds are much.
const BEFORE: usize = 4;

/// What an agent said at one tick.
pub struct Tick {
    /// In nanoseconds since the Unix epoch.
    pub time: u64,
    pub status: Value,
    pub workloads: Value,
    pub metrics: Exposition,
}

impl Tick {
    /// What all say at one tick, if that is another than the last: an answer before and one after the others are the same.
    pub fn now(address: &str, last: u64) -> Option<Tick> {
        let read = |path| body(address, path, "");
        let before = read("/api/v1/status");
        let status: Value = serde_json::from_str(&before).unwrap();
        let time = status["time"].as_u64().unwrap();
        if time == last {
            return None;
        }
        let workloads = serde_json::from_str(&read("/api/v1/workloads")).unwrap();
        let metrics = body(address, "/metrics", "Accept: application/openmetrics-text; version=1.0.0\r\n");
        let metrics = Exposition::parse(&metrics);
        (read("/api/v1/status") == before).then_some(Tick { time, status, workloads, metrics })
    }

    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.metrics.values(name, labels).into_iter().reduce(|sum, value| sum + value)
    }

    /// As screens show it.
    pub fn second(&self) -> String {
        let time = UNIX_EPOCH + Duration::from_secs(self.time / 1_000_000_000);
        humantime::format_rfc3339_seconds(time).to_string().replace('T', " ").replace('Z', "")
    }
}

/// All ticks since the agent started.
pub struct Ticks(pub Vec<Tick>);

/// Also after the other thread failed, so that its failure is the one that is told.
fn lock(seen: &Mutex<Ticks>) -> MutexGuard<'_, Ticks> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number that is known, and the share of it by which a screen may differ.
pub type Number = Option<(f64, f64)>;

impl Ticks {
    pub fn follow(address: &str, until: &AtomicBool, seen: &Mutex<Ticks>) {
        while !until.load(Ordering::Relaxed) {
            let last = lock(seen).0.last().map_or(0, |tick| tick.time);
            match Tick::now(address, last) {
                Some(tick) => lock(seen).0.push(tick),
                None => sleep(Duration::from_millis(10)),
            }
        }
    }

    pub fn seconds(&self, from: usize, to: usize) -> f64 {
        (self.0[to].time - self.0[from].time) as f64 / 1e9
    }

    fn growth(&self, from: usize, to: usize, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let now = self.0[to].sum(name, labels)?;
        Some((now - self.0[from].sum(name, labels).unwrap_or(0.0)) / self.seconds(from, to))
    }

    /// Whether every number at this tick can be compared.
    pub fn is_known(&self, at: usize) -> bool {
        (BEFORE..self.0.len().saturating_sub(1)).contains(&at)
            && (at - 1..=at + 1).all(|at| self.seconds(at - 1, at) < 1.5)
    }

    /// How a counter grew a second, since so many ticks before.
    pub fn pace(&self, at: usize, back: usize, name: &str, labels: &[(&str, &str)]) -> Number {
        Some((self.growth(at.checked_sub(back)?, at, name, labels)?, EXACT))
    }

    /// A gauge at a tick.
    pub fn gauge(&self, at: usize, name: &str, labels: &[(&str, &str)]) -> Number {
        Some((self.0[at].sum(name, labels)?, 0.0))
    }

    /// What a number of the host may be at a tick. A share of time is over ten seconds; which reading these begin with is the
    /// agent's choice.
    pub fn host(&self, at: usize, key: &str) -> Vec<Number> {
        let gauge = |name: &str, labels: &[(&str, &str)]| self.0[at].sum(name, labels);
        let exact = |number: Option<f64>| vec![number.map(|number| (number, 0.0))];
        let recent = |name: &str, labels: &[(&str, &str)], scale: f64| {
            let begins = (0..at).filter(|from| *from == 0 || self.seconds(*from, at) >= 8.9);
            let grown = begins.filter(|from| self.seconds(*from, at) < 12.0);
            grown.map(|from| Some((self.growth(from, at, name, labels)? * scale, APART))).collect()
        };
        let total = gauge("headroom_host_memory_total_bytes", &[]);
        let huge = gauge("headroom_host_memory_huge_pages_free_bytes", &[]).unwrap_or(0.0);
        let usable = total.map(|total| total - huge);
        let used = gauge("headroom_host_memory_used_ratio", &[]);
        let cpus = gauge("headroom_host_cpus", &[]);
        let waiting = |resource| recent("headroom_host_pressure_waiting_seconds_total", &[("resource", resource)], 1.0);
        let stalled = |resource| recent("headroom_host_pressure_stalled_seconds_total", &[("resource", resource)], 1.0);
        let busy = "headroom_host_cpu_average_busy_seconds_total";
        let (swap, free) = (gauge("headroom_host_swap_total_bytes", &[]), gauge("headroom_host_swap_free_bytes", &[]));
        match key.split(' ').collect::<Vec<_>>()[..] {
            ["memory", "share"] => exact(used),
            ["memory", "used"] => exact(used.zip(usable).map(|(share, usable)| share * usable)),
            ["memory", "total"] => exact(usable),
            ["memory", "available"] => exact(gauge("headroom_host_memory_available_bytes", &[])),
            ["memory", "cache"] => exact(gauge("headroom_host_memory_cached_bytes", &[])),
            ["swap", "share"] => exact(gauge("headroom_host_swap_used_ratio", &[])),
            ["swap", "used"] => exact(swap.zip(free).map(|(total, free)| total - free)),
            ["swap", "total"] => exact(swap),
            ["cpu", "share"] => recent(busy, &[], 1.0),
            ["cpu", "used"] => recent(busy, &[], cpus.unwrap_or(0.0)),
            ["cpu", "wait"] => {
                recent("headroom_host_cpu_seconds_total", &[("mode", "iowait")], 1.0 / cpus.unwrap_or(1.0))
            }
            ["cpu", "count"] => exact(cpus),
            ["load", minutes] => exact(gauge("headroom_host_load", &[("minutes", minutes)])),
            [resource, "waiting"] => waiting(resource),
            [resource, "stalled"] => stalled(resource),
            ["filesystem", at, "share"] => exact(gauge("headroom_host_filesystem_used_ratio", &[("mountpoint", at)])),
            ["filesystem", at, "free"] => {
                exact(gauge("headroom_host_filesystem_available_bytes", &[("mountpoint", at)]))
            }
            ["disk", device, "share"] => recent("headroom_host_disk_busy_seconds_total", &[("device", device)], 1.0),
            ["disk", device, operation] => {
                recent("headroom_host_disk_bytes_total", &[("device", device), ("operation", operation)], 1.0)
            }
            ["gpu", gpu, ref what @ ..] => exact(self.gpu(at, gpu, what)),
            _ => panic!("which number is {key:?}?"),
        }
    }

    fn gpu(&self, at: usize, gpu: &str, what: &[&str]) -> Option<f64> {
        let of = |name, more: &[(&str, &str)]| self.0[at].sum(name, &[&[("gpu", gpu)], more].concat());
        match what {
            ["share"] => of("headroom_gpu_memory_used_ratio", &[]),
            ["used"] => of("headroom_gpu_memory_bytes", &[("state", "used")]),
            ["total"] => of("headroom_gpu_memory_bytes", &[("state", "total")]),
            ["busy"] => of("headroom_gpu_utilization_ratio", &[]),
            ["temperature"] => of("headroom_gpu_temperature_celsius", &[]),
            ["power"] => of("headroom_gpu_power_watts", &[]),
            ["limit"] => of("headroom_gpu_power_limit_watts", &[]),
            [direction] => of("headroom_gpu_pcie_link_used_ratio", &[("direction", direction)]),
            _ => panic!("which number of GPU {gpu} is {what:?}?"),
        }
    }
}
