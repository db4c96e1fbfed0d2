//! Capabilities and the instance lock: checked before anything is attached; capabilities that are no longer needed are
//! dropped once everything is attached.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use anyhow::{Context as _, anyhow, bail};
use caps::{CapSet, Capability, CapsHashSet};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;

use crate::exit::{Exit, Failure};

/// Needed to load and attach programs. CAP_SYS_ADMIN covers both, and is all that kernels before 5.8 know.
const ATTACH: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_PERFMON];

/// Kept while the agent runs: maps and programs stay in use, and the trees of cgroupfs and procfs are walked.
const KEEP: [Capability; 3] = [Capability::CAP_BPF, Capability::CAP_PERFMON, Capability::CAP_DAC_READ_SEARCH];

/// Kept too where transfers are watched: the agent reads other users' processes and attaches uprobes while it runs, for
/// which CAP_PERFMON is not enough on Linux 6.16 and newer and on stable kernels with the backported change.
const TRANSFER: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_SYS_ADMIN];

/// Kept too where it is seen which model files processes have mapped: how much of a file is cached the kernel tells its owner, and who
/// may act as that (`can_do_cachestat` of mm/filemap.c).
const INSPECT: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_FOWNER];

/// What the configuration wants that takes more capabilities than usual.
#[derive(Clone, Copy, Debug, Default)]
pub struct Needs {
    pub transfer: bool,
    pub inspect: bool,
}

/// The lock file's.
const LOCK_MODE: u32 = 0o600;

/// Optional capabilities, each with what is lost without it.
const OPTIONAL: [(Capability, &str); 5] = [
    (
        Capability::CAP_DAC_READ_SEARCH,
        "files that only root may read cannot be read: containers and pods may lack names, and filesystems below such \
         directories lack figures",
    ),
    (
        Capability::CAP_SYS_PTRACE,
        "other users' processes cannot be inspected: where transfers are watched, their transfers are not seen; with \
         model_file.inspect, the files that they have mapped and open are not known; and how full /dev/shm is in containers that the host's mounts do not show is estimated",
    ),
    (
        Capability::CAP_FOWNER,
        "with model_file.inspect, how much of other users' model files is cached is not known on Linux 6.14 and newer",
    ),
    (
        Capability::CAP_SYS_RESOURCE,
        "oom_score_adj cannot be lowered; before Linux 6.4 PSI triggers cannot be armed; on Linux 5.10 the maps may exceed \
         the limit of locked memory",
    ),
    (
        Capability::CAP_SYS_ADMIN,
        "the run time of the programs is not measured; where transfers are watched, uprobes cannot be attached on Linux \
         6.16 and newer, nor on older kernels with the backported change",
    ),
];

/// The optional capabilities that this process lacks, each with what is lost without it.
pub fn lost() -> impl Iterator<Item = &'static (Capability, &'static str)> {
    OPTIONAL.iter().filter(|(capability, _)| !has(*capability))
}

pub fn has(capability: Capability) -> bool {
    caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false)
}

/// The required capabilities that this process lacks.
pub fn missing() -> Vec<Capability> {
    if has(Capability::CAP_SYS_ADMIN) {
        return Vec::new();
    }
    ATTACH.into_iter().filter(|capability| !has(*capability)).collect()
}

/// Fails if a capability that attaching needs is missing.
pub fn check() -> Result<(), Failure> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(Capability::to_string).collect();
    let error = anyhow!("loading eBPF programs needs {}, which this process lacks", names.join(" and "));
    Err(Failure::new(Exit::Privilege, error)
        .hint("run it as root (`sudo headroom run`), or give it these capabilities"))
}

/// Makes sure that no other instance runs. The lock holds as long as the file is open. Only root and the agent's own user can
/// open it: whoever else could, could hold the lock. `user` is the uid that a root agent becomes.
pub fn lock(path: &Path, user: Option<u32>) -> Result<File, Failure> {
    // The service manager creates the default directory; a manual run has to create it.
    create_parent(path).with_context(|| format!("create the directory of the lock file {}", path.display()))?;
    let file = open_lock(path, user).with_context(|| format!("open the lock file {}", path.display()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(Errno::WOULDBLOCK) => {
            let error = anyhow!("another instance is running: it holds {}", path.display());
            let hint = "stop it first (lslocks shows which process holds it), or give this one a `lock` of its own";
            Err(Failure::new(Exit::Running, error).hint(hint))
        }
        Err(error) => Err(anyhow!(error).context(format!("lock {}", path.display())).into()),
    }
}

fn open_lock(path: &Path, user: Option<u32>) -> anyhow::Result<File> {
    // A FIFO must not block, and a link must not lead elsewhere.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = File::options();
    options.create(true).write(true).truncate(false).mode(LOCK_MODE).custom_flags(flags.bits() as i32);
    let file = options.open(path)?;
    let found = file.metadata()?;
    let owner = rustix::process::geteuid().as_raw();
    if !found.is_file() {
        bail!("it is not a regular file");
    }
    // In the folder of its own, an agent that was started as that user made it.
    if ![owner, 0].contains(&found.uid()) && Some(found.uid()) != user {
        bail!("it belongs to uid {}, who could hold the lock", found.uid());
    }
    // An older version made it readable for everybody.
    if found.uid() == owner && found.mode() & 0o777 != LOCK_MODE {
        file.set_permissions(Permissions::from_mode(LOCK_MODE)).context("make it unreadable for others")?;
    }
    Ok(file)
}

/// Creates the folder of a file, which everybody may enter, unless it exists.
pub fn create_parent(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        Some(folder) => {
            fs::create_dir_all(folder)?;
            // Whatever the umask is.
            fs::set_permissions(folder, Permissions::from_mode(0o755))
        }
        None => Ok(()),
    }
}

/// Makes the OOM killer choose other processes: an observer that dies with what it observes is of no use.
pub fn protect(oom_score_adj: i32) {
    if let Err(error) = fs::write("/proc/self/oom_score_adj", oom_score_adj.to_string()) {
        tracing::warn!("oom_score_adj could not be set (lowering it needs CAP_SYS_RESOURCE): {error}");
    }
}

/// Becomes another user, and drops every capability that is no longer needed, for good: programs that are started later cannot regain them, not
/// even as root.
pub fn drop_unneeded(needs: Needs, become_user: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    let held = caps::read(None, CapSet::Permitted).context("read the capabilities")?;
    let transfer = TRANSFER.into_iter().filter(|_| needs.transfer);
    let more = transfer.chain(INSPECT.into_iter().filter(|_| needs.inspect));
    let mut keep: CapsHashSet = KEEP.into_iter().chain(more).filter(|capability| held.contains(capability)).collect();
    if !held.contains(&Capability::CAP_BPF) && held.contains(&Capability::CAP_SYS_ADMIN) {
        keep.insert(Capability::CAP_SYS_ADMIN);
    }
    // Dropping from the bounding set needs CAP_SETPCAP; without it, no_new_privs alone prevents regaining capabilities.
    if held.contains(&Capability::CAP_SETPCAP) {
        let bounding = caps::read(None, CapSet::Bounding).context("read the bounding set")?;
        for capability in bounding.difference(&keep) {
            caps::drop(None, CapSet::Bounding, *capability).context("drop from the bounding set")?;
        }
    }
    rustix::thread::set_no_new_privs(true).context("set no_new_privs")?;
    // After the bounding set, which takes a capability that another user's process does not have at first.
    become_user()?;
    caps::clear(None, CapSet::Inheritable).context("drop inheritable capabilities")?;
    caps::set(None, CapSet::Effective, &keep).context("drop effective capabilities")?;
    caps::set(None, CapSet::Permitted, &keep).context("drop permitted capabilities")
}
