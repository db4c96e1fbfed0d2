//! One hierarchy, and one cgroup in it: which files exist, and reading those that are due.

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use collector_core::cgroup::Id;
use collector_core::statistic::workload::{LEFT_BEHIND, Statistic, Values, holds};
use collector_core::statistic::{Kind, Statistic as _};
use rustix::fs::{AtFlags, Mode, OFlags, fstat, open, openat, statat};
use rustix::io::Errno;

use super::file::{FILES, File, Pace, derive};
use super::given::{Given, Left};
use super::handle::{Descriptors, Handle};
use super::row::Rows;
use crate::source::cgroup::{Controller, Hierarchies, Hierarchy};
use crate::source::kernel::pass::Row;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// A mounted hierarchy, and the files to read of its cgroups.
#[derive(Debug)]
pub struct Tree {
    pub hierarchy: Hierarchy,
    /// The kernel source reports births and deaths in this hierarchy.
    pub has_events: bool,
    /// `None` if the mount point could not be opened: then no cgroup is found in it.
    root: Option<OwnedFd>,
    files: Vec<&'static File>,
    /// In the same order: what the pass over all cgroups gives of them.
    given: Vec<Option<&'static Given>>,
}

impl Tree {
    /// Every hierarchy with events or files to read; the memory controller's comes first.
    pub fn all(hierarchies: &Hierarchies) -> Vec<Tree> {
        let all = hierarchies.all().into_iter().map(|hierarchy| Tree::open(hierarchies, hierarchy));
        all.filter(|tree| tree.has_events || !tree.files.is_empty()).collect()
    }

    fn open(hierarchies: &Hierarchies, hierarchy: &Hierarchy) -> Tree {
        let here = |controller| hierarchies.of(controller).is_some_and(|other| other.id == hierarchy.id);
        let is_ours = |file: &&File| here(file.controller) && file.v2 == (hierarchy.id == 0);
        let root = open(&hierarchy.root, DIRECTORY, Mode::empty());
        let warn = |why: &Errno| {
            let root = hierarchy.root.display();
            tracing::warn!("cgroups at {root} are not read, it cannot be opened: {why}");
        };
        let files: Vec<_> = FILES.iter().filter(is_ours).collect();
        Tree {
            given: vec![None; files.len()],
            files,
            has_events: hierarchies.distinct().any(|other| other.id == hierarchy.id),
            root: root.inspect_err(warn).ok(),
            hierarchy: hierarchy.clone(),
        }
    }

    /// The directory at the mount point.
    pub fn root(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.root.as_ref().map(OwnedFd::as_fd).ok_or(Errno::NOENT)
    }

    /// The files of each cgroup.
    pub fn files(&self) -> &[&'static File] {
        &self.files
    }

    /// Which of them need not be read from now on.
    pub fn give(&mut self, rows: &Rows) {
        self.given = self.files.iter().map(|file| rows.given(self.hierarchy.id, file)).collect();
    }

    /// Number of files of each cgroup that are read and may stay open.
    pub fn count(&self) -> usize {
        let files = self.files.iter().zip(&self.given).filter(|(file, _)| file.pace != Pace::Seldom);
        files.filter(|(_, given)| given.is_none_or(|given| given.left != Left::Nothing)).count()
    }

    /// The cgroup at a path of the hierarchy, if it is visible; never the root, whose values are the host's.
    pub fn find(&self, path: &str) -> Option<(Id, CString)> {
        let id = self.id(&*self.relative(path)?).ok()?;
        Some((id, self.location(path)?))
    }

    /// Opens the directory of the cgroup at a path of the hierarchy; never the root.
    pub fn open_at(&self, path: &str) -> Option<OwnedFd> {
        openat(self.root().ok()?, &*self.relative(path)?, DIRECTORY, Mode::empty()).ok()
    }

    pub fn has(&self, path: &str) -> bool {
        self.relative(path).is_some_and(|location| self.id(&*location).is_ok())
    }

    /// Whether a path of the hierarchy is at this location below the mount.
    pub fn is_at(&self, path: &str, location: &CStr) -> bool {
        self.relative(path).is_some_and(|relative| *relative == *location.to_bytes())
    }

    /// The location of a path of the hierarchy below the mount.
    pub fn location(&self, path: &str) -> Option<CString> {
        CString::new(self.relative(path)?.into_owned()).ok()
    }

    fn relative<'a>(&self, path: &'a str) -> Option<Cow<'a, [u8]>> {
        let location = self.hierarchy.relative(path)?;
        (path != "/").then_some(if location.is_empty() { Cow::Borrowed(b".") } else { location })
    }

    /// Opens the directory of a cgroup; NOENT if it now belongs to another cgroup.
    pub fn enter(&self, location: &CStr, id: Id) -> Result<OwnedFd, Errno> {
        let directory = openat(self.root()?, location, DIRECTORY, Mode::empty())?;
        // Paths are reused, ids are not.
        if fstat(&directory)?.st_ino == id.id { Ok(directory) } else { Err(Errno::NOENT) }
    }

    fn id(&self, location: impl rustix::path::Arg) -> Result<Id, Errno> {
        Ok(Id { hierarchy: self.hierarchy.id, id: statat(self.root()?, location, AtFlags::SYMLINK_NOFOLLOW)?.st_ino })
    }
}

/// One cgroup, with the last values of its files.
#[derive(Debug)]
pub struct Part {
    pub id: Id,
    pub values: Values,
    location: CString,
    /// In the order of the tree's files.
    handles: Box<[Handle]>,
    /// Files whose numbers changed when they were last read although a row shows that later, as bits.
    moving: u32,
}

/// Which files to read; each variant includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Due {
    /// How much memory is charged now.
    Glance,
    /// The same, and if there is hardly any, whether a process is in it.
    Check,
    /// How much memory is charged, and whether anything ran in it.
    Pulse,
    /// Files of every tick.
    Tick,
    /// Those of IO, and limits of memory, at the turn of a cgroup in which nothing happened.
    Still,
    /// Files that are read once per turn.
    Turn,
    /// Files that were absent: a controller may have been enabled since.
    All,
}

/// Result of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Read {
    Same,
    Changed,
    Gone,
}

/// Files that exist but could not be read.
#[derive(Debug, Default)]
pub struct Failures {
    pub count: usize,
    pub first: Option<(&'static CStr, Errno)>,
}

impl Failures {
    fn add(&mut self, name: &'static CStr, why: Errno) {
        self.count += 1;
        self.first.get_or_insert((name, why));
    }
}

/// Whether it depends on its processes if it holds something.
fn is_nearly_empty(values: &Values) -> bool {
    values.get(Statistic::MemoryCurrent).is_some_and(|memory| memory < LEFT_BEHIND)
}

impl Part {
    /// A cgroup that has not been read yet.
    pub fn new(tree: &Tree, id: Id, location: CString) -> Part {
        let handles = tree.files.iter().map(|_| Handle::Closed).collect();
        Part { id, values: Values::new(), location, handles, moving: 0 }
    }

    /// Reads the files that are due, except for those that were due at `done`, and what `row` has of the others. A missing file or a
    /// cgroup that vanishes is not a failure.
    pub fn read(
        &mut self,
        tree: &Tree,
        row: Option<&Row>,
        done: Option<Due>,
        due: Due,
        descriptors: &mut Descriptors,
        failures: &mut Failures,
    ) -> Read {
        let before = self.values.clone();
        let mut directory = None;
        let (mut may_be_gone, mut signs, mut io) = (false, false, None);
        for (at, ((file, given), handle)) in tree.files.iter().zip(&tree.given).zip(&mut self.handles).enumerate() {
            let given = given.zip(row).filter(|(given, row)| given.is_in(row));
            let mut wanted = match (&*handle, file.pace) {
                (Handle::Absent, _) => Due::All,
                (_, Pace::Empty) if !is_nearly_empty(&self.values) => {
                    file.format.forget(&mut self.values);
                    continue;
                }
                (_, Pace::Empty) if due == Due::Check => Due::Check,
                (Handle::Failed, _) => Due::Still,
                (_, Pace::Seldom) if file.format.is_known(&self.values) => Due::All,
                // Opening is expensive: without room to keep it open, a file is read only once per turn.
                (Handle::Closed | Handle::Given, Pace::Always) if descriptors.is_full() && due == Due::Check => {
                    Due::Check
                }
                (Handle::Closed | Handle::Given, _) if descriptors.is_full() => Due::Turn,
                (_, Pace::Always) => Due::Glance,
                (_, Pace::Pulse) => Due::Pulse,
                // Writeback moves these although nothing runs.
                (_, Pace::Tick) if due != Due::Still || file.controller == Controller::Io => Due::Tick,
                // Limits of memory are cheap, and who sets one leaves no other sign.
                (_, Pace::Turn) if file.is_number() && file.controller == Controller::Memory => Due::Still,
                (_, Pace::Tick | Pace::Turn | Pace::Empty | Pace::Seldom) => Due::Turn,
            };
            if let (Handle::Given | Handle::Open(_), Some((given, row))) = (&*handle, given) {
                match given.left {
                    Left::Nothing => {
                        given.read(row, &mut self.values);
                        descriptors.close(handle, Handle::Given);
                        continue;
                    }
                    Left::Rest => {
                        given.read(row, &mut self.values);
                        wanted = wanted.max(Due::Turn);
                    }
                    Left::All if self.moving & 1 << at == 0 && !given.differs(row, &self.values) => {
                        wanted = wanted.max(Due::Turn);
                    }
                    // Something waits, or did, even if nothing ran.
                    Left::All => signs = true,
                }
            }
            // Of several files of IO each moves when the others do.
            if done >= Some(wanted) || due == Due::Still && wanted == Due::Tick && io == Some(Read::Same) {
                continue;
            }
            if due < wanted {
                if matches!(handle, Handle::Failed) && done.is_none() {
                    failures.count += 1;
                }
                continue;
            }
            let location: BorrowedFd<'_> = match (&handle, &directory, tree.root()) {
                // An open file needs no directory.
                (Handle::Open(_), _, Ok(root)) => root,
                (_, Some(directory), _) => OwnedFd::as_fd(directory),
                (_, None, _) => match tree.enter(&self.location, self.id) {
                    Ok(opened) => OwnedFd::as_fd(directory.insert(opened)),
                    Err(Errno::NOENT | Errno::NODEV) => {
                        may_be_gone = true;
                        break;
                    }
                    Err(why) => {
                        file.format.forget(&mut self.values);
                        failures.add(file.name, why);
                        continue;
                    }
                },
            };
            let keep = match (given.map(|(given, _)| given.left), file.pace) {
                (Some(Left::Nothing), _) | (None, Pace::Empty | Pace::Seldom) => false,
                (Some(Left::Rest), _) | (None, Pace::Turn) => descriptors.enough_for_all,
                _ => true,
            };
            // The first reading of this tick counted it.
            failures.count -= usize::from(matches!(handle, Handle::Failed) && done.is_some());
            match descriptors.read(location, file.name, handle, keep) {
                Ok(text) => {
                    let sign = given.filter(|(given, _)| given.left == Left::All).map(|(given, _)| given);
                    let last = sign.and_then(|given| given.first(&self.values));
                    file.format.read(text, &mut self.values);
                    if file.controller == Controller::Io {
                        io = Some(if self.values == before { Read::Same } else { Read::Changed });
                    }
                    let moves = sign.is_some_and(|given| given.first(&self.values) != last);
                    self.moving = self.moving & !(1 << at) | u32::from(moves) << at;
                    if given.is_some() && matches!(handle, Handle::Closed) {
                        *handle = Handle::Given;
                    }
                }
                Err(why) => {
                    file.format.forget(&mut self.values);
                    match why {
                        // Either the cgroup is gone or its controller was disabled.
                        Errno::NOENT | Errno::NODEV => {
                            may_be_gone |= why == Errno::NODEV;
                            descriptors.close(handle, Handle::Absent);
                        }
                        // PSI is disabled, for the host or for this cgroup.
                        Errno::OPNOTSUPP => descriptors.close(handle, Handle::Absent),
                        Errno::MFILE | Errno::NFILE => failures.add(file.name, why),
                        _ => {
                            failures.add(file.name, why);
                            descriptors.close(handle, Handle::Failed);
                        }
                    }
                }
            }
        }
        if may_be_gone && tree.id(&*self.location) != Ok(self.id) {
            self.close(descriptors);
            return Read::Gone;
        }
        if due >= Due::Turn {
            derive(&mut self.values);
        }
        if self.values == before && !signs { Read::Same } else { Read::Changed }
    }

    /// Whether a file, or a row, says at each tick if anything ran in it.
    pub fn has_pulse(&self, tree: &Tree) -> bool {
        let mut files = tree.files.iter().zip(&self.handles);
        files.any(|(file, handle)| file.pace == Pace::Pulse && matches!(handle, Handle::Open(_) | Handle::Given))
    }

    /// Whether a row has all that is read of it up to a pace, so that an unchanged row means that it need not be looked at.
    pub fn is_all_in(&self, tree: &Tree, row: Option<&Row>, most: Due) -> bool {
        let mut files = tree.files.iter().zip(&tree.given).zip(&self.handles);
        files.all(|((file, given), handle)| {
            let wanted = match (handle, file.pace) {
                (Handle::Absent, _) => Due::All,
                (Handle::Failed, _) => return false,
                (_, Pace::Always) => Due::Glance,
                (_, Pace::Empty) if is_nearly_empty(&self.values) => Due::Check,
                (_, Pace::Pulse) => Due::Pulse,
                (_, Pace::Tick) => Due::Tick,
                (_, Pace::Turn | Pace::Empty | Pace::Seldom) => return true,
            };
            let is_given = |(given, row): (&Given, &Row)| given.left != Left::All && given.is_in(row);
            wanted > most || matches!(handle, Handle::Given | Handle::Open(_)) && given.zip(row).is_some_and(is_given)
        })
    }

    /// Whether it is known to hold neither a process nor memory.
    pub fn is_empty(&self) -> bool {
        holds(|statistic| self.values.get(statistic)) == Some(false)
    }

    /// Closes all files but the one that is always read.
    pub fn rest(&mut self, tree: &Tree, descriptors: &mut Descriptors) {
        for (file, handle) in tree.files.iter().zip(&mut self.handles) {
            if file.pace != Pace::Always && matches!(handle, Handle::Open(_)) {
                descriptors.close(handle, Handle::Closed);
            }
        }
    }

    /// Forgets all but the memory in use, whether a process is in it, and limits: these are wanted if it is killed.
    pub fn forget(&mut self) {
        let wanted =
            |it: Statistic| it.kind() == Kind::Limit || matches!(it, Statistic::MemoryCurrent | Statistic::Populated);
        for statistic in Statistic::ALL.iter().filter(|it| !wanted(**it)) {
            self.values.put(*statistic, None);
        }
    }

    /// Closes its files.
    pub fn close(&mut self, descriptors: &mut Descriptors) {
        self.handles.iter_mut().for_each(|handle| descriptors.close(handle, Handle::Absent));
    }

    /// Opens the file that has this number alone.
    pub fn open(&self, tree: &Tree, statistic: Statistic) -> Option<OwnedFd> {
        let file = tree.files.iter().find(|file| file.format.is_of(statistic))?;
        let directory = tree.enter(&self.location, self.id).ok()?;
        openat(directory, file.name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
    }

    /// Its path below the mount.
    pub fn location(&self) -> &CStr {
        &self.location
    }
}
