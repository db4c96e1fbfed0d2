//! Protection of memory that is promised below a cgroup, and that the cgroup itself does not have.

use std::collections::BTreeMap;

use super::Check;
use super::above::several;
use super::found::{Found, object};
use crate::advice::{Evidence, Unit};
use crate::amount::bytes;
use crate::identity::Kind;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::workload::Workload;

pub(super) const CHECK: Check = Check {
    name: "protection_above_parent",
    holds: "What cgroups are protected (memory.min, memory.low), all together, is no more than what the cgroup above them is.",
    otherwise: "The kernel protects no more than the cgroup above has, and shares that among those below: each has less than it is set to, or nothing.",
    needs: "cgroup v2: memory.min and memory.low of the workloads and of those above them.",
    unused: "No workload below another is protected (memory.min, memory.low).",
    judge,
};

fn judge(view: &View, found: &mut Found) {
    // v1 has none that acts alike.
    if view.workloads.memory_hierarchy() != 0 {
        return;
    }
    let several = several(view);
    let tops = view.workloads.nested();
    let known: BTreeMap<&str, &Workload> = tops.iter().copied().collect();
    for (statistic, key) in [(Statistic::MemoryMin, "memory.min"), (Statistic::MemoryLow, "memory.low")] {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (path, workload) in tops.iter().filter(|(_, it)| it.is_alive() && !several.contains_key(&*it.name)) {
            let Some(end) = path.rfind('/').filter(|end| *end > 0) else { continue };
            let Some(protected) = protected(workload, statistic) else { continue };
            let sum = sums.entry(&path[..end]).or_default();
            *sum = sum.saturating_add(protected);
        }
        for (path, sum) in sums.into_iter().filter(|(_, sum)| *sum > 0) {
            let parent = known.get(path).filter(|parent| {
                parent.is_alive() && parent.identity.kind != Kind::Root && !several.contains_key(&*parent.name)
            });
            let Some(parent) = parent else { continue };
            if parent.statistics.get(Statistic::MemoryCurrent).is_none() {
                found.lacks(object(parent), format!("{key} of {}", parent.name));
                continue;
            }
            // Without a number it is protected as a whole.
            match parent.statistics.get(statistic).filter(|own| *own < sum) {
                None => found.holds(),
                Some(own) => {
                    let evidence = vec![
                        Evidence::configured(format!("{key} of {}", parent.name), own as f64, Unit::Bytes),
                        Evidence::configured(format!("{key} of the cgroups below it"), sum as f64, Unit::Bytes),
                    ];
                    let (own, sum) = (bytes(own), bytes(sum));
                    let is = format!(
                        "{key} below {} is {sum} in all, and its own is {own}: no more than that is protected.",
                        parent.name
                    );
                    let next = format!("Set {key} of {} to {sum}, or less below it.", parent.name);
                    found.fails(object(parent), is, next, evidence);
                }
            }
        }
    }
}

/// What of it is protected; as a whole that is what it holds.
fn protected(workload: &Workload, statistic: Statistic) -> Option<u64> {
    let held = workload.statistics.get(Statistic::MemoryCurrent)?;
    Some(workload.statistics.get(statistic).unwrap_or(held))
}
