//! One hierarchy, and one cgroup in it: which files are there, and reading those that are due.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context as _, Result};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;

use super::file::{FILES, File, Pace, derive};
use super::handle::{Descriptors, Handle};
use crate::signal::cgroup::Id;
use crate::source::cgroup::{Controller, Hierarchies, Hierarchy};
use crate::statistic::workload::Values;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A mounted hierarchy, and which files its cgroups have.
#[derive(Debug)]
pub struct Tree {
    /// Which.
    pub hierarchy: Hierarchy,
    /// Births and deaths in it are heard of.
    pub heard: bool,
    root: OwnedFd,
    files: Vec<&'static File>,
}

impl Tree {
    /// Every hierarchy that has anything to tell; the memory controller's is the first.
    pub fn all(hierarchies: &Hierarchies) -> Result<Vec<Tree>> {
        let all = hierarchies.all().into_iter().map(|hierarchy| Tree::open(hierarchies, hierarchy));
        let told = |tree: &Result<Tree>| tree.as_ref().map_or(true, |tree| tree.heard || !tree.files.is_empty());
        all.filter(told).collect()
    }

    fn open(hierarchies: &Hierarchies, hierarchy: &Hierarchy) -> Result<Tree> {
        let here = |controller| hierarchies.of(controller).is_some_and(|other| other.id == hierarchy.id);
        let is_ours = |file: &&File| here(file.controller) && file.v2 == (hierarchy.id == 0);
        let place = || format!("open {}", hierarchy.root.display());
        Ok(Tree {
            heard: here(Controller::Memory) || here(Controller::Io),
            root: open(&hierarchy.root, DIRECTORY, Mode::empty()).with_context(place)?,
            files: FILES.iter().filter(is_ours).collect(),
            hierarchy: hierarchy.clone(),
        })
    }

    /// How many files its cgroups have.
    pub fn files(&self) -> usize {
        self.files.len()
    }

    /// The cgroup at a path of the hierarchy, if there is one to be seen; never the root, whose numbers are the host's.
    pub fn find(&self, path: &str) -> Option<(Id, CString)> {
        let id = self.id(self.relative(path)?).ok()?;
        Some((id, self.place(path)?))
    }

    /// Opens the directory of the cgroup at a path of the hierarchy; never the root.
    pub fn open_at(&self, path: &str) -> Option<OwnedFd> {
        openat(&self.root, self.relative(path)?, DIRECTORY, Mode::empty()).ok()
    }

    /// Whether there is a cgroup at a path of the hierarchy.
    pub fn has(&self, path: &str) -> bool {
        self.relative(path).is_some_and(|place| self.id(place).is_ok())
    }

    /// Whether this is where a path of the hierarchy is below the mount.
    pub fn is_at(&self, path: &str, place: &CStr) -> bool {
        self.relative(path).is_some_and(|relative| relative.as_bytes() == place.to_bytes())
    }

    /// Where a path of the hierarchy is below the mount.
    pub fn place(&self, path: &str) -> Option<CString> {
        CString::new(self.relative(path)?).ok()
    }

    fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        let place = self.hierarchy.relative(path)?;
        (path != "/").then_some(if place.is_empty() { "." } else { place })
    }

    /// Opens the directory of a cgroup, if it is still that cgroup's.
    pub fn enter(&self, place: &CStr, id: Id) -> Result<OwnedFd, Errno> {
        let directory = openat(&self.root, place, DIRECTORY, Mode::empty())?;
        // A path may have been given away meanwhile; an id never is.
        if fstat(&directory)?.st_ino == id.id { Ok(directory) } else { Err(Errno::NOENT) }
    }

    fn id(&self, place: impl rustix::path::Arg) -> Result<Id, Errno> {
        Ok(Id { hierarchy: self.hierarchy.id, id: statat(&self.root, place, AtFlags::SYMLINK_NOFOLLOW)?.st_ino })
    }
}

/// One cgroup, and what its files said last.
#[derive(Debug)]
pub struct Part {
    /// Which.
    pub id: Id,
    /// What its files said last.
    pub values: Values,
    place: CString,
    /// By the tree's files.
    handles: Box<[Handle]>,
}

/// Which files are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// Those of every tick.
    Tick,
    /// And those that have their turn.
    Turn,
    /// And those that were not there before: a controller may have been switched on meanwhile.
    All,
}

/// What came of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// As before.
    Same,
    /// Some number is another.
    Changed,
    /// The cgroup was removed.
    Gone,
}

/// Files that should be readable, and were not.
#[derive(Debug, Default)]
pub struct Troubles {
    /// How many.
    pub count: usize,
    /// The first of them.
    pub first: Option<(&'static CStr, Errno)>,
}

impl Troubles {
    fn add(&mut self, name: &'static CStr, why: Errno) {
        self.count += 1;
        self.first.get_or_insert((name, why));
    }
}

impl Part {
    /// Nothing of it has been read yet.
    pub fn new(tree: &Tree, id: Id, place: CString) -> Part {
        let handles = tree.files.iter().map(|_| Handle::Closed).collect();
        Part { id, values: Values::new(), place, handles }
    }

    /// Reads the files that are due. One that is not there is no trouble, and neither is a cgroup that vanishes.
    pub fn read(&mut self, tree: &Tree, due: Due, descriptors: &mut Descriptors, troubles: &mut Troubles) -> Read {
        let before = self.values.clone();
        let mut directory = None;
        let mut vanished = false;
        for (file, handle) in tree.files.iter().zip(&mut self.handles) {
            let wanted = match handle {
                Handle::Absent => Due::All,
                Handle::Failed => Due::Turn,
                // Opening is what costs: without room to keep it open, a file is read at its cgroup's turn alone.
                Handle::Closed if descriptors.is_full() => Due::Turn,
                Handle::Open(_) | Handle::Closed => match file.pace {
                    Pace::Tick => Due::Tick,
                    Pace::Turn => Due::Turn,
                },
            };
            if due < wanted {
                if matches!(handle, Handle::Failed) {
                    troubles.count += 1;
                }
                continue;
            }
            let place: BorrowedFd<'_> = match (&handle, &directory) {
                // Not needed.
                (Handle::Open(_), _) => tree.root.as_fd(),
                (_, Some(directory)) => OwnedFd::as_fd(directory),
                (_, None) => match tree.enter(&self.place, self.id) {
                    Ok(opened) => OwnedFd::as_fd(directory.insert(opened)),
                    Err(Errno::NOENT | Errno::NODEV) => {
                        vanished = true;
                        break;
                    }
                    Err(why) => {
                        file.format.forget(&mut self.values);
                        troubles.add(file.name, why);
                        continue;
                    }
                },
            };
            let keep = file.pace == Pace::Tick || descriptors.ample;
            match descriptors.read(place, file.name, handle, keep) {
                Ok(text) => file.format.read(text, &mut self.values),
                Err(why) => {
                    file.format.forget(&mut self.values);
                    match why {
                        // Either the cgroup is gone or its controller has been switched off.
                        Errno::NOENT | Errno::NODEV => {
                            vanished |= why == Errno::NODEV;
                            descriptors.close(handle, Handle::Absent);
                        }
                        // Pressure is not measured, or not of this cgroup.
                        Errno::OPNOTSUPP => descriptors.close(handle, Handle::Absent),
                        Errno::MFILE | Errno::NFILE => troubles.add(file.name, why),
                        _ => {
                            troubles.add(file.name, why);
                            descriptors.close(handle, Handle::Failed);
                        }
                    }
                }
            }
        }
        if vanished && tree.id(&*self.place) != Ok(self.id) {
            self.close(descriptors);
            return Read::Gone;
        }
        if due >= Due::Turn {
            derive(&mut self.values);
        }
        if self.values == before { Read::Same } else { Read::Changed }
    }

    /// Gives back its descriptors.
    pub fn close(&mut self, descriptors: &mut Descriptors) {
        self.handles.iter_mut().for_each(|handle| descriptors.close(handle, Handle::Absent));
    }

    /// Where it is below the mount.
    pub fn place(&self) -> &CStr {
        &self.place
    }
}
