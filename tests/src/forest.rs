//! Many throwaway cgroups below one, made and removed quickly. They go even if whoever made them is killed.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use collector::source::cgroup::{Hierarchies, Hierarchy};
use collector::source::root::Root;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Removes the folders that it is given once whoever started it is gone: then there is an end to its input.
const WATCH: &str = r#"trap '' HUP INT TERM; read -r line; find "$@" -depth -type d -delete 2>/dev/null"#;

/// Cgroups below one of its own. Dropped, all are removed.
pub struct Forest {
    /// The path of the one, from the root of its hierarchies.
    pub path: String,
    /// Where it is; in the memory hierarchy first.
    directories: Vec<PathBuf>,
    memory: Hierarchy,
    children: Vec<OsString>,
    watch: Child,
}

impl Forest {
    /// In the memory hierarchy alone; its name begins with `name`.
    pub fn new(name: &str) -> Forest {
        let hierarchies = Hierarchies::find(&Root::default()).unwrap();
        Forest::within(name, &[&hierarchies.memory])
    }

    /// In every hierarchy that has a controller or tells of pressure.
    pub fn everywhere(name: &str) -> Forest {
        Forest::within(name, &Hierarchies::find(&Root::default()).unwrap().all())
    }

    fn within(name: &str, hierarchies: &[&Hierarchy]) -> Forest {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = format!("/headroom-test-{name}-{}-{number}", std::process::id());
        let directories: Vec<PathBuf> = hierarchies.iter().map(|hierarchy| hierarchy.root.join(&path[1..])).collect();
        let mut watch = Command::new("sh");
        watch.args(["-c", WATCH, "sh"]).args(&directories).stdin(Stdio::piped()).stdout(Stdio::null());
        // Not of our group: what is sent to us from a terminal is not sent to it.
        let watch = watch.process_group(0).spawn().unwrap();
        for directory in &directories {
            fs::create_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        }
        let forest = Forest { path, directories, memory: hierarchies[0].clone(), children: Vec::new(), watch };
        if forest.is_v2() {
            // What the root hands down; the rest is not to be seen in them.
            for controller in ["+memory", "+cpu", "+io"] {
                let _ = fs::write(forest.directory().join("cgroup.subtree_control"), controller);
            }
        }
        forest
    }

    /// Makes one more, and gives its id in the memory hierarchy.
    pub fn make(&mut self, name: impl AsRef<OsStr>) -> u64 {
        for directory in &self.directories {
            let path = directory.join(name.as_ref());
            fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        self.children.push(name.as_ref().to_owned());
        fs::metadata(self.directory().join(name.as_ref())).unwrap().ino()
    }

    /// How many there are, the one above them not counted.
    pub fn count(&self) -> usize {
        self.children.len()
    }

    /// Removes all but the one above them.
    pub fn clear(&mut self) {
        for name in std::mem::take(&mut self.children) {
            self.directories.iter().for_each(|directory| remove(&directory.join(&name)));
        }
    }

    /// One has another name from now on.
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

    /// The id of the memory hierarchy.
    pub fn memory_hierarchy(&self) -> u64 {
        self.memory.id
    }

    /// The one above all, in the memory hierarchy.
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

/// A cgroup whose last process just ended may be busy for a moment more; one that stays so is left to the watch.
fn remove(directory: &Path) {
    for _ in 0..1000 {
        match fs::remove_dir(directory) {
            Err(error) if error.kind() == ErrorKind::ResourceBusy => sleep(Duration::from_millis(1)),
            _ => return,
        }
    }
}
