//! Which memory cgroup a process is in that holds memory of a GPU. NVML gives a number alone, and numbers are used again.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use crate::signal::cgroup::Id;
use crate::source::cgroup::{Hierarchy, path_in};
use crate::source::root::Root;

/// Rounds after which it is looked up again: a process may be moved.
const ROUNDS: u64 = 10;

/// Where processes are.
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
    /// Of the host with this root.
    pub fn new(root: &Root, memory: &Hierarchy) -> Holders {
        Holders {
            proc: root.at("/proc"),
            memory: memory.clone(),
            known: HashMap::new(),
            round: 0,
            tick_ns: 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1),
        }
    }

    /// Begins a round of questions, and forgets whom the last did not ask for.
    pub fn begin(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.seen == round);
        self.round += 1;
    }

    /// The memory cgroup of a process that NVML listed at `listed` (ns since boot); `None` if it is gone, also where its
    /// number is another's by now.
    pub fn cgroup(&mut self, pid: u32, listed: u64) -> Option<Id> {
        let round = self.round;
        if let Some(known) = self.known.get(&pid).filter(|known| known.seen == round) {
            return known.cgroup;
        }
        let folder = self.proc.join(pid.to_string());
        let started = started(&fs::read_to_string(folder.join("stat")).ok()?)?;
        if started > listed / self.tick_ns {
            self.known.remove(&pid);
            return None;
        }
        let known = self.known.get_mut(&pid).filter(|known| known.started == started);
        if let Some(known) = known.filter(|known| known.cgroup.is_some() && round - known.looked_up < ROUNDS) {
            known.seen = round;
            return known.cgroup;
        }
        let told = fs::read(folder.join("cgroup")).unwrap_or_default();
        let cgroup = path_in(&told, self.memory.id).and_then(|path| self.memory.cgroup_at(path));
        self.known.insert(pid, Known { started, cgroup, looked_up: round, seen: round });
        cgroup
    }
}

/// When a process started, in the kernel's ticks since boot: the 22nd number of `stat`, whose second may be any text in
/// brackets (proc_pid_stat(5)).
fn started(stat: &str) -> Option<u64> {
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
            for folder in ["proc", "cgroup/a", "cgroup/b"] {
                fs::create_dir_all(path.join(folder)).unwrap();
            }
            Tree(path)
        }

        fn process(&self, pid: u32, started: u64, cgroup: &str) {
            let folder = self.0.join("proc").join(pid.to_string());
            fs::create_dir_all(&folder).unwrap();
            let stat = format!("{pid} (a) b) 1 () S 1 1 1 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 {started} 9 9\n");
            fs::write(folder.join("stat"), stat).unwrap();
            fs::write(folder.join("cgroup"), format!("3:cpu:/z\n0::{cgroup}\n")).unwrap();
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
    fn a_process_is_where_the_kernel_says() {
        let tree = Tree::new("where");
        tree.process(7, 100, "/a");
        tree.process(8, 100, "/");
        tree.process(9, 100, "/c (deleted)");
        let mut holders = tree.holders();
        holders.begin();
        let found = [7, 8, 9, 10].map(|pid| holders.cgroup(pid, 5_000_000_000));
        assert_eq!(found, [tree.id("a"), tree.id(""), None, None]);
        assert!(Path::new(&tree.0).exists());
    }

    #[test]
    fn a_number_that_is_used_again_is_not_the_process_that_was_listed() {
        let tree = Tree::new("reuse");
        tree.process(7, 100, "/a");
        let mut holders = tree.holders();
        let mut ask = |listed_ticks: u64| {
            holders.begin();
            holders.cgroup(7, listed_ticks * 10_000_000)
        };
        assert_eq!(ask(200), tree.id("a"));
        // Another process of that number, started after the list was made.
        tree.process(7, 300, "/b");
        assert_eq!(ask(250), None);
        assert_eq!(ask(400), tree.id("b"), "and now it is the one that is listed");
    }

    #[test]
    fn one_that_moved_is_found_again_and_one_that_ended_is_forgotten() {
        let tree = Tree::new("move");
        tree.process(7, 100, "/a");
        let mut holders = tree.holders();
        let mut ask = || {
            holders.begin();
            (holders.cgroup(7, u64::MAX / 2), holders.known.len())
        };
        assert_eq!(ask(), (tree.id("a"), 1));
        tree.process(7, 100, "/b");
        let found: Vec<_> = (0..ROUNDS).map(|_| ask().0).collect();
        assert_eq!(found.last(), Some(&tree.id("b")));
        fs::remove_dir_all(tree.0.join("proc/7")).unwrap();
        assert_eq!(ask().0, None);
        assert_eq!(ask(), (None, 0));
    }
}
