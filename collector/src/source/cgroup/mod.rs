//! cgroupfs: where the hierarchies are mounted, and which cgroups exist.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use collector_core::cgroup::Id;

use crate::source::root::Root;
use crate::source::text::{lines, number, unescape};

/// A cgroup controller, or what is read like one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    Memory,
    /// Block IO; `blkio` in v1.
    Io,
    /// CPU bandwidth and throttling; in v2 also CPU time used.
    Cpu,
    /// CPU time used; v1 only.
    Cpuacct,
    Pids,
    /// Pressure. Not a controller, but found in every cgroup of v2, even where v1 has all the controllers.
    Pressure,
}

impl Controller {
    pub const ALL: [Controller; 6] = [
        Controller::Memory,
        Controller::Io,
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Pids,
        Controller::Pressure,
    ];

    pub fn name(self) -> &'static str {
        ["memory", "io", "cpu", "cpuacct", "pids", "pressure"][self as usize]
    }
}

/// The mounted hierarchy of each controller. With cgroup v2 it is the same for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies {
    pub memory: Hierarchy,
    pub io: Hierarchy,
    /// The other controllers, indexed by [`Controller`].
    others: [Option<Hierarchy>; Controller::ALL.len()],
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Hierarchy id; 0 is v2.
    pub id: u64,
    /// Mount point.
    pub root: PathBuf,
    /// Path of the cgroup at the mount point; empty if it is the hierarchy's root.
    pub prefix: String,
}

impl Hierarchies {
    /// Reads the mounted hierarchies from the host's /proc.
    pub fn find(root: &Root) -> Result<Hierarchies> {
        let read = |name: &str| {
            let path = root.process().join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        Hierarchies::parse(&read("cgroup")?, &read("mountinfo")?, root)
    }

    /// Parses the content of a process's `cgroup` and `mountinfo`.
    pub fn parse(cgroups: &str, mounts: &str, root: &Root) -> Result<Hierarchies> {
        let find = |name: &str| locate(name, cgroups, mounts, root);
        let mut others = ["", "", "cpu", "cpuacct", "pids", ""]
            .map(|name| Some(name).filter(|name| !name.is_empty()).and_then(|name| find(name).ok()));
        others[Controller::Pressure as usize] = mounted(0, "", mounts, root);
        // In v2 `cpu` covers both of v1's controllers: do not count it twice.
        let is_v2 = |hierarchy: &Option<Hierarchy>| hierarchy.as_ref().is_some_and(|hierarchy| hierarchy.id == 0);
        if is_v2(&others[Controller::Cpu as usize]) || is_v2(&others[Controller::Cpuacct as usize]) {
            others[Controller::Cpuacct as usize] = None;
        }
        let memory = find("memory")?;
        // A missing line may also mean that the kernel lacks the controller; a v2 tree beside v1 does not prove that it
        // exists.
        let pids = &mut others[Controller::Pids as usize];
        *pids = pids.take_if(|pids| pids.id != 0 || memory.id == 0);
        Ok(Hierarchies { memory, io: find("blkio")?, others })
    }

    /// The hierarchy of a controller, if it is mounted.
    pub fn of(&self, controller: Controller) -> Option<&Hierarchy> {
        match controller {
            Controller::Memory => Some(&self.memory),
            Controller::Io => Some(&self.io),
            other => self.others[other as usize].as_ref(),
        }
    }

    /// The hierarchies of memory and io, by which cgroups are named and charged, without duplicates.
    pub fn distinct(&self) -> impl Iterator<Item = &Hierarchy> {
        let io = Some(&self.io).filter(|io| io.id != self.memory.id);
        std::iter::once(&self.memory).chain(io)
    }

    /// All hierarchies without duplicates; the memory controller's comes first.
    pub fn all(&self) -> Vec<&Hierarchy> {
        let mut all: Vec<&Hierarchy> = Vec::new();
        for hierarchy in Controller::ALL.iter().filter_map(|controller| self.of(*controller)) {
            if all.iter().all(|other| other.id != hierarchy.id) {
                all.push(hierarchy);
            }
        }
        all
    }

    /// The mode and the mount point of each controller, grouped by mount point.
    pub fn describe(&self) -> String {
        let places = self.all().into_iter().map(|hierarchy| {
            let here = |controller: &&Controller| self.of(**controller).is_some_and(|it| it.id == hierarchy.id);
            let names: Vec<_> = Controller::ALL.iter().filter(here).map(|controller| controller.name()).collect();
            let part = if hierarchy.is_partial() { ", only part of the host's hierarchy" } else { "" };
            format!("{} at {}{part}", names.join(", "), hierarchy.root.display())
        });
        format!("{}: {}", self.mode(), places.collect::<Vec<_>>().join("; "))
    }

    /// Short form for the doctor.
    pub fn mode(&self) -> &'static str {
        let v2 = [Controller::Memory, Controller::Io, Controller::Cpu]
            .map(|controller| self.of(controller).is_some_and(|hierarchy| hierarchy.id == 0));
        match (v2.contains(&true), v2.contains(&false) && self.all().len() > 1) {
            (true, true) => "hybrid",
            (true, false) => "v2",
            // systemd calls a v2 tree without controllers beside v1 hybrid; it provides pressure.
            (false, _) if self.of(Controller::Pressure).is_some() => "v1, with a v2 tree for pressure",
            (false, _) => "v1",
        }
    }
}

/// A v1 controller has its own line in `/proc/self/cgroup` (`4:memory:/path`) and its own mount, possibly shared with
/// other controllers; without such a line it belongs to v2 (`0::/path`).
fn locate(controller: &str, cgroups: &str, mounts: &str, root: &Root) -> Result<Hierarchy> {
    let v1 = cgroups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let id: u64 = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|name| name == controller).then_some(id)
    });
    if let Some(hierarchy) = mounted(v1.unwrap_or(0), controller, mounts, root) {
        return Ok(hierarchy);
    }
    bail!("no mounted cgroup hierarchy has the {controller} controller: mount cgroup2 on /sys/fs/cgroup");
}

/// The mount of a hierarchy; of several, the one that shows the most of it.
fn mounted(id: u64, controller: &str, mounts: &str, root: &Root) -> Option<Hierarchy> {
    let (kind, option) = if id == 0 { ("cgroup2", None) } else { ("cgroup", Some(controller)) };
    let found = mounts.lines().filter_map(|line| {
        // 36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue (proc_pid_mountinfo(5))
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (this, options) = (right.next()?, right.nth(1)?);
        let matches = this == kind && option.is_none_or(|option| options.split(',').any(|name| name == option));
        let mut left = left.split(' ').skip(3);
        let (shown, at) = (left.next()?, left.next()?);
        let [at, shown] = [at, shown].map(|path| unescape(path.as_bytes()));
        let root = || root.at(OsStr::from_bytes(&at));
        matches.then(|| Hierarchy { id, root: root(), prefix: prefix(&String::from_utf8_lossy(&shown)) })
    });
    found.min_by_key(|hierarchy| hierarchy.prefix.len())
}

/// The path of the cgroup that a mount shows. Inside a cgroup namespace it starts with one `/..` per level by which the
/// mount reaches beyond the namespace.
fn prefix(shown: &str) -> String {
    let mut path = shown;
    while let Some(rest) = path.strip_prefix("/..").filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        path = rest;
    }
    path.trim_end_matches('/').to_owned()
}

/// The path in a hierarchy from the content of `/proc/PID/cgroup` (`4:memory:/path`, v2 `0::/path`); `None` if the
/// cgroup was removed.
pub fn path_in(text: &[u8], hierarchy: u64) -> Option<&str> {
    let line = lines(text).find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        (number(fields.next()?)? == hierarchy).then_some(fields.nth(1)?)
    });
    // The kernel appends ` (deleted)` if the cgroup was removed while processes were in it.
    std::str::from_utf8(line?).ok().filter(|path| path.starts_with('/') && !path.ends_with(" (deleted)"))
}

impl Hierarchy {
    /// The path relative to the mount point, without a leading slash; `None` if the mount does not show it.
    pub fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.prefix.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// The cgroup at this path, if it is visible.
    pub fn cgroup_at(&self, path: &str) -> Option<Id> {
        let directory = self.root.join(self.relative(path.trim_end_matches('/'))?);
        Some(Id { hierarchy: self.id, id: fs::metadata(directory).ok()?.ino() })
    }

    /// Whether only part of the hierarchy is visible: in a cgroup namespace, or through a bind mount.
    pub fn is_partial(&self) -> bool {
        match self.id {
            // Only the root has no cgroup.type (v2), and only the root has cgroup.sane_behavior (v1)
            // (Documentation/admin-guide/cgroup-v2.rst).
            0 => self.root.join("cgroup.type").exists(),
            _ => !self.root.join("cgroup.sane_behavior").exists(),
        }
    }
}

/// This process's memory cgroup, if it can be determined. Uses the process's own mounts, not the host's.
pub fn own() -> Option<Id> {
    let memory = Hierarchies::find(&Root::default()).ok()?.memory;
    memory.cgroup_at(path_in(&fs::read("/proc/self/cgroup").ok()?, memory.id)?)
}

/// Calls `found` with the id and path of every cgroup of a hierarchy, including the root (`/`). A directory that
/// vanishes during the walk is skipped: its death is a separate event.
pub fn walk(hierarchy: &Hierarchy, found: &mut dyn FnMut(Id, &str)) -> Result<()> {
    let root = fs::metadata(&hierarchy.root).with_context(|| format!("walk {}", hierarchy.root.display()))?;
    let id = |inode| Id { hierarchy: hierarchy.id, id: inode };
    let Hierarchy { prefix, .. } = hierarchy;
    found(id(root.ino()), if prefix.is_empty() { "/" } else { prefix });
    let mut pending = vec![String::new()];
    while let Some(parent) = pending.pop() {
        let directory = hierarchy.root.join(parent.trim_start_matches('/'));
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.with_context(|| format!("walk {}", directory.display()))?,
        };
        for entry in entries {
            // ENODEV: the cgroup was removed while its directory was open.
            let Ok(entry) = entry else { continue };
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let Ok(metadata) = entry.metadata() else { continue };
            let path = format!("{parent}/{}", entry.file_name().to_string_lossy());
            found(id(metadata.ino()), &format!("{prefix}{path}"));
            pending.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
