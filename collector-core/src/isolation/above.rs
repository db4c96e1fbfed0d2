//! Limits of memory that never act, because one above them is lower, or because the host has less memory.

use std::collections::BTreeMap;

use super::found::{Found, object};
use super::{Check, workloads};
use crate::action::Object;
use crate::advice::{Evidence, Unit};
use crate::amount::bytes;
use crate::statistic::host;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::workload::Workload;

pub(super) const CHECK: Check = Check {
    name: "limit_above_parent",
    holds: "No limit of memory is above a limit of a cgroup above it, or above the host's memory.",
    otherwise: "The higher limit never acts: at the lower one the kernel reclaims from, or kills, whichever workload below it holds most.",
    needs: "Limits of memory (memory.max and memory.high; on v1 memory.limit_in_bytes) of the workload, and memory.max of those above it. On v1 before Linux 5.11 the limits above may not count (memory.use_hierarchy), and nothing is judged.",
    unused: "No workload has a limit of memory.",
    judge,
};

fn judge(view: &View, found: &mut Found) {
    let unified = view.workloads.memory_hierarchy() == 0;
    if !unified && !counts_above(view) {
        return found.lacks(Object::Host, "whether limits above a cgroup count (memory.use_hierarchy)");
    }
    let several = several(view);
    let total = view.host.statistics.get(host::Statistic::MemoryTotal);
    let keys: &[(Statistic, &str)] = match unified {
        true => &[(Statistic::MemoryLimit, "memory.max"), (Statistic::MemoryHigh, "memory.high")],
        false => &[(Statistic::MemoryLimit, "memory.limit_in_bytes")],
    };
    for workload in workloads(view).filter(|it| !several.contains_key(&*it.name)) {
        for (statistic, key) in keys {
            let Some(limit) = workload.statistics.get(*statistic) else { continue };
            match lower(view, workload, limit, total) {
                None => found.holds(),
                Some((least, whose)) => {
                    let evidence = vec![
                        Evidence::configured(format!("{key} of {}", workload.name), limit as f64, Unit::Bytes),
                        Evidence::configured(format!("what {whose} has"), least as f64, Unit::Bytes),
                    ];
                    let (limit, least) = (bytes(limit), bytes(least));
                    let is = format!(
                        "{key} of {} is {limit} and never acts: {whose} has {least}, which acts first.",
                        workload.name
                    );
                    let next = format!("Set {key} of {} below {least}, or raise that of {whose}.", workload.name);
                    let next =
                        if whose == HOST { format!("Set {key} of {} below {least}.", workload.name) } else { next };
                    found.fails(object(workload), is, next, evidence);
                }
            }
        }
    }
}

const HOST: &str = "the host";

/// The least limit above it that is lower than its own, and whose that is.
fn lower(view: &View, workload: &Workload, limit: u64, total: Option<u64>) -> Option<(u64, String)> {
    let above = view.workloads.above(&workload.identity.top).skip(1).filter_map(|(_, known)| {
        let above = known.filter(|above| above.is_alive() && above.name != workload.name)?;
        Some((above.statistics.get(Statistic::MemoryLimit)?, above.name.to_string()))
    });
    let least = above.chain(total.map(|total| (total, HOST.to_owned()))).min_by_key(|(limit, _)| *limit);
    least.filter(|(least, _)| *least < limit)
}

/// Workloads that have several cgroups: their numbers are sums, and no cgroup has them.
pub(super) fn several(view: &View) -> BTreeMap<&str, usize> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    view.workloads.nested().into_iter().for_each(|(_, workload)| *counts.entry(&*workload.name).or_default() += 1);
    counts.retain(|_, count| *count > 1);
    counts
}

/// From Linux 5.11 on a cgroup of v1 is always limited by those above it (commit bef8620cd8e0).
fn counts_above(view: &View) -> bool {
    let Some(build) = &view.build else { return false };
    let mut numbers = build.kernel.split(['.', '-']).map_while(|number| number.parse::<u32>().ok());
    numbers.next().zip(numbers.next()).is_some_and(|version| version >= (5, 11))
}
