//! Whether what isolates workloads acts on this host: limits, weights and protections that are set and do nothing, or do harm. Checks over
//! what is known now, all pure; `headroom doctor`, the API and the metrics read the same table. Changes nothing.

mod above;
mod controller;
pub mod document;
mod found;
mod group;
mod high;
mod kubelet;
mod protection;
#[cfg(test)]
mod tests;
mod unified;
pub(crate) mod weight;
pub(crate) mod zram;

use crate::audit::Audited;
use crate::identity::Kind;
use crate::view::View;
use crate::view::workload::{OTHER, Workload};
use found::Found;

/// A check: what must be so, and how that is judged.
pub struct Check {
    /// What it is called in metrics and in the API: `io_weight`.
    pub name: &'static str,
    /// What must be so, in one sentence.
    pub holds: &'static str,
    /// What happens where it is not so.
    pub otherwise: &'static str,
    /// What must be known.
    pub needs: &'static str,
    /// What is said where there is nothing to judge.
    pub unused: &'static str,
    judge: fn(&View, &mut Found),
}

/// All of them.
pub const CHECKS: &[Check] = &[
    controller::CHECK,
    above::CHECK,
    protection::CHECK,
    high::CHECK,
    weight::CHECK,
    unified::CHECK,
    group::CHECK,
    zram::CHECK,
    kubelet::CHECK,
];

/// By all checks.
pub fn audit(view: &View) -> Vec<Audited> {
    CHECKS.iter().map(|check| check.judge(view)).collect()
}

impl Check {
    pub fn judge(&self, view: &View) -> Audited {
        let mut found = Found::default();
        (self.judge)(view, &mut found);
        found.audited(self, view)
    }
}

/// Workloads that exist, each with a cgroup of its own. The cgroups above them are among them.
fn workloads(view: &View) -> impl Iterator<Item = &Workload> {
    let own = |workload: &&Workload| *workload.name != *OTHER && workload.identity.kind != Kind::Root;
    view.workloads.iter().filter(own).filter(|workload| workload.is_alive())
}
