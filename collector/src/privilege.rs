//! What the process may do, and that it is the only one: checked before anything is attached, given up once everything
//! is.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, anyhow};
use caps::{CapSet, Capability, CapsHashSet};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::exit::{Exit, Failure};

/// What loading and attaching takes; CAP_SYS_ADMIN stands for both, and is all that kernels before 5.8 know.
const ATTACH: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_PERFMON];

/// What is kept: the maps and programs are used on, and the trees of cgroupfs and procfs are walked.
const KEEP: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_DAC_READ_SEARCH];

/// What is kept besides where transfers are watched: processes of others are looked into, and uprobes are attached while
/// the agent runs, which Linux 6.16 and newer, and stable kernels of before, do not allow to CAP_PERFMON.
const TRANSFER: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_SYS_ADMIN];

/// What is lost without a capability that the agent can do without.
const LOST: [(Capability, &str); 4] = [
    (
        Capability::CAP_DAC_READ_SEARCH,
        "what only root may read: containers and pods may be without their names, filesystems below such folders without \
         figures",
    ),
    (
        Capability::CAP_SYS_PTRACE,
        "what other users' processes have loaded: where transfers are watched, theirs are not seen",
    ),
    (
        Capability::CAP_SYS_RESOURCE,
        "oom_score_adj stays as it is; before Linux 6.4 the kernel does not tell of pressure at once; on Linux 5.10 the maps \
         may be too large for the limit of locked memory",
    ),
    (
        Capability::CAP_SYS_ADMIN,
        "how long the programs run is not measured; where transfers are watched, Linux 6.16 and newer, and older kernels \
         that were changed as well, attach no uprobes",
    ),
];

/// The capabilities that this process has not got and can do without, each with what that costs.
pub fn lost() -> impl Iterator<Item = &'static (Capability, &'static str)> {
    LOST.iter().filter(|(capability, _)| !has(*capability))
}

/// Whether this process has a capability.
pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// The capabilities that are needed and missing.
pub fn missing() -> Vec<Capability> {
    if has(Capability::CAP_SYS_ADMIN) {
        return Vec::new();
    }
    ATTACH.into_iter().filter(|capability| !has(*capability)).collect()
}

/// Refuses to go on without what attaching takes.
pub fn check() -> Result<(), Failure> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(Capability::to_string).collect();
    let error = anyhow!("loading eBPF programs takes {}, which this process has not got", names.join(" and "));
    Err(Failure::new(Exit::Privilege, error)
        .hint("run it as root (`sudo headroom run`), or give it these capabilities"))
}

/// Makes sure that no other instance runs; holds as long as the file is open.
pub fn lock(path: &Path) -> Result<File, Failure> {
    // The folder of the default is made by the service manager, and by hand by nobody.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_dir_all(folder).with_context(|| format!("make the folder of the lock file {}", path.display()))?;
    }
    let open = File::options().create(true).write(true).truncate(false).open(path);
    let file = open.with_context(|| format!("open the lock file {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let error = anyhow!("another instance is running: it holds {}", path.display());
            Err(Failure::new(Exit::Running, error).hint("stop it first, or give this one a `lock` of its own"))
        }
        Err(error) => Err(anyhow!(error).context(format!("lock {}", path.display())).into()),
    }
}

/// Makes the kernel's OOM killer choose others. The observer is of no use if it dies with what it observes.
pub fn protect(oom_score_adj: i32) {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", oom_score_adj.to_string()) {
        tracing::warn!("oom_score_adj stays as it is (lowering it takes CAP_SYS_RESOURCE): {error}");
    }
}

/// Gives up every capability but those that are still needed, for good: no program that is started from here on has
/// more, not even as root.
pub fn drop_unneeded(transfer: bool) -> anyhow::Result<()> {
    let held = caps::read(None, CapSet::Permitted).context("read the capabilities")?;
    let more = TRANSFER.into_iter().filter(|_| transfer);
    let mut keep: CapsHashSet = KEEP.into_iter().chain(more).filter(|capability| held.contains(capability)).collect();
    if !held.contains(&Capability::CAP_BPF) && held.contains(&Capability::CAP_SYS_ADMIN) {
        keep.insert(Capability::CAP_SYS_ADMIN);
    }
    // It takes a capability to do without the others; who has not got it is held by no_new_privs alone.
    if held.contains(&Capability::CAP_SETPCAP) {
        let bounding = caps::read(None, CapSet::Bounding).context("read the bounding set")?;
        for capability in bounding.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *capability).context("drop from the bounding set")?;
        }
    }
    rustix::thread::set_no_new_privs(true).context("set no_new_privs")?;
    caps::clear(None, CapSet::Inheritable).context("drop inheritable capabilities")?;
    caps::set(None, CapSet::Effective, &keep).context("drop effective capabilities")?;
    caps::set(None, CapSet::Permitted, &keep).context("drop permitted capabilities")
}
