//! [`Alone`]: what a workload did with a GPU while it had it for itself: for how long it worked, and how much of the memory was taken.

use std::sync::Arc;

use super::super::read::is_busy;
use super::Mean;
use crate::statistic::gpu::Statistic::{MemoryFree, MemoryTotal, Utilization};
use crate::view::gpu::{Gpu, Owner};

/// An hour in which the GPU ran something for this share of the time is one in which its workload worked.
const WORKS: f64 = 0.1;

/// Sums over an hour; over a day, of the hours of the workload that had it last.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Alone {
    /// Its name; absent: nobody had it, or several did.
    pub workload: Option<Arc<str>>,
    /// Share of time, 0 to 1, in which it ran something; of a day, in hours in which it worked.
    pub utilization: Mean,
    /// Of these seconds, those in which it ran something.
    pub ran_seconds: f64,
    /// Memory that is not free, in bytes.
    pub taken: Mean,
}

impl Alone {
    pub(super) fn add(&mut self, seconds: f64, gpu: &Gpu, owner: Owner<'_>) {
        let get = |statistic| gpu.values.get(statistic);
        match owner {
            // Between two runs.
            Owner::Nobody => return,
            Owner::Several => return *self = Alone::default(),
            Owner::One(name) => {
                if self.workload.as_ref() != Some(name) {
                    *self = Alone { workload: Some(name.clone()), ..Alone::default() };
                }
            }
        }
        let taken = get(MemoryTotal).zip(get(MemoryFree)).map(|(total, free)| total.saturating_sub(free) as f64);
        self.taken.add(taken, seconds);
        let used = get(Utilization);
        self.utilization.add(used.map(|percent| percent as f64 / 100.0), seconds);
        if used.is_some() && is_busy(gpu) {
            self.ran_seconds += seconds;
        }
    }

    /// `other` is later.
    pub(super) fn merge(&mut self, other: &Alone) {
        if other.workload.is_none() {
            return;
        }
        if self.workload != other.workload {
            *self = Alone { workload: other.workload.clone(), ..Alone::default() };
        }
        self.taken.merge(&other.taken);
        if other.utilization.seconds > 0.0 && other.ran_seconds >= WORKS * other.utilization.seconds {
            self.utilization.merge(&other.utilization);
            self.ran_seconds += other.ran_seconds;
        }
    }
}
