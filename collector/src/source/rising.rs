//! What the largest processes of workloads hold whose memory rises. The view says who they are. A thread of its own reads them seldom,
//! from files of /proc that need no right; it sleeps while there are none.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector_core::sample::{Reading, Sample};
use collector_core::statistic::member::{self, PROCESSES, Process};
use collector_core::text::escape;

use super::cgroup::{Hierarchies, Hierarchy};
use super::resident;
use super::root::Root;
use super::text::number;
use super::{Health, Source};
use crate::clock;
use crate::mutex::lock;

/// Who is watched is looked at this often, or four times in a window, if that is shorter.
const INTERVAL: Duration = Duration::from_secs(60);
const LOOKS: u32 = 4;
/// Processes that are read of a workload, cgroups below its own, and bytes of a file.
const MOST: usize = 512;
const CGROUPS: usize = 64;
const STAT: u64 = 4 << 10;
/// After a round the thread rests for so many times as long as it took: a thousandth of a CPU at most.
const REST: u32 = 999;
const STACK: usize = 256 * 1024;

/// Which workloads rise, and what was read of them. Shared with the fold loop, which says who they are.
#[derive(Debug, Default)]
pub struct Watched {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The number that the view had when it last said who they are.
    number: u64,
    /// Paths of their own cgroups.
    tops: Arc<[Arc<str>]>,
    found: Vec<member::Reading>,
    round: Option<Duration>,
    ended: bool,
}

impl Watched {
    /// Who they are; asked only if the number is not the one before.
    pub fn set(&self, number: u64, tops: impl FnOnce() -> Vec<Arc<str>>) {
        let mut state = lock(&self.state);
        if state.number != number {
            (state.number, state.tops) = (number, tops().into());
            self.changed.notify_all();
        }
    }

    fn run(&self, proc: &Path, memory: &Hierarchy, interval: Duration) {
        loop {
            let (tops, number) = {
                let mut state = lock(&self.state);
                while state.tops.is_empty() && !state.ended {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                if state.ended {
                    return;
                }
                (state.tops.clone(), state.number)
            };
            let begun = Instant::now();
            let found = tops.iter().filter_map(|top| look(proc, memory, top)).collect();
            let mut state = lock(&self.state);
            (state.found, state.round) = (found, Some(begun.elapsed()));
            // Who is new among them is looked at now: what it holds at first is what counts.
            let rest = interval.max(begun.elapsed() * REST);
            let same = |state: &mut State| state.number == number && !state.ended;
            drop(self.changed.wait_timeout_while(state, rest, same).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

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
    let mut processes: Vec<Process> = pids.iter().take(MOST).filter_map(|pid| process(proc, *pid)).collect();
    let count = processes.len() as u32;
    processes.sort_by_key(|process| (std::cmp::Reverse(process.anon.saturating_add(process.shmem)), process.pid));
    processes.truncate(PROCESSES);
    Some(member::Reading { cgroup, count, processes })
}

/// `None` if it is gone.
fn process(proc: &Path, pid: u32) -> Option<Process> {
    let memory = resident::of(proc, pid, &[], &[])?;
    let mut stat = Vec::new();
    File::open(proc.join(pid.to_string()).join("stat")).ok()?.take(STAT).read_to_end(&mut stat).ok()?;
    let (comm, started) = named(&stat)?;
    Some(Process { pid, started, comm: escape(comm).into_owned(), anon: memory.anon, shmem: memory.shmem })
}

/// The name and the start of a process, from `/proc/PID/stat`: the name is in parentheses, and may have some itself; the start is the 20th
/// field after it (proc(5)).
fn named(stat: &[u8]) -> Option<(&[u8], u64)> {
    let begin = stat.iter().position(|byte| *byte == b'(')? + 1;
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let started = stat.get(end + 1..)?.split(|byte| byte.is_ascii_whitespace()).filter(|field| !field.is_empty());
    Some((stat.get(begin..end)?, started.skip(19).find_map(number)?))
}

/// The source.
pub struct Rising(Arc<Watched>);

impl Rising {
    /// `window`: of the windows in which leaks are looked for.
    pub fn start(root: &Root, hierarchies: &Hierarchies, watched: &Arc<Watched>, window: Duration) -> Result<Rising> {
        let (proc, memory): (PathBuf, Hierarchy) = (root.at("/proc"), hierarchies.memory.clone());
        let (mine, thread) = (watched.clone(), std::thread::Builder::new().name("headroom-rise".into()));
        let interval = INTERVAL.min(window / LOOKS);
        let run = move || mine.run(&proc, &memory, interval);
        thread.stack_size(STACK).spawn(run).context("start the thread that looks at what rises")?;
        Ok(Rising(watched.clone()))
    }
}

impl Drop for Rising {
    fn drop(&mut self) {
        lock(&self.0.state).ended = true;
        self.0.changed.notify_all();
    }
}

impl Source for Rising {
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        let (found, round) = {
            let mut state = lock(&self.0.state);
            (std::mem::take(&mut state.found), state.round.take())
        };
        let time = clock::unix_ns();
        found.into_iter().for_each(|reading| emit(Sample { time, reading: Reading::Member(reading) }));
        match round {
            Some(round) => Health::Round { ns: round.as_nanos() as u64, result: Ok(()) },
            None => Health::Silent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    #[test]
    fn the_name_may_have_parentheses_and_the_start_is_behind_it() {
        let stat = b"7 (a) b(c)) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2 3\n";
        assert_eq!(named(stat), Some((&b"a) b(c)"[..], 98765)));
        assert_eq!(named(b"7 (a) S 1"), None);
        assert_eq!(named(b"7 )a( S"), None);
        let own = std::fs::read("/proc/self/stat").unwrap();
        assert!(named(&own).unwrap().1 > 0);
    }

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
