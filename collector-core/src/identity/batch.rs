//! Jobs of batch systems and orchestrators. Many run below one unit of systemd, which is then no workload of its own.

use super::component::{Component, components};
use super::text::unescape;
use super::unit::number;
use super::{Finding, Kind, container};

/// Finds a job's name, from the path above its cgroup and the name of its cgroup.
type Job = fn(&str, &str) -> Option<String>;

/// Systems whose jobs are one cgroup deep.
const SYSTEMS: &[(&str, Kind, Job)] = &[
    ("pbs", Kind::Job, pbs),
    ("torque", Kind::Job, torque),
    ("lsf", Kind::Job, lsf),
    ("gridengine", Kind::Job, grid_engine),
    ("htcondor", Kind::Job, condor),
    ("oar", Kind::Job, oar),
    ("yarn", Kind::Task, yarn),
    ("nomad", Kind::Task, nomad),
];

/// The job, step or task of this path.
pub(super) fn find(path: &str) -> Option<Finding<'_>> {
    slurm(path).or_else(|| job(path)).or_else(|| pbs_service(path))
}

/// Whether an otherwise unknown cgroup is one above jobs, and their sum. (With systemd most are ordinary slices.)
pub(super) fn is_above_jobs(path: &str) -> bool {
    let Some(Component { name, parent, depth, .. }) = components(path).last() else { return false };
    match depth {
        0 => {
            let system = ["slurm", "torque", "lsf", "UGE", "htcondor", "oar", "hadoop-yarn", "nomad", "ecs"];
            system.contains(&name) || name.starts_with("slurm_")
        }
        1 if parent == "slurm" || parent.starts_with("slurm_") => number(name, "uid_").is_some(),
        1 if parent == "nomad" => matches!(name, "share" | "reserve"),
        1 => parent == "lsf",
        _ => false,
    }
}

fn job(path: &str) -> Option<Finding<'_>> {
    // What users and containers make below their own cgroups is theirs, whatever they call it.
    let mut theirs = components(path).take(1).any(|first| matches!(first.name, "user.slice" | "user"));
    components(path).find_map(|component| {
        let Component { name, above, top, .. } = component;
        theirs |= container::find(component, "").is_some();
        let found = SYSTEMS.iter().find_map(|&(runtime, kind, job)| Some((runtime, kind, job(above, name)?)));
        let (runtime, kind, job) = found.filter(|_| !theirs)?;
        Some(Finding { name: format!("{runtime}/{job}"), kind, runtime, top, ..Finding::default() })
    })
}

/// cgroup v1: `/slurm/uid_1000/job_123/step_0/task_0`, or `slurm_<node>`; v2: below the scope of slurmstepd,
/// `/system.slice/slurmstepd.scope/job_123/step_0/user/task_0`. From 26.05 on, v2 has the SLUID for `job_123`, unless
/// cgroup.conf says `CgroupJobIdPaths=yes`.
fn slurm(path: &str) -> Option<Finding<'_>> {
    let mut inside = false;
    let mut job = None;
    let mut scope = None;
    for Component { name, top, depth, .. } in components(path) {
        let finding = |name, kind| Finding { name, kind, runtime: "slurm", top, ..Finding::default() };
        match &job {
            Some((id, whole)) => {
                let step = name.strip_prefix("step_").filter(|step| !step.is_empty());
                let step = step.map(|step| finding(format!("slurm/{id}/step_{step}"), Kind::Step));
                return step.or_else(|| Some(Finding::clone(whole)));
            }
            None if inside => {
                let known = number(name, "job_").is_some() || is_sluid(name);
                job = known.then(|| (name, finding(format!("slurm/{name}"), Kind::Job)));
                if job.is_none() && number(name, "uid_").is_none() {
                    return scope;
                }
            }
            None if depth == 0 && (name == "slurm" || name.starts_with("slurm_")) => inside = true,
            // With several slurmd on a node, each prefixes its name.
            None if name.ends_with("slurmstepd.scope") => {
                inside = true;
                scope = Some(Finding { runtime: "", ..finding(unescape(name), Kind::Slice) });
            }
            None if name.ends_with(".slice") => {}
            None => return None,
        }
    }
    job.map(|(_, whole)| whole).or(scope)
}

/// Slurm's lexicographically sortable id of a job: `s`, and 13 digits of Crockford's base 32 (src/common/sluid.c).
fn is_sluid(name: &str) -> bool {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'A'..=b'Z') && !b"ILOU".contains(&byte);
    name.strip_prefix('s').is_some_and(|digits| digits.len() == 13 && digits.bytes().all(digit))
}

/// `/pbs_jobs.service/jobid/<job>`, on cgroup v2 also `…/jobs/<job>`. The hook's `cgroup_prefix` may be another.
fn pbs(above: &str, name: &str) -> Option<String> {
    let (service, jobs) = above.strip_prefix('/')?.split_once('/')?;
    (service.ends_with(".service") && matches!(jobs, "jobid" | "jobs")).then(|| name.to_owned())
}

/// The service that holds the jobs of PBS, without being a workload of its own.
fn pbs_service(path: &str) -> Option<Finding<'_>> {
    let Component { name, top, .. } = components(path).next()?;
    let holds = name.ends_with(".service") && name.contains("pbs");
    holds.then(|| Finding { name: unescape(name), kind: Kind::Slice, top, ..Finding::default() })
}

/// `/torque/<job>`
fn torque(above: &str, name: &str) -> Option<String> {
    (above == "/torque").then(|| name.to_owned())
}

/// `/lsf/<cluster>/job.<job>.<pid>.<time>`
fn lsf(above: &str, name: &str) -> Option<String> {
    let cluster = above.strip_prefix("/lsf/")?;
    let job = name.strip_prefix("job.")?.split('.').next().filter(|job| !job.is_empty())?;
    (!cluster.contains('/')).then(|| format!("job.{job}"))
}

/// `/UGE/<job>.<task>`
fn grid_engine(above: &str, name: &str) -> Option<String> {
    let (job, task) = name.split_once('.')?;
    let numbers = number(job, "").is_some() && number(task, "").is_some();
    (above == "/UGE" && numbers).then(|| name.to_owned())
}

/// `/htcondor/condor_var_lib_condor_execute_slot1_2@host`, on cgroup v2 also below a slice or condor's service.
fn condor(above: &str, name: &str) -> Option<String> {
    let (outer, parent) = above.rsplit_once('/')?;
    let path = name.strip_prefix("condor_").filter(|_| parent.contains("condor") && is_outside_units(outer))?;
    let slot = &path[path.rfind("_slot")? + 1..];
    let slot = slot.split('@').next()?;
    slot.bytes().any(|byte| byte.is_ascii_digit()).then(|| slot.to_owned())
}

/// `/oar/<user>_<job>`, `/oar.slice/<user>_<job>.scope`, `/oar.slice/oar-u<uid>.slice/oar-u<uid>-j<job>.slice`
fn oar(above: &str, name: &str) -> Option<String> {
    let stem = name.strip_suffix(".slice").or_else(|| name.strip_suffix(".scope")).unwrap_or(name);
    let job = match stem.strip_prefix("oar-u").filter(|_| above.starts_with("/oar.slice")) {
        Some(rest) => rest.split_once("-j")?.1,
        None if matches!(above, "/oar" | "/oar.slice") => stem.rsplit_once('_')?.1,
        None => return None,
    };
    number(job, "").map(str::to_owned)
}

/// Whether no unit with processes is on the path: what is below a service may be made by the user that it runs as.
fn is_outside_units(path: &str) -> bool {
    components(path).all(|component| !component.name.ends_with(".service") && !component.name.ends_with(".scope"))
}

/// `/hadoop-yarn/container_<cluster>_<application>_<attempt>_<container>`
fn yarn(above: &str, name: &str) -> Option<String> {
    let outer = above.strip_suffix("/hadoop-yarn").filter(|_| name.starts_with("container_"))?;
    is_outside_units(outer).then(|| name.to_owned())
}

/// `/nomad.slice/share.slice/<allocation>.<task>.scope` (or `reserve.slice`, or another parent), on cgroup v1
/// `/nomad/share/<allocation>.<task>`, and older shapes.
fn nomad(above: &str, name: &str) -> Option<String> {
    let scope = name.strip_suffix(".scope").filter(|_| above.ends_with(".slice") && is_outside_units(above));
    let inside = || matches!(above.split('/').nth(1), Some("nomad" | "nomad.slice"));
    let name = scope.or_else(|| inside().then(|| name.strip_suffix(".scope").unwrap_or(name)))?;
    let (allocation, task) = name.split_at_checked(36)?;
    let uuid = allocation.bytes().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    let task = task.strip_prefix('.').filter(|task| uuid && !task.is_empty())?;
    Some(format!("{}/{task}", &allocation[..8]))
}
