//! What the largest processes of workloads hold whose memory rises. The view says who they are. A thread of its own reads them seldom,
//! from files of /proc that need no right; it sleeps while there are none.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use collector_core::sample::Reading;
use collector_core::statistic::member::{self, PROCESSES, Process};
use collector_core::text::escape;

use super::cgroup::{Hierarchies, Hierarchy};
use super::model::process;
use super::resident;
use super::root::Root;
use super::watched::{Pace, Rounds};

/// Who is watched is looked at this often, or four times in a window, if that is shorter.
const INTERVAL: Duration = Duration::from_secs(60);
const LOOKS: u32 = 4;
/// Processes that are read of a workload, and cgroups below its own.
const MOST: usize = 512;
const CGROUPS: usize = 64;
/// After a round the thread rests for so many times as long as it took: a thousandth of a CPU at most.
const REST: u32 = 999;

pub type Watched = super::watched::Watched<member::Reading>;
/// The source.
pub type Rising = Rounds<member::Reading>;

/// `None` if the cgroup is gone.
fn look(proc: &Path, memory: &Hierarchy, top: &str) -> Option<member::Reading> {
    let cgroup = memory.cgroup_at(top)?;
    let mut pids = Vec::new();
    let mut folders = vec![memory.directory(top.trim_end_matches('/'))?];
    let mut seen = 0;
    while let Some(folder) = folders.pop().filter(|_| seen < CGROUPS && pids.len() < MOST) {
        seen += 1;
        pids.extend(resident::mates(&folder));
        let below = fs::read_dir(&folder).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|it| it.is_dir()));
        folders.extend(below.map(|entry| entry.path()).take(CGROUPS));
    }
    pids.sort_unstable();
    pids.dedup();
    let mut processes: Vec<Process> = pids.iter().take(MOST).filter_map(|pid| held(proc, *pid)).collect();
    let count = processes.len() as u32;
    processes.sort_by_key(|process| (std::cmp::Reverse(process.anon.saturating_add(process.shmem)), process.pid));
    processes.truncate(PROCESSES);
    Some(member::Reading { cgroup, count, processes })
}

/// `None` if it is gone.
fn held(proc: &Path, pid: u32) -> Option<Process> {
    let memory = resident::of(proc, pid, &[], &[])?;
    let stat = process::stat(proc, pid)?;
    let comm = escape(&stat.comm).into_owned();
    Some(Process { pid, started: stat.started, comm, anon: memory.anon, shmem: memory.shmem })
}

/// `window`: of the windows in which leaks are looked for.
pub fn start(root: &Root, hierarchies: &Hierarchies, watched: &Arc<Watched>, window: Duration) -> Result<Rising> {
    let (proc, memory): (PathBuf, Hierarchy) = (root.at("/proc"), hierarchies.memory.clone());
    // Who is new among them is looked at now: what it holds at first is what counts.
    let pace = Pace { interval: INTERVAL.min(window / LOOKS), rest: REST, at_once: true };
    let read = move |tops: &[Arc<str>]| tops.iter().filter_map(|top| look(&proc, &memory, top)).collect();
    Rounds::start("headroom-rise", watched, pace, Reading::Member, read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    #[test]
    fn the_largest_come_first_and_all_are_counted() {
        let tree = Tree::new();
        for pid in 1..=20u32 {
            let status = format!("Name:\tp\nPPid:\t1\nRssAnon:\t{} kB\nRssShmem:\t1 kB\n", 10 * pid);
            tree.write(&format!("proc/{pid}/status"), &status);
            let stat = format!("{pid} (p{pid}) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 {} 1\n", 100 + pid);
            tree.write(&format!("proc/{pid}/stat"), &stat);
        }
        let pids = |from: u32, to: u32| (from..=to).map(|pid| format!("{pid}\n")).collect::<String>();
        tree.write("memory/a/cgroup.procs", &pids(1, 15));
        tree.write("memory/a/b/cgroup.procs", &pids(15, 22));
        let memory = Hierarchy { id: 4, root: tree.0.join("memory"), prefix: String::new() };
        let found = look(&tree.0.join("proc"), &memory, "/a").unwrap();
        assert_eq!((found.count, found.processes.len()), (20, PROCESSES), "two have ended");
        let first = &found.processes[0];
        assert_eq!((first.pid, first.started, &*first.comm, first.anon), (20, 120, "p20", 200 << 10));
        assert_eq!(look(&tree.0.join("proc"), &memory, "/gone"), None);
    }
}
