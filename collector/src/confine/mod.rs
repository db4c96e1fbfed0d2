//! Limits the agent to what it does once it has started: a user of its own, files that it may write, system calls that it may make.
//! What a kernel does not offer is left out and said. Knows what the agent needs, and how each limit is set; capabilities are
//! `privilege`'s.

mod call;
mod disk;
pub mod user;

use std::path::{Path, PathBuf};

use caps::Capability;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

use crate::config::Config;
use crate::private;
use crate::privilege;
use crate::source::Finding;

/// What stays allowed.
#[derive(Clone, Debug)]
pub struct Allowed {
    /// Folders that may be written. They exist.
    pub folders: Vec<PathBuf>,
    /// NVML opens devices for writing.
    pub devices: bool,
    /// Programs are loaded and attached to libraries that appear.
    pub transfer: bool,
    /// Other users' processes are looked into.
    pub inspect: bool,
}

/// One limit, and whether it is set or why not.
#[derive(Debug)]
pub struct Limit {
    pub name: &'static str,
    pub set: Result<(), String>,
}

impl Allowed {
    pub fn of(config: &Config) -> Allowed {
        let mut folders = vec![config.journal.dir.clone()];
        folders.extend(user::runtime_folder(config));
        folders.retain(|folder| private::folder(folder).is_ok());
        // A folder of alerts is others' too, and not created.
        let files = config.sink.file.iter().filter_map(|sink| sink.value.path.parent());
        folders.extend(files.filter(|folder| folder.is_dir()).map(Path::to_owned));
        Allowed {
            folders,
            devices: config.gpu.enabled != "off",
            transfer: config.transfer.enabled,
            inspect: inspects(config),
        }
    }
}

/// Whether other processes are looked into. Without CAP_SYS_PTRACE there is nothing to see for which Landlock must be left out.
fn inspects(config: &Config) -> bool {
    config.transfer.enabled || (config.model_file.inspects() && privilege::has(Capability::CAP_SYS_PTRACE))
}

/// Sets the limits for this process, for good. There must be one thread only: those that it starts inherit them.
pub fn enter(allowed: &Allowed) -> Vec<Limit> {
    let disk = match allowed.inspect {
        // `hook_ptrace_access_check` of the kernel's security/landlock: whoever is in a domain looks into no process outside of
        // it, so neither at its root nor, before Linux 6.14, at its mappings.
        true => {
            Err("Landlock forbids looking into other processes, which watching transfers and model files needs".into())
        }
        false => disk::restrict(&allowed.folders, allowed.devices),
    };
    vec![
        Limit { name: "no core dumps", set: no_dumps() },
        Limit { name: "files that may be written (Landlock)", set: disk },
        Limit { name: "system calls (seccomp)", set: call::restrict(allowed.transfer) },
    ]
}

/// Memory may hold secrets of receivers and keys.
fn no_dumps() -> Result<(), String> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(|error| error.to_string())
}

/// What `headroom run` could limit on this host.
pub fn examine(config: &Config) -> Finding {
    let user = match user::find(config) {
        Ok(Some(user)) => format!("runs as uid {}", user.uid),
        Ok(None) => format!("stays uid {}", rustix::process::geteuid().as_raw()),
        Err(why) => format!("stays uid {}: {why}", rustix::process::geteuid().as_raw()),
    };
    let looks = inspects(config);
    let disk = match (looks, disk::supported()) {
        (true, _) => "no Landlock while transfers, or the files of processes (model_file.inspect), are watched",
        (false, true) => "Landlock",
        (false, false) => "this kernel has no Landlock",
    };
    let call = if call::supported() { "seccomp" } else { "this kernel has no seccomp" };
    let ok = call::supported() && (looks || disk::supported());
    Finding { key: "confinement", title: "confinement", ok, is: format!("once started it {user}; {disk}; {call}") }
}
