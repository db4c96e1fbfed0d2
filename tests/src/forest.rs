//! Many temporary cgroups below one, made and removed quickly. They are removed even if the test is killed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use collector::source::cgroup::{Hierarchies, Hierarchy};
use collector::source::root::Root;

use crate::cgroup;

/// Removes the folders in its arguments once its parent is gone, which ends its input.
const WATCH: &str = r#"trap '' HUP INT TERM; read -r line; find "$@" -depth -type d -delete 2>/dev/null"#;

/// Cgroups below one of their own. When dropped, all are removed.
pub struct Forest {
    /// Path of that one, from the root of its hierarchies.
    pub path: String,
    /// Its directories; that in the memory hierarchy comes first.
    directories: Vec<PathBuf>,
    memory: Hierarchy,
    children: Vec<OsString>,
    watch: Child,
}

impl Forest {
    /// In the memory hierarchy only; the name starts with `name`.
    pub fn new(name: &str) -> Forest {
        let hierarchies = Hierarchies::find(&Root::default()).unwrap();
        Forest::within(name, &[&hierarchies.memory])
    }

    /// In every hierarchy that has a controller or reports pressure.
    pub fn everywhere(name: &str) -> Forest {
        Forest::within(name, &Hierarchies::find(&Root::default()).unwrap().all())
    }

    fn within(name: &str, hierarchies: &[&Hierarchy]) -> Forest {
        let path = cgroup::fresh(name);
        let directories: Vec<PathBuf> = hierarchies.iter().map(|hierarchy| hierarchy.root.join(&path[1..])).collect();
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh"]).args(&directories).stdin(Stdio::piped()).stdout(Stdio::null());
        // In a process group of its own, so that it does not get signals from a terminal.
        let watch = watch.process_group(0).spawn().unwrap();
        for directory in &directories {
            fs::create_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        }
        let forest = Forest { path, directories, memory: hierarchies[0].clone(), children: Vec::new(), watch };
        if forest.is_v2() {
            // Only controllers that the root enables can be enabled.
            for controller in ["+memory", "+cpu", "+io"] {
                let _ = fs::write(forest.directory().join("cgroup.subtree_control"), controller);
            }
        }
        forest
    }

    /// Makes one more, and returns its id in the memory hierarchy.
    pub fn make(&mut self, name: impl AsRef<OsStr>) -> u64 {
        for directory in &self.directories {
            let path = directory.join(name.as_ref());
            fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        self.children.push(name.as_ref().to_owned());
        fs::metadata(self.directory().join(name.as_ref())).unwrap().ino()
    }

    /// Number of cgroups, without the one above them.
    pub fn count(&self) -> usize {
        self.children.len()
    }

    /// Removes all except the one above them.
    pub fn clear(&mut self) {
        for name in std::mem::take(&mut self.children) {
            self.directories.iter().for_each(|directory| remove(&directory.join(&name)));
        }
    }

    /// Records that one was renamed.
    pub fn renamed(&mut self, old: &str, new: &str) {
        let child = self.children.iter_mut().find(|child| *child == old).unwrap();
        *child = new.into();
    }

    /// Runs a command in the one that was made last.
    pub fn spawn_in_last(&self, command: &mut Command) -> Child {
        let procs = self.directory().join(self.children.last().unwrap()).join("cgroup.procs");
        // SAFETY: between fork and exec only open, write and close are called.
        unsafe { command.pre_exec(move || fs::write(&procs, "0")) };
        command.spawn().unwrap()
    }

    /// Whether memory is accounted on cgroup v2.
    pub fn is_v2(&self) -> bool {
        self.memory.id == 0
    }

    pub fn memory_hierarchy(&self) -> u64 {
        self.memory.id
    }

    /// Directory of the one above all, in the memory hierarchy.
    pub fn directory(&self) -> &Path {
        &self.directories[0]
    }
}

impl Drop for Forest {
    fn drop(&mut self) {
        self.clear();
        self.directories.iter().for_each(|directory| remove(directory));
        drop(self.watch.stdin.take());
        let _ = self.watch.wait();
    }
}

/// A cgroup can be busy for a moment after its last process ended. If it stays busy, the watcher removes it.
fn remove(directory: &Path) {
    for _ in 0..1000 {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => sleep(Duration::from_millis(1)),
            _ => return,
        }
    }
}
