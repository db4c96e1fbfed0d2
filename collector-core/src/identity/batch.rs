//! Jobs of Slurm and Nomad.

use super::component::{Component, components};
use super::unit::number;
use super::{Finding, Kind};

/// The job, step or task of this path.
pub(super) fn find(path: &str) -> Option<Finding<'_>> {
    slurm(path).or_else(|| nomad(path))
}

/// cgroup v1: `/slurm/uid_1000/job_123/step_0/task_0`, or `slurm_<node>`; v2: below the scope of slurmstepd,
/// `/system.slice/slurmstepd.scope/job_123/step_0/user/task_0`.
fn slurm(path: &str) -> Option<Finding<'_>> {
    let mut inside = false;
    let mut job = None;
    for Component { name, top, depth, .. } in components(path) {
        let finding = |name, kind| Finding { name, kind, runtime: "slurm", top, ..Finding::default() };
        match &job {
            Some((id, whole)) => {
                let step = name.strip_prefix("step_").filter(|step| !step.is_empty());
                let step = step.map(|step| finding(format!("slurm/job_{id}/step_{step}"), Kind::Step));
                return step.or_else(|| Some(Finding::clone(whole)));
            }
            None if inside => {
                job = number(name, "job_").map(|id| (id, finding(format!("slurm/job_{id}"), Kind::Job)));
                if job.is_none() && number(name, "uid_").is_none() {
                    return None;
                }
            }
            None if depth == 0 && (name == "slurm" || name.starts_with("slurm_")) => inside = true,
            // With several slurmd on a node, each prefixes its name.
            None if name.ends_with("slurmstepd.scope") => inside = true,
            None if name.ends_with(".slice") => {}
            None => return None,
        }
    }
    job.map(|(_, whole)| whole)
}

/// `/nomad.slice/share.slice/<allocation>.<task>.scope`, `/nomad/share/<allocation>.<task>` and older shapes.
fn nomad(path: &str) -> Option<Finding<'_>> {
    let mut inside = false;
    for Component { name, top, depth, .. } in components(path) {
        if depth == 0 {
            inside = name == "nomad" || name == "nomad.slice";
        }
        if !inside || depth > 3 {
            return None;
        }
        let Some((allocation, task)) = name.split_at_checked(36) else { continue };
        let uuid = allocation.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
        let task = task.strip_prefix('.').map(|task| task.strip_suffix(".scope").unwrap_or(task));
        if let Some(task) = task.filter(|task| uuid && !task.is_empty()) {
            let name = format!("nomad/{}/{task}", &allocation[..8]);
            return Some(Finding { name, kind: Kind::Task, runtime: "nomad", top, ..Finding::default() });
        }
    }
    None
}
