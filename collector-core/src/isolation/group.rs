//! Whether an OOM kill takes a workload as a whole. What systemd would do (OOMPolicy=) is not read; what was left after a kill is seen.

use super::found::{Found, object};
use super::{Check, workloads};
use crate::action::Object;
use crate::identity::Kind;
use crate::statistic::workload::{Statistic, holds};
use crate::view::View;
use crate::view::workload::Workload;

pub(super) const CHECK: Check = Check {
    name: "oom_group",
    holds: "An OOM kill takes all processes of a service, container or job (memory.oom.group, which OOMPolicy=kill sets).",
    otherwise: "It takes one process. The others stay, hold their memory and the GPU, and look alive: an API server whose worker is gone.",
    needs: "memory.oom.group (cgroup v2). Where it is 0, what systemd or the engine does after a kill is known only once one was seen and the rest stayed for a minute.",
    unused: "There is no service, container or job.",
    judge,
};

/// Whoever ends the rest has done it by then.
const AFTER_NS: u64 = 60_000_000_000;

fn judge(view: &View, found: &mut Found) {
    let mut open = 0;
    let unified = view.workloads.memory_hierarchy() == 0;
    for workload in workloads(view).filter(|workload| is_unit(workload) && is_used(workload)) {
        let name = &workload.name;
        let group = workload.statistics.get(Statistic::MemoryOomGroup);
        if group.is_some_and(|cgroups| cgroups > 0) {
            found.holds();
        } else if left_over(view, workload) {
            let is = format!("The OOM killer took a process of {name}, and the others stayed.");
            let next = match unified {
                true => "If the others are of no use without it: OOMPolicy=kill (systemd), or memory.oom.group = 1.",
                false => {
                    "If the others are of no use without it: OOMPolicy=stop (systemd); cgroup v1 has no memory.oom.group."
                }
            };
            found.fails(object(workload), is, next, Vec::new());
        } else {
            open += 1;
        }
    }
    if open > 0 && !found.has_failed() {
        let missing = match (open, unified) {
            (count, true) => {
                format!("what a kill leaves of {count} workloads without memory.oom.group, until one is seen")
            }
            (count, false) => format!(
                "what a kill leaves of {count} workloads, until one is seen (cgroup v1 has no memory.oom.group)"
            ),
        };
        found.lacks(Object::Host, missing);
    }
}

fn is_unit(workload: &Workload) -> bool {
    let kind = workload.identity.kind;
    matches!(kind, Kind::Service | Kind::Container | Kind::Job | Kind::Step | Kind::Task | Kind::Cgroup)
}

fn is_used(workload: &Workload) -> bool {
    holds(|statistic| workload.statistics.get(statistic)) == Some(true)
}

/// Whether a process was killed a while ago and its cgroup, of before the kill, is still in use.
fn left_over(view: &View, workload: &Workload) -> bool {
    view.workloads.outlived_kill(workload).is_some_and(|killed| view.time.saturating_sub(killed) >= AFTER_NS)
}
