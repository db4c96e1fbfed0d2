//! Controllers: those that the kernel offers, and whether those of cgroup v2 reach containers and jobs.

use std::collections::BTreeMap;

use super::found::{Found, object};
use super::{Check, workloads};
use crate::action::Object;
use crate::advice::{Evidence, Unit};
use crate::identity::Kind;
use crate::statistic::workload::Statistic;
use crate::view::View;
use crate::view::workload::Workload;

pub(super) const CHECK: Check = Check {
    name: "controllers",
    holds: "The kernel offers the controllers memory, cpu, cpuset, io and pids, and on cgroup v2 memory, cpu and io reach every container and job.",
    otherwise: "Limits and weights of a controller that is missing cannot be set, or are accepted by systemd and do nothing.",
    needs: "What the kernel offered when the agent started. What a unit asks for and its cgroup does not have is not read from systemd.",
    unused: "There are no cgroups.",
    judge,
};

/// Each with its name on v1, and what does nothing without it.
const NEEDED: [(&str, &str, &str); 5] = [
    ("memory", "memory", "memory limits"),
    ("cpu", "cpu", "CPU quotas and weights"),
    ("cpuset", "cpuset", "sets of CPUs (AllowedCPUs=)"),
    ("io", "blkio", "IO weights and limits"),
    ("pids", "pids", "limits on processes (TasksMax=)"),
];

/// A number that a cgroup of v2 has only with this controller, and the setting of systemd that enables it.
const REACH: [(&str, Statistic, &str); 3] = [
    ("memory", Statistic::MemoryCurrent, "MemoryAccounting"),
    ("cpu", Statistic::CpuPeriods, "CPUAccounting"),
    ("io", Statistic::IoReadBytes, "IOAccounting"),
];

fn judge(view: &View, found: &mut Found) {
    let Some(offered) = &view.host.controllers else {
        return found.lacks(Object::Host, "which controllers the kernel offers");
    };
    let has = |name: &str| offered.iter().any(|offered| **offered == *name);
    let unified = view.workloads.memory_hierarchy() == 0;
    for (name, v1, what) in NEEDED.iter().filter(|(name, ..)| !has(name)) {
        let next = match unified {
            true => format!(
                "Boot a kernel that has {name}, without cgroup_disable={name}; if cgroup v1 has it mounted, unmount that; inside a cgroup of a container or service, have it delegated."
            ),
            false => format!("mkdir -p /sys/fs/cgroup/{v1} && mount -t cgroup -o {v1} cgroup /sys/fs/cgroup/{v1}"),
        };
        found.fails(Object::Host, format!("The controller {name} is missing: {what} do nothing."), next, Vec::new());
    }
    if unified {
        reach(view, has, found);
    }
    if !found.has_failed() {
        let names = NEEDED.map(|(name, ..)| name).join(", ");
        found.says(match unified {
            true => format!("{names} are there, and memory, cpu and io reach all containers and jobs."),
            false => format!("{names} are mounted (cgroup v1)."),
        });
    }
}

fn is_isolated(workload: &&Workload) -> bool {
    matches!(workload.identity.kind, Kind::Container | Kind::Job | Kind::Step | Kind::Task | Kind::Machine)
}

/// Which containers and jobs lack a controller that the host has, by the cgroup that does not pass it on.
fn reach(view: &View, has: impl Fn(&str) -> bool, found: &mut Found) {
    let lacks = |workload: &Workload, statistic| workload.statistics.get(statistic).is_none();
    // Of every cgroup that was read.
    let was_read = |workload: &&Workload| !lacks(workload, Statistic::CpuUsage);
    let bandwidth = workloads(view).any(|workload| !lacks(workload, Statistic::CpuPeriods));
    for (name, statistic, accounting) in REACH {
        // A kernel without CPU bandwidth has the number nowhere.
        if !has(name) || statistic == Statistic::CpuPeriods && !bandwidth {
            continue;
        }
        let mut cuts: BTreeMap<&str, Vec<&Workload>> = BTreeMap::new();
        for workload in workloads(view).filter(is_isolated).filter(was_read).filter(|it| lacks(it, statistic)) {
            cuts.entry(cut(view, &workload.identity.top, |above| lacks(above, statistic))).or_default().push(workload);
        }
        for (parent, without) in cuts {
            let Some(first) = without.first() else { continue };
            let whom = match without.len() {
                1 => first.name.to_string(),
                more => format!("{more} containers and jobs, such as {}", first.name),
            };
            let is = format!("{name} is not enabled below {parent}: its limits and weights do nothing for {whom}.");
            let next = match parent.rsplit('/').next().filter(|unit| unit.ends_with(".slice")) {
                Some(unit) => format!("Set {accounting}=yes for {unit} (systemctl set-property)."),
                None => format!("Write +{name} to cgroup.subtree_control of {parent} and of those above it."),
            };
            let parent = view.workloads.above(parent).next().and_then(|(_, known)| known);
            let count = Evidence::measured("containers and jobs without it", without.len() as f64, Unit::Count);
            found.fails(parent.map_or(Object::Host, object), is, next, vec![count]);
        }
    }
}

/// The lowest cgroup above a path that has it, whose children do not.
fn cut<'a>(view: &'a View, path: &'a str, lacks: impl Fn(&Workload) -> bool) -> &'a str {
    let above = view.workloads.above(path).skip(1);
    let below = above.take_while(|(_, known)| known.is_some_and(|above| above.is_alive() && lacks(above)));
    let top = below.last().map_or(path, |(path, _)| path);
    match top.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &top[..end],
    }
}
