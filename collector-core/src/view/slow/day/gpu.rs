//! [`GpuHours`]: what a GPU did: how much of its link it used, whether it was held back, and memory that none of its processes holds.

use super::super::read::{is_busy, link_ratio, link_used};
use super::{Alone, Mean};
use crate::statistic::gpu::Statistic::{MemoryReserved, MemoryUsed, Mig, Power, Throttle, Utilization};
use crate::statistic::gpu::{POWER_CAPPED, THROTTLED};
use crate::view::gpu::{Gpu, Owner};

/// A link is full from this share of it: packet headers take some of the rest.
const FULL: f64 = 0.8;
/// It is lower than it could be below this share of its best.
const LOWER: f64 = 0.9;
/// Memory of a GPU below this is what the driver itself takes, in bytes.
const LITTLE: u64 = 1 << 30;

/// Sums over an hour, or a day.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GpuHours {
    pub seconds: f64,
    /// Share of time, 0 to 1, in which it ran something.
    pub utilization: Mean,
    /// Share of its link in use, in the busier direction.
    pub link: Mean,
    /// In which 80 % or more of it were.
    pub link_full_seconds: f64,
    /// In which it was busy; and its link was lower than GPU and slot can; and heat or too little power slowed it down; and its power limit.
    pub busy_seconds: f64,
    pub degraded_seconds: f64,
    pub throttled_seconds: f64,
    pub capped_seconds: f64,
    /// The link while it was busy, as a share of its best.
    pub link_share: Mean,
    /// Watts.
    pub power: Mean,
    /// Memory in use that no process holds, in bytes. Absent while the driver does not say what each holds.
    pub unheld: Mean,
    /// Of those, in which it was more than a GiB without a break, up to now.
    pub unheld_seconds: f64,
    /// The workload that had it for itself last.
    pub alone: Alone,
}

impl GpuHours {
    pub(super) fn add(&mut self, seconds: f64, gpu: &Gpu, owner: Owner<'_>) {
        let get = |statistic| gpu.values.get(statistic);
        self.seconds += seconds;
        self.alone.add(seconds, gpu, owner);
        self.utilization.add(get(Utilization).map(|percent| percent as f64 / 100.0), seconds);
        self.power.add(get(Power).map(|milliwatts| milliwatts as f64 / 1e3), seconds);
        let used = link_used(gpu);
        self.link.add(used, seconds);
        if used >= Some(FULL) {
            self.link_full_seconds += seconds;
        }
        let unheld = unheld(gpu);
        self.unheld.add(unheld.map(|bytes| bytes as f64), seconds);
        self.unheld_seconds = if unheld > Some(LITTLE) { self.unheld_seconds + seconds } else { 0.0 };
        if get(Utilization).is_none() || !is_busy(gpu) {
            return;
        }
        self.busy_seconds += seconds;
        let share = link_ratio(gpu);
        self.link_share.add(share, seconds);
        if share.is_some_and(|share| share < LOWER) {
            self.degraded_seconds += seconds;
        }
        let reasons = get(Throttle).unwrap_or(0);
        if reasons & THROTTLED != 0 {
            self.throttled_seconds += seconds;
        }
        if reasons & POWER_CAPPED != 0 {
            self.capped_seconds += seconds;
        }
    }

    /// `other` is later.
    pub(super) fn merge(&mut self, other: &GpuHours) {
        // Broken off if it restarted within the hour.
        let whole = other.unheld_seconds >= other.seconds;
        self.unheld_seconds = other.unheld_seconds + if whole { self.unheld_seconds } else { 0.0 };
        self.seconds += other.seconds;
        self.alone.merge(&other.alone);
        let means = [&mut self.utilization, &mut self.link, &mut self.link_share, &mut self.power, &mut self.unheld];
        let others = [&other.utilization, &other.link, &other.link_share, &other.power, &other.unheld];
        means.into_iter().zip(others).for_each(|(mean, other)| mean.merge(other));
        self.link_full_seconds += other.link_full_seconds;
        self.busy_seconds += other.busy_seconds;
        self.degraded_seconds += other.degraded_seconds;
        self.throttled_seconds += other.throttled_seconds;
        self.capped_seconds += other.capped_seconds;
    }
}

/// Whether there is anything to see of it: somebody holds its memory, or nobody does and it is in use.
pub(in crate::view::slow) fn is_used(gpu: &Gpu) -> bool {
    !gpu.processes().is_empty() || gpu.values.get(MemoryUsed) > Some(LITTLE)
}

/// Memory in use that its processes do not hold. The parts of a divided GPU have processes of their own, and it has none. Drivers that do not
/// tell what they reserve count it as used.
fn unheld(gpu: &Gpu) -> Option<u64> {
    if gpu.device.parent.is_some() || gpu.values.get(Mig) == Some(1) {
        return None;
    }
    gpu.values.get(MemoryReserved)?;
    let held = gpu.processes().iter().map(|holder| holder.bytes).collect::<Option<Vec<u64>>>()?;
    Some(gpu.values.get(MemoryUsed)?.saturating_sub(crate::count::sum(held.into_iter())))
}
