//! The memory cgroups of processes that hold GPU memory. NVML reports only pids, and pids are reused.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use collector_core::cgroup::Id;

use crate::source::cgroup::{Hierarchy, path_in};
use crate::source::root::Root;

/// Rounds after which a process's cgroup is read again: the process may be moved.
const REFRESH_ROUNDS: u64 = 10;

/// Maps pids to memory cgroups, with a cache.
pub struct Holders {
    proc: PathBuf,
    memory: Hierarchy,
    known: HashMap<u32, Known>,
    round: u64,
    tick_ns: u64,
}

struct Known {
    started: u64,
    cgroup: Option<Id>,
    looked_up: u64,
    seen: u64,
}

impl Holders {
    pub fn new(root: &Root, memory: &Hierarchy) -> Holders {
        Holders {
            proc: root.at("/proc"),
            memory: memory.clone(),
            known: HashMap::new(),
            round: 0,
            tick_ns: 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1),
        }
    }

    /// Starts a round, and forgets processes that the last round did not list.
    pub fn begin_round(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.seen == round);
        self.round += 1;
    }

    /// The memory cgroup of a process that NVML listed at `listed` (ns since boot); `None` if the process is gone, even
    /// if its pid has been reused.
    pub fn cgroup(&mut self, pid: u32, listed: u64) -> Option<Id> {
        let round = self.round;
        if let Some(known) = self.known.get(&pid).filter(|known| known.seen == round) {
            return known.cgroup;
        }
        let directory = self.proc.join(pid.to_string());
        let started = start_ticks(&fs::read_to_string(directory.join("stat")).ok()?)?;
        if started > listed / self.tick_ns {
            self.known.remove(&pid);
            return None;
        }
        let known = self.known.get_mut(&pid).filter(|known| known.started == started);
        if let Some(known) = known.filter(|known| known.cgroup.is_some() && round - known.looked_up < REFRESH_ROUNDS) {
            known.seen = round;
            return known.cgroup;
        }
        let text = fs::read(directory.join("cgroup")).unwrap_or_default();
        let cgroup = path_in(&text, self.memory.id).and_then(|path| self.memory.cgroup_at(&path));
        self.known.insert(pid, Known { started, cgroup, looked_up: round, seen: round });
        cgroup
    }
}

/// Start time of a process in clock ticks since boot: field 22 of `stat`, whose second field may contain any text in
/// parentheses (proc_pid_stat(5)).
fn start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;
    use std::path::Path;

    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Tree {
            let path = std::env::temp_dir().join(format!("headroom-holder-{}-{name}", std::process::id()));
            for directory in ["proc", "cgroup/a", "cgroup/b"] {
                fs::create_dir_all(path.join(directory)).unwrap();
            }
            Tree(path)
        }

        fn process(&self, pid: u32, started: u64, cgroup: &str) {
            let directory = self.0.join("proc").join(pid.to_string());
            fs::create_dir_all(&directory).unwrap();
            let stat = format!("{pid} (a) b) 1 () S 1 1 1 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 {started} 9 9\n");
            fs::write(directory.join("stat"), stat).unwrap();
            fs::write(directory.join("cgroup"), format!("3:cpu:/z\n0::{cgroup}\n")).unwrap();
        }

        fn holders(&self) -> Holders {
            let memory = Hierarchy { id: 0, root: self.0.join("cgroup"), prefix: String::new() };
            Holders { tick_ns: 10_000_000, ..Holders::new(&Root::new(&self.0), &memory) }
        }

        fn id(&self, name: &str) -> Option<Id> {
            Some(Id { hierarchy: 0, id: fs::metadata(self.0.join("cgroup").join(name)).unwrap().ino() })
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_cgroup_is_read_from_proc() {
        let tree = Tree::new("where");
        tree.process(7, 100, "/a");
        tree.process(8, 100, "/");
        tree.process(9, 100, "/c (deleted)");
        let mut holders = tree.holders();
        holders.begin_round();
        let found = [7, 8, 9, 10].map(|pid| holders.cgroup(pid, 5_000_000_000));
        assert_eq!(found, [tree.id("a"), tree.id(""), None, None]);
        assert!(Path::new(&tree.0).exists());
    }

    #[test]
    fn a_reused_pid_is_not_the_listed_process() {
        let tree = Tree::new("reuse");
        tree.process(7, 100, "/a");
        let mut holders = tree.holders();
        let mut lookup = |listed_ticks: u64| {
            holders.begin_round();
            holders.cgroup(7, listed_ticks * 10_000_000)
        };
        assert_eq!(lookup(200), tree.id("a"));
        // Another process with the same pid, started after the list was made.
        tree.process(7, 300, "/b");
        assert_eq!(lookup(250), None);
        assert_eq!(lookup(400), tree.id("b"), "listed after its start");
    }

    #[test]
    fn a_moved_process_is_found_and_an_ended_one_forgotten() {
        let tree = Tree::new("move");
        tree.process(7, 100, "/a");
        let mut holders = tree.holders();
        let mut lookup = || {
            holders.begin_round();
            (holders.cgroup(7, u64::MAX / 2), holders.known.len())
        };
        assert_eq!(lookup(), (tree.id("a"), 1));
        tree.process(7, 100, "/b");
        let found: Vec<_> = (0..REFRESH_ROUNDS).map(|_| lookup().0).collect();
        assert_eq!(found.last(), Some(&tree.id("b")));
        fs::remove_dir_all(tree.0.join("proc/7")).unwrap();
        assert_eq!(lookup().0, None);
        assert_eq!(lookup(), (None, 0));
    }
}
