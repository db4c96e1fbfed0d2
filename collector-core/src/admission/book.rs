//! What others were promised and do not use yet: by lease, and by claims that come first.

use std::collections::BTreeMap;

use super::Case;
use crate::lease::{Lease, State};
use crate::view::lease::{Leases, place};

/// CPU time and traffic that a lease was promised count for this long, in nanoseconds: then what its owner uses is measured.
const CPU_NS: u64 = 30_000_000_000;

/// What one lease or one claim keeps from others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claimed {
    /// The lease; none for a claim that waits.
    pub id: Option<u64>,
    pub uid: u32,
    pub unit: Option<String>,
    /// The cgroup of its owner.
    pub cgroup: Option<String>,
    pub hard: u64,
    pub soft: u64,
    /// By the number of the GPU.
    pub vram: BTreeMap<String, u64>,
    /// Whether it still starts, so that nothing else may start on its GPUs.
    pub starts: bool,
    pub disk: BTreeMap<String, u64>,
    pub cpu: u64,
    /// Bits a second.
    pub network: u64,
    pub slot: BTreeMap<String, u64>,
    /// Nanoseconds until it ends in any case.
    pub left: Option<u64>,
    /// Of a reservation that was made ahead: nanoseconds until it begins.
    pub begins: Option<u64>,
}

impl Claimed {
    /// What a case takes on these GPUs.
    pub fn new(case: &Case<'_>, gpus: &[String]) -> Claimed {
        let want = case.want;
        let vram = gpus
            .iter()
            .zip(0_u32..)
            .map(|(gpu, own)| (gpu.clone(), want.vram.get(&own).copied().unwrap_or_default().peak));
        Claimed {
            id: None,
            uid: case.caller.uid,
            unit: case.unit.map(str::to_owned),
            cgroup: case.caller.cgroup.clone(),
            hard: want.hard.peak,
            soft: want.soft,
            vram: vram.collect(),
            starts: !want.vram.is_empty(),
            disk: want.disk.clone(),
            cpu: want.cpu,
            network: want.network,
            slot: want.slot.clone(),
            left: None,
            begins: None,
        }
    }

    /// What a lease still keeps.
    fn of(lease: &Lease, now: u64) -> Claimed {
        let [hard, soft] = lease.unspent_host();
        let young = lease.granted.is_some_and(|granted| now.saturating_sub(granted) < CPU_NS);
        let measured = !young && lease.state != State::Starting;
        Claimed {
            id: Some(lease.id),
            uid: lease.uid,
            unit: lease.unit.clone(),
            cgroup: place(lease).map(str::to_owned),
            hard,
            soft,
            vram: lease.gpus.iter().map(|gpu| (gpu.clone(), lease.unspent_vram(gpu))).collect(),
            starts: lease.gpus.iter().any(|gpu| lease.starts_on(gpu)),
            disk: lease.want.disk.clone(),
            cpu: if measured { 0 } else { lease.want.cpu },
            network: if measured { 0 } else { lease.want.network },
            slot: lease.want.slot.clone(),
            left: lease.expires.map(|expires| expires.saturating_sub(now)),
            begins: None,
        }
    }

    /// What one keeps that was made ahead: all of it, but for nobody's start.
    fn planned(lease: &Lease, now: u64) -> Claimed {
        let vram = lease.gpus.iter().zip(0_u32..);
        let vram = vram.map(|(gpu, own)| (gpu.clone(), lease.want.vram.get(&own).copied().unwrap_or_default().peak));
        Claimed {
            hard: lease.want.hard.peak,
            soft: lease.want.soft,
            vram: vram.collect(),
            starts: false,
            cpu: lease.want.cpu,
            network: lease.want.network,
            begins: Some(lease.begins.unwrap_or(now).saturating_sub(now)),
            ..Claimed::of(lease, now)
        }
    }

    /// Whether it is in the way of a case that takes up `own`: what was made ahead is not in the way of work that ends before, nor of that
    /// for which it was made.
    pub(super) fn concerns(&self, case: &Case<'_>, own: Option<u64>) -> bool {
        self.begins.is_none_or(|begins| {
            let is_own = own.is_some() && self.id == own;
            !is_own && case.lasts.is_none_or(|lasts| lasts > begins)
        })
    }

    /// What all leases keep.
    pub fn all(leases: &Leases) -> Vec<Claimed> {
        let one = |lease: &Lease| match lease.state {
            State::Planned => Some(Claimed::planned(lease, leases.now)),
            _ => lease.is_held().then(|| Claimed::of(lease, leases.now)),
        };
        leases.held.values().filter_map(one).collect()
    }
}
