//! cgroupfs: where the hierarchies are mounted, and which cgroups exist.

mod grant;
mod offer;
mod walk;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use collector_core::cgroup::{Id, whole};
use collector_core::text::{self, escape};

use crate::source::root::Root;
use crate::source::text::{lines, number, unescape};

pub use grant::Owners;
pub use walk::{Unread, walk};

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
    /// By whose cgroups workloads are named: the memory controller's; another where that is off.
    pub memory: Hierarchy,
    /// The io controller's; the same as above where that is off.
    pub io: Hierarchy,
    /// The other controllers, indexed by [`Controller`].
    others: [Option<Hierarchy>; Controller::ALL.len()],
    /// What this host lacks of memory and io, and what to do about it.
    pub missing: Vec<(Controller, String)>,
    /// The controllers that the kernel offers, of those that isolate.
    pub offered: Vec<String>,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Hierarchy id; 0 is v2.
    pub id: u64,
    /// Mount point.
    pub root: PathBuf,
    /// Path of the cgroup at the mount point, escaped as all paths are; empty if it is the hierarchy's root.
    pub prefix: String,
}

impl Hierarchies {
    /// Reads the mounted hierarchies from the host's /proc.
    pub fn find(root: &Root) -> Result<Hierarchies> {
        let read = |name: &str| {
            let path = root.process().join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        let mut found = Hierarchies::parse(&read("cgroup")?, &read("mountinfo")?, root)?;
        found.check(&fs::read_to_string(root.at("/proc/cgroups")).unwrap_or_default());
        found.offered = offer::offered(&read("cgroup")?, &read("mountinfo")?, root);
        Ok(found)
    }

    /// On cgroup v2 only the root says which controllers there are.
    fn check(&mut self, known: &str) {
        for (controller, of) in [(Controller::Memory, &self.memory), (Controller::Io, &self.io)] {
            let controllers = fs::read_to_string(of.root.join("cgroup.controllers"));
            let lacks = |text: String| !text.split_whitespace().any(|name| name == controller.name());
            if of.id == 0 && controllers.is_ok_and(lacks) {
                self.missing.retain(|(missing, _)| *missing != controller);
                self.missing.push((controller, off(controller, known, of.is_partial())));
            }
        }
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
        let all = [("memory", Controller::Memory), ("blkio", Controller::Io)].map(|(name, it)| (find(name), it));
        let [memory, io] = &all;
        let named = [memory.0.as_ref(), io.0.as_ref()].into_iter().filter_map(Result::ok);
        let Some(first) = named.chain(others.iter().flatten()).next().cloned() else {
            bail!("no cgroup hierarchy is mounted: mount cgroup2 on /sys/fs/cgroup");
        };
        let lacks = all.iter().filter_map(|(found, it)| Some((*it, found.as_ref().err()?.to_string())));
        let missing: Vec<_> = lacks.collect();
        let [(memory, _), (io, _)] = all.map(|(found, it)| (found.unwrap_or_else(|_| first.clone()), it));
        // A missing line may also mean that the kernel lacks the controller; a v2 tree beside v1 does not prove that it
        // exists.
        let pids = &mut others[Controller::Pids as usize];
        *pids = pids.take_if(|pids| pids.id != 0 || memory.id == 0);
        Ok(Hierarchies { memory, io, others, missing, offered: Vec::new() })
    }

    /// The hierarchy of a controller, if the host has it.
    pub fn of(&self, controller: Controller) -> Option<&Hierarchy> {
        match controller {
            _ if self.missing.iter().any(|(missing, _)| *missing == controller) => None,
            Controller::Memory => Some(&self.memory),
            Controller::Io => Some(&self.io),
            other => self.others[other as usize].as_ref(),
        }
    }

    /// The hierarchies by whose cgroups workloads are named and charged, without duplicates.
    pub fn distinct(&self) -> impl Iterator<Item = &Hierarchy> {
        let io = Some(&self.io).filter(|io| io.id != self.memory.id);
        std::iter::once(&self.memory).chain(io)
    }

    /// All hierarchies without duplicates; the one that names workloads comes first.
    pub fn all(&self) -> Vec<&Hierarchy> {
        let mut all: Vec<&Hierarchy> = vec![&self.memory];
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
            let mut names: Vec<_> = Controller::ALL.iter().filter(here).map(|controller| controller.name()).collect();
            if names.is_empty() {
                names.push("cgroups");
            }
            let part = if hierarchy.is_partial() { ", only part of the host's hierarchy" } else { "" };
            format!("{} at {}{part}", names.join(", "), hierarchy.root.display())
        });
        let missing = self.missing.iter().map(|(_, why)| why.clone());
        format!("{}: {}", self.mode(), places.chain(missing).collect::<Vec<_>>().join("; "))
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
    let name = if controller == "blkio" { "io" } else { controller };
    match v1 {
        Some(_) => bail!("the {name} controller is mounted nowhere: mount it below /sys/fs/cgroup/{controller}"),
        None => bail!("{}", off(if name == "io" { Controller::Io } else { Controller::Memory }, "", false)),
    }
}

/// Why a host lacks a controller, and what to do. `known` is /proc/cgroups, and `partial` whether only part of the hierarchy
/// is visible.
fn off(controller: Controller, known: &str, partial: bool) -> String {
    let name = controller.name();
    // memory 0 39 0: name, hierarchy, cgroups, enabled
    let row =
        known.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row.first() == Some(&name));
    let enabled = row.is_some_and(|row| row.last() == Some(&"1"));
    let (missing, advice) = match controller {
        Controller::Memory => (
            "the memory of workloads is not known, and OOM kills belong to no workload",
            "boot with cgroup_enable=memory, and without cgroup_disable=memory",
        ),
        _ => (
            "disk IO belongs to no workload",
            "boot without cgroup_disable=io and cgroup_disable=blkio, with a kernel that has CONFIG_BLK_CGROUP",
        ),
    };
    let advice = match partial && enabled {
        true => format!("delegate it to the cgroup that this system runs in (systemd: Delegate={name})"),
        false => advice.to_owned(),
    };
    format!("the {name} controller is off ({missing}): {advice}")
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
        matches.then(|| Hierarchy { id, root: root(), prefix: prefix(&escape(&shown)) })
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

/// The path in a hierarchy from the content of `/proc/PID/cgroup` (`4:memory:/path`, v2 `0::/path`); for one that is too long,
/// that of the last cgroup on it that is told whole. For a cgroup that was removed, the kernel appends ` (deleted)`: there is
/// none at that path.
pub fn path_in(text: &[u8], hierarchy: u64) -> Option<Cow<'_, str>> {
    let line = lines(text).find_map(|line| {
        let mut fields = line.splitn(3, |byte| *byte == b':');
        (number(fields.next()?)? == hierarchy).then_some(fields.nth(1)?)
    });
    line.filter(|path| path.starts_with(b"/")).map(|path| escape(whole(path)))
}

impl Hierarchy {
    /// The mounted hierarchy of a controller, as cgroup v1 calls it; that of cgroup v2 if v1 has none.
    pub fn of(controller: &str, root: &Root) -> Result<Hierarchy> {
        let read = |name: &str| {
            let path = root.process().join(name);
            fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
        };
        locate(controller, &read("cgroup")?, &read("mountinfo")?, root)
    }

    /// The bytes of a path relative to the mount point, without a leading slash; `None` if the mount does not show it.
    pub fn relative<'a>(&self, path: &'a str) -> Option<Cow<'a, [u8]>> {
        let rest = path.strip_prefix(self.prefix.as_str())?;
        let rest = if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') };
        rest.map(text::unescape)
    }

    /// The directory of the cgroup at this path; `None` if the mount does not show it.
    pub fn directory(&self, path: &str) -> Option<PathBuf> {
        Some(self.root.join(OsStr::from_bytes(&self.relative(path)?)))
    }

    /// The cgroup at this path, if it is visible.
    pub fn cgroup_at(&self, path: &str) -> Option<Id> {
        let directory = self.directory(path.trim_end_matches('/'))?;
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

/// The hierarchy and directory of this process's memory cgroup, if they can be determined. Uses the process's own mounts, not the
/// host's.
pub fn own_directory() -> Option<(Hierarchy, PathBuf)> {
    let (memory, path) = own_place()?;
    let directory = memory.directory(path.trim_end_matches('/'))?;
    Some((memory, directory))
}

/// The path of this process's memory cgroup.
pub fn own_path() -> Option<String> {
    Some(own_place()?.1)
}

fn own_place() -> Option<(Hierarchy, String)> {
    let read = |name: &str| Some(String::from_utf8_lossy(&fs::read(format!("/proc/self/{name}")).ok()?).into_owned());
    let (cgroups, mounts) = (read("cgroup")?, read("mountinfo")?);
    // A pod may see the host's tree too, whose root is above that of its cgroup namespace: its own path is none of that tree's.
    let inside = |line: &&str| !line.split(' ').nth(3).is_some_and(|shown| shown.starts_with("/.."));
    let mounts = mounts.lines().filter(inside).collect::<Vec<_>>().join("\n");
    let memory = Hierarchies::parse(&cgroups, &mounts, &Root::default()).ok()?.memory;
    let path = path_in(cgroups.as_bytes(), memory.id)?.into_owned();
    Some((memory, path))
}

/// This process's memory cgroup.
pub fn own() -> Option<Id> {
    let (memory, directory) = own_directory()?;
    Some(Id { hierarchy: memory.id, id: fs::metadata(directory).ok()?.ino() })
}

/// The memory that this process's cgroup may use, in bytes: the least limit of it and of those above it that are visible.
pub fn own_limit() -> Option<u64> {
    let (memory, own) = own_directory()?;
    if memory.id != 0 {
        // One number is that of all cgroups above, too.
        let text = fs::read_to_string(own.join("memory.stat")).ok()?;
        return text.lines().find_map(|line| line.strip_prefix("hierarchical_memory_limit ")?.parse().ok());
    }
    let above = own.ancestors().take_while(|directory| directory.starts_with(&memory.root));
    let files = above.flat_map(|directory| ["memory.max", "memory.high"].map(|file| directory.join(file)));
    files.filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests;
