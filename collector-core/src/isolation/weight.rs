//! Weights of IO that are set, and whether a disk heeds them.

use super::found::{Found, object};
use super::{Check, workloads};
use crate::action;
use crate::statistic::disk::Weights;
use crate::statistic::workload::Statistic;
use crate::view::View;

pub(super) const CHECK: Check = Check {
    name: "io_weight",
    holds: "Where a workload has a weight of IO (IOWeight=, io.weight, io.bfq.weight, --blkio-weight), some disk heeds it.",
    otherwise: "The weight does nothing: everybody gets the same share of the disk.",
    needs: "The weights of the workloads' cgroups, and the scheduler of each disk: BFQ heeds io.bfq.weight, and the kernel's cost model io.weight (systemd sets both).",
    unused: "No workload has a weight of IO other than the default.",
    judge,
};

/// What heeds weights on a disk. `None` if that is not known: it is made of others.
pub(crate) fn on(view: &View, disk: &str) -> Option<Option<Weights>> {
    view.host.disks.get(disk).map(Weights::of)
}

/// The number of a disk: `8:0`.
pub(crate) fn number(view: &View, disk: &str) -> Option<String> {
    view.host.devices.iter().find(|(_, device)| *device.name == *disk).map(|(number, _)| number.to_string())
}

fn judge(view: &View, found: &mut Found) {
    let disks = view.host.disks.keys().filter_map(|disk| Some((&**disk, on(view, disk)??)));
    let disks: Vec<(&str, Weights)> = disks.collect();
    let unified = view.workloads.memory_hierarchy() == 0;
    for workload in workloads(view) {
        let is_set = |statistic| workload.statistics.get(statistic).is_some_and(|cgroups| cgroups > 0);
        let [cost, bfq] = [Statistic::IoWeighted, Statistic::IoBfqWeighted].map(is_set);
        if !cost && !bfq {
            continue;
        }
        let name = &workload.name;
        if disks.is_empty() {
            found.lacks(object(workload), "the scheduler of any disk");
            continue;
        }
        if disks.iter().any(|(_, heeds)| heeds.bfq && bfq || heeds.cost && cost) {
            found.holds();
            continue;
        }
        let all = disks.iter().map(|(disk, _)| *disk).collect::<Vec<_>>().join(", ");
        let other = disks.iter().find(|(_, heeds)| heeds.acts());
        let why = match (other, cost) {
            (None, _) => format!("neither BFQ nor the kernel's cost model is on for {all}"),
            (Some((disk, _)), true) => format!("it is io.weight, and {disk} heeds io.bfq.weight (BFQ)"),
            (Some((disk, _)), false) => format!("it is io.bfq.weight, and {disk} heeds io.weight (the cost model)"),
        };
        let next = match (other, disks.first()) {
            (Some(_), _) => format!("Set both io.weight and io.bfq.weight of {name}, as IOWeight= of systemd does."),
            (None, Some((disk, _))) => scheduler(view, disk, unified),
            (None, None) => String::new(),
        };
        found.fails(object(workload), format!("The weight of IO of {name} does nothing: {why}."), next, Vec::new());
    }
}

/// What lets weights act on a disk.
fn scheduler(view: &View, disk: &str, unified: bool) -> String {
    let action = action::io_weights(disk, number(view, disk).as_deref(), unified);
    let command = action.and_then(|action| action.commands.into_iter().next());
    command.map_or_else(|| format!("Choose BFQ for {disk}."), |command| command.text)
}

/// For advice about the same disk.
pub(crate) fn inert(view: &View, disk: &str) -> Option<Result<bool, &'static str>> {
    Some(match on(view, disk)? {
        Some(heeds) => Ok(!heeds.acts()),
        None => Err("the scheduler of the disk: one that is made of others has none of its own"),
    })
}
