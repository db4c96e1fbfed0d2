//! How long the tasks of a workload waited for a CPU, from `/proc/PID/task/TID/schedstat`: time on a CPU, time in the run queue, and
//! turns, in nanoseconds (Documentation/scheduler/sched-stats.rst). Each task has its own file; a task that ends takes its sum along, so
//! what is told is the growth, added up.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use collector_core::statistic::contention::{Statistic, Values};

use crate::source::text::{fields, number};

/// At most this many tasks of one workload are read.
const TASKS: usize = 1024;
/// At most this many of all.
const ALL: usize = 8192;

#[derive(Debug)]
pub struct Tasks {
    proc: PathBuf,
    /// By thread id.
    known: HashMap<u32, Known>,
    /// The sum of each workload.
    sums: HashMap<Arc<str>, Sum>,
    round: u64,
    /// When the round before began, and when this one did.
    begun: [Instant; 2],
    /// Tasks that were read in this round, and workloads that still are to be.
    taken: usize,
    left: usize,
}

#[derive(Debug)]
struct Known {
    ran: u64,
    waited: u64,
    round: u64,
}

#[derive(Debug, Default)]
struct Sum {
    waited: u64,
    /// The last round in which it was read.
    round: u64,
}

impl Tasks {
    pub fn new(proc: PathBuf) -> Tasks {
        Tasks {
            proc,
            known: HashMap::new(),
            sums: HashMap::new(),
            round: 0,
            begun: [Instant::now(); 2],
            taken: 0,
            left: 0,
        }
    }

    /// A round of so many workloads.
    pub fn begin(&mut self, workloads: usize) {
        self.round += 1;
        self.begun = [self.begun[1], Instant::now()];
        (self.taken, self.left) = (0, workloads);
    }

    /// Forgets tasks and workloads that were not read in this round.
    pub fn end(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.round == round);
        self.sums.retain(|_, sum| sum.round == round);
    }

    /// Reads the tasks of these processes.
    pub fn read(&mut self, workload: &Arc<str>, pids: &[u32], values: &mut Values) {
        let lived = u64::try_from(self.begun[0].elapsed().as_nanos()).unwrap_or(u64::MAX);
        let round = self.round;
        // One with many tasks leaves room for the others.
        let most = TASKS.min((ALL - self.taken) / self.left.max(1));
        self.left = self.left.saturating_sub(1);
        // At the first look, what tasks waited before is nobody's.
        let first = self.sums.get(workload).is_none_or(|sum| sum.round + 1 != round);
        let (mut count, mut grown, mut any) = (0, 0u64, false);
        for pid in pids {
            let Ok(folder) = fs::read_dir(self.proc.join(pid.to_string()).join("task")) else { continue };
            for entry in folder.flatten() {
                if count >= most {
                    break;
                }
                let name = entry.file_name();
                let Some(tid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
                let Some((ran, waited)) = schedstat(entry.path()) else { continue };
                (count, self.taken) = (count + 1, self.taken + 1);
                // Where the kernel does not count, all numbers are 0.
                any |= ran > 0;
                let before = self.known.insert(tid, Known { ran, waited, round });
                // A thread id that was reused begins again.
                let before = before.filter(|before| before.ran <= ran && before.waited <= waited);
                grown = grown.saturating_add(match before {
                    Some(before) => waited - before.waited,
                    None if first => 0,
                    // It is older than the last round: it came from elsewhere, or had no place.
                    None if ran.saturating_add(waited) > lived => 0,
                    None => waited,
                });
            }
        }
        let sum = self.sums.entry(workload.clone()).or_default();
        sum.round = round;
        sum.waited = sum.waited.saturating_add(grown);
        if any {
            values.set(Statistic::CpuWait, sum.waited);
        }
        if count > 0 {
            values.set(Statistic::Tasks, count as u64);
        }
    }
}

/// Time on a CPU and in the run queue.
fn schedstat(task: PathBuf) -> Option<(u64, u64)> {
    let mut text = [0; 96];
    let length = File::open(task.join("schedstat")).ok()?.read(&mut text).ok()?;
    let mut numbers = fields(text[..length].trim_ascii_end()).map(number);
    Some((numbers.next()??, numbers.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Proc(PathBuf);

    impl Proc {
        fn new(name: &str) -> Proc {
            Proc(std::env::temp_dir().join(format!("headroom-task-{}-{name}", std::process::id())))
        }

        fn task(&self, pid: u32, tid: u32, text: &str) {
            let folder = self.0.join(format!("{pid}/task/{tid}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("schedstat"), text).unwrap();
        }
    }

    impl Drop for Proc {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn growth_of_all_tasks_is_added_up_and_ended_ones_take_nothing_away() {
        let proc = Proc::new("sum");
        let mut tasks = Tasks::new(proc.0.clone());
        let workload: Arc<str> = "/a".into();
        let mut read = |pids: &[u32]| {
            let mut values = Values::new();
            tasks.begin(1);
            tasks.read(&workload, pids, &mut values);
            tasks.end();
            (values.get(Statistic::CpuWait), values.get(Statistic::Tasks))
        };
        proc.task(7, 7, "100 5000 3\n");
        proc.task(7, 8, "100 7000 3\n");
        assert_eq!(read(&[7]), (Some(0), Some(2)), "what was before the first look");
        proc.task(7, 7, "200 5010 4\n");
        proc.task(7, 9, "10 30 4\n");
        assert_eq!(read(&[7]), (Some(40), Some(3)));
        fs::remove_dir_all(proc.0.join("7/task/8")).unwrap();
        proc.task(7, 7, "1 2 1\n");
        assert_eq!(read(&[7]), (Some(42), Some(2)), "one ended, the id of another was used again");
        proc.task(7, 9, "no number");
        assert_eq!(read(&[7]), (Some(42), Some(1)));
        proc.task(7, 10, "1 9000000000000000 1");
        assert_eq!(read(&[7]), (Some(42), Some(2)), "it waited elsewhere");
        proc.task(7, 10, "2 9000000000000008 2");
        assert_eq!(read(&[7]), (Some(50), Some(2)));
        assert_eq!(read(&[99]), (None, None), "nothing is known of none");
        proc.task(8, 8, "0 0 0");
        assert_eq!(read(&[8]), (None, Some(1)), "this kernel does not count");
    }

    #[test]
    fn a_real_task_that_waits_is_seen() {
        let mut tasks = Tasks::new("/proc".into());
        let workload: Arc<str> = "/a".into();
        let mut values = Values::new();
        tasks.begin(1);
        tasks.read(&workload, &[std::process::id()], &mut values);
        assert!(values.get(Statistic::Tasks) >= Some(1));
    }
}
