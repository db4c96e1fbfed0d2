//! cgroupfs: where the hierarchies are mounted, and which cgroups there are.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::signal::cgroup::Id;
use crate::source::root::Root;
use crate::source::text::{lines, number, unescape};

/// What accounts for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Memory.
    Memory,
    /// Block IO; v1 calls it blkio.
    Io,
    /// CPU time handed out, and with v2 the time used.
    Cpu,
    /// CPU time used; only v1 has it.
    Cpuacct,
    /// Processes.
    Pids,
    /// Pressure: no controller, but found in every cgroup of v2, also where v1 has all the controllers.
    Pressure,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 6] = [
        Controller::Memory,
        Controller::Io,
        Controller::Cpu,
        Controller::Cpuacct,
        Controller::Pids,
        Controller::Pressure,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        ["memory", "io", "cpu", "cpuacct", "pids", "pressure"][self as usize]
    }
}

/// Where each controller's cgroups are. With cgroup v2 it is the same place for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchies {
    /// Where tasks' memory is accounted.
    pub memory: Hierarchy,
    /// Where block IO is accounted.
    pub io: Hierarchy,
    /// The rest, by [`Controller`].
    others: [Option<Hierarchy>; Controller::ALL.len()],
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its id: 0 is v2.
    pub id: u64,
    /// Where it is mounted.
    pub root: PathBuf,
    /// The path of the cgroup that is to be found there; empty if it is the hierarchy's root.
    pub prefix: String,
}

impl Hierarchies {
    /// Reads where they are from the host's /proc.
    pub fn find(root: &Root) -> Result<Hierarchies> {
        let read = |name: &str| {
            let path = root.process().join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        Hierarchies::parse(&read("cgroup")?, &read("mountinfo")?, root)
    }

    /// The same from the texts of a process' `cgroup` and `mountinfo`.
    pub fn parse(cgroups: &str, mounts: &str, root: &Root) -> Result<Hierarchies> {
        let find = |name: &str| locate(name, cgroups, mounts, root);
        let mut others = ["", "", "cpu", "cpuacct", "pids", ""]
            .map(|name| Some(name).filter(|name| !name.is_empty()).and_then(|name| find(name).ok()));
        others[Controller::Pressure as usize] = mounted(0, "", mounts, root);
        // v2 says with `cpu` what v1 says with both: it is not to be counted twice.
        let is_v2 = |hierarchy: &Option<Hierarchy>| hierarchy.as_ref().is_some_and(|hierarchy| hierarchy.id == 0);
        if is_v2(&others[Controller::Cpu as usize]) || is_v2(&others[Controller::Cpuacct as usize]) {
            others[Controller::Cpuacct as usize] = None;
        }
        let memory = find("memory")?;
        // No line may also mean that the kernel has no such controller; a tree of v2 beside v1 proves nothing.
        let pids = &mut others[Controller::Pids as usize];
        *pids = pids.take_if(|pids| pids.id != 0 || memory.id == 0);
        Ok(Hierarchies { memory, io: find("blkio")?, others })
    }

    /// The hierarchy that a controller is in, if it is mounted.
    pub fn of(&self, controller: Controller) -> Option<&Hierarchy> {
        match controller {
            Controller::Memory => Some(&self.memory),
            Controller::Io => Some(&self.io),
            other => self.others[other as usize].as_ref(),
        }
    }

    /// Those that cgroups are named and charged by, memory and io, each once.
    pub fn distinct(&self) -> impl Iterator<Item = &Hierarchy> {
        let io = Some(&self.io).filter(|io| io.id != self.memory.id);
        std::iter::once(&self.memory).chain(io)
    }

    /// All, each once; the memory controller's comes first.
    pub fn all(&self) -> Vec<&Hierarchy> {
        let mut all: Vec<&Hierarchy> = Vec::new();
        for hierarchy in Controller::ALL.iter().filter_map(|controller| self.of(*controller)) {
            if all.iter().all(|other| other.id != hierarchy.id) {
                all.push(hierarchy);
            }
        }
        all
    }

    /// The mode, and where each controller is mounted; those that share a mount are named together.
    pub fn describe(&self) -> String {
        let places = self.all().into_iter().map(|hierarchy| {
            let here = |controller: &&Controller| self.of(**controller).is_some_and(|it| it.id == hierarchy.id);
            let names: Vec<_> = Controller::ALL.iter().filter(here).map(|controller| controller.name()).collect();
            let part = if hierarchy.is_partial() { ", only a part of the host's" } else { "" };
            format!("{} at {}{part}", names.join(", "), hierarchy.root.display())
        });
        format!("{}: {}", self.mode(), places.collect::<Vec<_>>().join("; "))
    }

    /// In a word, for the doctor.
    pub fn mode(&self) -> &'static str {
        let v2 = [Controller::Memory, Controller::Io, Controller::Cpu]
            .map(|controller| self.of(controller).is_some_and(|hierarchy| hierarchy.id == 0));
        match (v2.contains(&true), v2.contains(&false) && self.all().len() > 1) {
            (true, true) => "hybrid",
            (true, false) => "v2",
            // A tree of v2 with no controllers beside v1 is what systemd calls hybrid, and it tells of pressure.
            (false, _) if self.of(Controller::Pressure).is_some() => "v1, with a v2 tree for pressure",
            (false, _) => "v1",
        }
    }
}

/// A v1 controller has its own line in `/proc/self/cgroup` (`4:memory:/path`) and its own mount, perhaps together with
/// others; one that has none is v2's (`0::/path`).
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

/// Where a hierarchy is mounted: the mount that shows the most of it.
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

/// The path of the cgroup that a mount shows. Seen from within a cgroup namespace, it begins with `/..` for each level
/// that the mount reaches beyond the namespace.
fn prefix(shown: &str) -> String {
    let mut path = shown;
    while let Some(rest) = path.strip_prefix("/..").filter(|rest| rest.is_empty() || rest.starts_with('/')) {
        path = rest;
    }
    path.trim_end_matches('/').to_owned()
}

/// The path in a hierarchy that a `/proc/PID/cgroup` tells (`4:memory:/path`, v2 `0::/path`), unless the cgroup was
/// removed.
pub fn path_in(text: &[u8], hierarchy: u64) -> Option<&str> {
    let line = lines(text).find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        (number(fields.next()?)? == hierarchy).then_some(fields.nth(1)?)
    });
    // A cgroup that was removed while processes were in it has a mark at its end.
    std::str::from_utf8(line?).ok().filter(|path| path.starts_with('/') && !path.ends_with(" (deleted)"))
}

impl Hierarchy {
    /// Where the cgroup at this path is, from the mount's root and without a slash before it; `None` if it is not to be
    /// seen there.
    pub fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.prefix.as_str())?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// The cgroup at this path, if it is there to be seen.
    pub fn cgroup_at(&self, path: &str) -> Option<Id> {
        let directory = self.root.join(self.relative(path.trim_end_matches('/'))?);
        Some(Id { hierarchy: self.id, id: fs::metadata(directory).ok()?.ino() })
    }

    /// Whether only a part of the hierarchy is to be seen: in a cgroup namespace, or through a bind mount.
    pub fn is_partial(&self) -> bool {
        match self.id {
            // The root alone lacks the one, and has the other (Documentation/admin-guide/cgroup-v2.rst).
            0 => self.root.join("cgroup.type").exists(),
            _ => !self.root.join("cgroup.sane_behavior").exists(),
        }
    }
}

/// The memory cgroup that this process is in, if it can be told; found by its own mounts, wherever the host's are.
pub fn own() -> Option<Id> {
    let memory = Hierarchies::find(&Root::default()).ok()?.memory;
    memory.cgroup_at(path_in(&fs::read("/proc/self/cgroup").ok()?, memory.id)?)
}

/// Every cgroup of a hierarchy, its root included: its id and its path from the root (`/` is the root itself). A
/// directory that vanishes meanwhile is left out: its death is an event of its own.
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
