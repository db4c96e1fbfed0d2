//! Temporary cgroups, on v1 and v2 alike.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use collector::source::cgroup::{Controller, Hierarchies, Hierarchy};
use collector::source::root::Root;

/// Begins the paths of all cgroups of tests.
const PREFIX: &str = "/headroom-test-";

/// By how much a limit is lowered at once, and how often at most.
const STEP: u64 = 4 << 20;
const STEPS: u32 = 1000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A cgroup in one or more hierarchies. When dropped, its processes are killed and it is removed.
pub struct Cgroup {
    /// Path from the root of its hierarchies: its name in the agent.
    pub path: String,
    hierarchies: Hierarchies,
    /// The hierarchies that it is in.
    trees: Vec<Hierarchy>,
}

impl Cgroup {
    /// Makes a cgroup with this prefix in the memory hierarchy and, if that is another, in the io hierarchy.
    pub fn new(name: &str) -> Cgroup {
        Cgroup::at(&fresh(name))
    }

    /// Makes a cgroup in every hierarchy that has a controller or reports pressure.
    pub fn everywhere(name: &str) -> Cgroup {
        Cgroup::everywhere_at(&fresh(name))
    }

    /// The same at this path, whose parent exists.
    pub fn everywhere_at(path: &str) -> Cgroup {
        let hierarchies = Hierarchies::find(&Root::default()).unwrap();
        let trees = hierarchies.all().into_iter().cloned().collect();
        Cgroup::within(path, hierarchies, trees)
    }

    /// Makes a cgroup in the hierarchy of one controller.
    pub fn only(name: &str, controller: Controller) -> Cgroup {
        let hierarchies = Hierarchies::find(&Root::default()).unwrap();
        let trees = vec![hierarchies.of(controller).unwrap().clone()];
        Cgroup::within(&fresh(name), hierarchies, trees)
    }

    /// Makes a cgroup in the hierarchies of these controllers, as cgroup v1 calls them.
    pub fn with(name: &str, controllers: &[&str]) -> Cgroup {
        Cgroup::with_at(&fresh(name), controllers)
    }

    /// The same at this path.
    pub fn with_at(path: &str, controllers: &[&str]) -> Cgroup {
        let mut trees: Vec<Hierarchy> = Vec::new();
        for controller in controllers {
            let hierarchy = Hierarchy::of(controller, &Root::default()).unwrap();
            if trees.iter().all(|tree| tree.id != hierarchy.id) {
                trees.push(hierarchy);
            }
        }
        Cgroup::within(path, Hierarchies::find(&Root::default()).unwrap(), trees)
    }

    /// Its file in the hierarchy of a controller, as cgroup v1 calls it.
    pub fn file_of(&self, controller: &str, name: &str) -> PathBuf {
        Hierarchy::of(controller, &Root::default()).unwrap().root.join(&self.path[1..]).join(name)
    }

    /// Makes a cgroup below this one.
    pub fn child(&self, name: &str) -> Cgroup {
        self.delegate("memory").unwrap();
        Cgroup::at(&format!("{}/{name}", self.path))
    }

    /// Lets cgroups below this one have a controller, which cgroup v2 does not do by itself. An error if it has none itself.
    pub fn delegate(&self, controller: &str) -> io::Result<()> {
        match self.is_v2() {
            true => fs::write(self.memory().join("cgroup.subtree_control"), format!("+{controller}")),
            false => Ok(()),
        }
    }

    fn at(path: &str) -> Cgroup {
        let hierarchies = Hierarchies::find(&Root::default()).unwrap();
        let trees = hierarchies.distinct().cloned().collect();
        Cgroup::within(path, hierarchies, trees)
    }

    fn within(path: &str, hierarchies: Hierarchies, trees: Vec<Hierarchy>) -> Cgroup {
        let cgroup = Cgroup { path: path.to_owned(), hierarchies, trees };
        for directory in cgroup.directories() {
            fs::create_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
        }
        cgroup
    }

    /// Whether its memory is accounted on cgroup v2.
    pub fn is_v2(&self) -> bool {
        self.hierarchies.memory.id == 0
    }

    fn directories(&self) -> Vec<PathBuf> {
        self.trees.iter().map(|hierarchy| hierarchy.root.join(&self.path[1..])).collect()
    }

    /// Its directory in the memory hierarchy.
    pub fn memory(&self) -> PathBuf {
        self.hierarchies.memory.root.join(&self.path[1..])
    }

    /// Its file in a controller's hierarchy.
    pub fn file(&self, controller: Controller, name: &str) -> PathBuf {
        self.hierarchies.of(controller).unwrap().root.join(&self.path[1..]).join(name)
    }

    /// Files to which a process writes `0` to join. The memory hierarchy comes last, so that joining the others is not
    /// charged.
    pub fn procs(&self) -> Vec<PathBuf> {
        self.directories().iter().rev().map(|directory| directory.join("cgroup.procs")).collect()
    }

    /// Id in the memory hierarchy: the inode number of its directory.
    pub fn memory_id(&self) -> u64 {
        fs::metadata(self.memory()).unwrap().ino()
    }

    /// Sets the memory limit in bytes, and allows no swap.
    pub fn limit(&self, bytes: u64) {
        self.try_limit(bytes).unwrap();
    }

    /// The same; on v1 the kernel refuses a limit below what it cannot reclaim.
    pub fn try_limit(&self, bytes: u64) -> io::Result<()> {
        let (file, swap) = match self.is_v2() {
            true => ("memory.max", "memory.swap.max"),
            false => ("memory.limit_in_bytes", "memory.swappiness"),
        };
        // A kernel without swap accounting has no such file.
        let _ = fs::write(self.memory().join(swap), "0");
        fs::write(self.memory().join(file), bytes.to_string())
    }

    /// Sets the memory limit in bytes beyond which it swaps.
    pub fn try_limit_before_swap(&self, bytes: u64) -> io::Result<()> {
        let memory = self.memory();
        if self.is_v2() {
            return fs::write(memory.join("memory.max"), bytes.to_string());
        }
        // Cgroup v1 refuses a limit if it cannot make room at once: step by step it can.
        let used = || -> io::Result<u64> {
            let text = fs::read_to_string(memory.join("memory.usage_in_bytes"))?;
            text.trim().parse().map_err(io::Error::other)
        };
        for _ in 0..STEPS {
            let next = bytes.max(used()?.saturating_sub(STEP));
            let set = fs::write(memory.join("memory.limit_in_bytes"), next.to_string());
            if set.is_ok() && next == bytes {
                return Ok(());
            }
            sleep(Duration::from_millis(20));
        }
        Err(io::Error::other(format!("a limit of {bytes}: {} bytes are in use", used()?)))
    }

    /// Sets a CPU quota, in hundredths of a CPU.
    pub fn try_quota(&self, percent: f64) -> io::Result<()> {
        let quota = (percent * 1000.0) as u64;
        match self.is_v2() {
            true => fs::write(self.file(Controller::Cpu, "cpu.max"), format!("{quota} 100000")),
            false => fs::write(self.file(Controller::Cpu, "cpu.cfs_quota_us"), quota.to_string()),
        }
    }

    /// Sets its share of CPU time while there is too little: 1024 is usual.
    pub fn try_weight(&self, parts: u64) -> io::Result<()> {
        match self.is_v2() {
            true => fs::write(self.file(Controller::Cpu, "cpu.weight"), (parts * 100 / 1024).max(1).to_string()),
            false => fs::write(self.file(Controller::Cpu, "cpu.shares"), parts.to_string()),
        }
    }

    /// The kernel's count of OOM kills in this cgroup, without those below.
    pub fn kills(&self) -> u64 {
        let file = if self.is_v2() { "memory.events.local" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.memory().join(file)).unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.unwrap_or_else(|| panic!("{file} has no count of kills:\n{text}")).trim().parse().unwrap()
    }

    /// Peak of memory charged to it in bytes, if the kernel has it.
    pub fn peak(&self) -> Option<u64> {
        let file = if self.is_v2() { "memory.peak" } else { "memory.max_usage_in_bytes" };
        fs::read_to_string(self.memory().join(file)).ok()?.trim().parse().ok()
    }

    /// Runs a command in it.
    pub fn spawn(&self, command: &mut Command) -> Child {
        self.join_before_exec(command);
        command.spawn().unwrap()
    }

    /// Makes a command join it before exec.
    pub fn join_before_exec(&self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        let files: Vec<PathBuf> = self.directories().iter().map(|directory| directory.join("cgroup.procs")).collect();
        // SAFETY: between fork and exec only open, write and close are called.
        unsafe {
            command.pre_exec(move || files.iter().try_for_each(|file| fs::write(file, "0")));
        }
    }

    fn processes(directory: &Path) -> Vec<i32> {
        let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

/// Whether memory is accounted on cgroup v2 on this host.
pub fn is_v2() -> bool {
    Hierarchies::find(&Root::default()).unwrap().memory.id == 0
}

/// What begins the paths of this process's cgroups with this name. Another run may have left some with the same name.
pub fn own(name: &str) -> String {
    format!("{PREFIX}{name}-{}-", std::process::id())
}

/// A path that nobody has.
pub(crate) fn fresh(name: &str) -> String {
    sweep();
    format!("{}{}", own(name), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes, once, what tests left that were killed: an agent would know those workloads too.
pub fn sweep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for hierarchy in Hierarchies::find(&Root::default()).iter().flat_map(Hierarchies::all) {
            let entries = fs::read_dir(&hierarchy.root).into_iter().flatten().flatten();
            entries.filter(|entry| is_orphan(&entry.file_name().to_string_lossy())).for_each(|it| clear(&it.path()));
        }
    });
}

/// Whether a cgroup with this name was made by a process that ended.
fn is_orphan(name: &str) -> bool {
    let made_by = name.rsplit('-').nth(1).and_then(|pid| pid.parse::<u32>().ok());
    name.starts_with(&PREFIX[1..]) && made_by.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())
}

/// Ends the processes in this cgroup and below, and removes it.
fn clear(directory: &Path) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir())).for_each(|it| clear(&it.path()));
    for _ in 0..200 {
        for pid in Cgroup::processes(directory) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        if fs::remove_dir(directory).is_ok() || !directory.exists() {
            break;
        }
        sleep(Duration::from_millis(10));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.directories().iter().for_each(|directory| clear(directory));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_left_that_ended_is_an_orphan() {
        let gone = Command::new("true").spawn().unwrap();
        let (pid, own) = (gone.id(), std::process::id());
        gone.wait_with_output().unwrap();
        assert!(is_orphan(&format!("headroom-test-load-wave-{pid}-7")));
        assert!(!is_orphan(&format!("headroom-test-load-wave-{own}-7")));
        assert!(
            !is_orphan(&format!("other-{pid}-7")) && !is_orphan("headroom-test-") && !is_orphan("headroom-test-x-y")
        );
    }
}
