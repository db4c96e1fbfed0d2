//! What a claim is short of, and what a lease would give back if it ended. Only host memory, memory of GPUs and slots come back so.

use std::collections::BTreeMap;

use crate::admission::{self, Case, Claimed, Judged};
use crate::cgroup::contains;
use crate::lease::{Decision, Lease, Spent, Wanted};
use crate::view::View;
use crate::view::lease::{Leaving, place};

/// Of what there is too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Host memory below the limit of this cgroup, or of the whole host.
    Host(Option<String>),
    Gpu(String),
    Slot(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Short {
    pub of: Of,
    pub amount: u64,
}

/// What comes back with the end of a lease.
#[derive(Clone, Debug, Default)]
pub(super) struct Give {
    cgroup: Option<String>,
    hard: u64,
    vram: BTreeMap<String, u64>,
    slot: BTreeMap<String, u64>,
    uid: u32,
}

impl Give {
    pub fn of(lease: &Lease) -> Give {
        let (burned, [unspent, _]) = (lease.burned(), lease.unspent_host());
        let vram = |gpu: &String| {
            let used = burned.vram.get(gpu).copied().unwrap_or(0);
            (gpu.clone(), used.saturating_add(lease.unspent_vram(gpu)))
        };
        Give {
            cgroup: place(lease).map(str::to_owned),
            hard: unspent.saturating_add(burned.hard),
            vram: lease.gpus.iter().map(vram).collect(),
            slot: lease.want.slot.clone(),
            uid: lease.uid,
        }
    }

    /// What has ended already, and the host may not have back yet.
    pub fn left(leaving: &Leaving) -> Give {
        let Spent { hard, vram, .. } = leaving.used.clone();
        Give { cgroup: leaving.cgroup.clone(), hard, vram, ..Give::default() }
    }

    /// How much of this it gives to a claim of this user.
    fn toward(&self, view: &View, uid: u32, of: &Of) -> u64 {
        let inside = |path: &str| self.cgroup.as_deref().is_some_and(|cgroup| contains(path, cgroup));
        match of {
            Of::Host(None) => self.hard,
            Of::Host(Some(path)) => {
                if inside(path) {
                    self.hard
                } else {
                    0
                }
            }
            Of::Gpu(gpu) => self.vram.get(gpu).copied().unwrap_or(0),
            // A slot that the configuration does not name belongs to its user.
            Of::Slot(name) if uid == self.uid || view.leases.limits.slots.contains_key(name) => {
                self.slot.get(name).copied().unwrap_or(0)
            }
            Of::Slot(_) => 0,
        }
    }

    pub fn helps(&self, view: &View, uid: u32, short: &[Short]) -> bool {
        short.iter().any(|one| one.amount > 0 && self.toward(view, uid, &one.of) > 0)
    }

    pub fn fill(&self, view: &View, uid: u32, short: &mut [Short]) {
        for one in short {
            one.amount = one.amount.saturating_sub(self.toward(view, uid, &one.of));
        }
    }
}

/// What a claim is short of; none if something else is in its way, or soon out of it.
pub(super) fn short(view: &View, case: &Case<'_>, judged: &Judged, claimed: &[Claimed]) -> Option<Vec<Short>> {
    let verdict = &judged.verdict;
    let soon = verdict
        .retry_after_seconds
        .is_some_and(|seconds| seconds.saturating_mul(1_000_000_000) <= view.leases.limits.evict_ns);
    if judged.hopeless || (verdict.verdict == Decision::Wait && soon) {
        return None;
    }
    let mut short = Vec::new();
    for line in verdict.resources.iter().filter(|line| line.short > 0 && line.verdict != Decision::Tight) {
        match (line.resource.as_str(), line.of.clone()) {
            ("host memory", _) => {
                let bounds = admission::host_short(view, case, claimed);
                short.extend(bounds.into_iter().map(|(path, amount)| Short { of: Of::Host(path), amount }));
            }
            ("VRAM", Some(gpu)) => short.push(Short { of: Of::Gpu(gpu), amount: line.short }),
            ("slot", Some(name)) => short.push(Short { of: Of::Slot(name), amount: line.short }),
            _ => return None,
        }
    }
    (!short.is_empty()).then_some(short)
}

/// In words that others may read: a path is nobody else's.
pub(super) fn wanted(short: &[Short]) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for Short { of, amount } in short {
        let (resource, of) = match of {
            Of::Host(_) => ("host memory", None),
            Of::Gpu(gpu) => ("VRAM", Some(gpu.clone())),
            Of::Slot(name) => ("slot", Some(name.clone())),
        };
        match wanted.iter_mut().find(|one| one.resource == resource && one.of == of) {
            // The lowest of several limits.
            Some(one) => one.amount = one.amount.max(*amount),
            None => wanted.push(Wanted { resource: resource.to_owned(), of, amount: *amount }),
        }
    }
    wanted
}
