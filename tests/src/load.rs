//! Mixed load: cgroups that come and go, OOM kills, page faults and block IO, all at once until it is dropped. What was done is
//! counted here, by whom it was done to and not by the agent.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use crate::agent::scratch;
use crate::cgroup::Cgroup;
use crate::forest::Forest;

/// Memory that a process may have before it is killed.
const LIMIT: u64 = 16 << 20;
/// Bytes of the file that is read past the page cache.
const FILE: usize = 8 << 20;
/// Cgroups that are there at the same time, made and removed together.
const WAVE: usize = 20;

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Cgroups that were made, and removed.
    pub cgroups: AtomicU64,
    /// Processes that the kernel killed.
    pub kills: AtomicU64,
    /// Rounds of page faults and of block IO.
    pub rounds: AtomicU64,
}

/// The load. Dropped, it ends and leaves nothing.
pub struct Load {
    /// What it did so far.
    pub done: Arc<Done>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    folder: PathBuf,
}

impl Load {
    /// From now on, with this pause after each wave of cgroups and after each kill.
    pub fn start(pause: Duration) -> Load {
        let folder = scratch();
        let file = folder.join("blocks");
        fs::write(&file, vec![7; FILE]).unwrap();
        let (done, stop) = (Arc::<Done>::default(), Arc::<AtomicBool>::default());
        let mut load = Load { done, stop, threads: Vec::new(), folder };
        load.again(move |done| {
            let mut forest = Forest::new("load-wave");
            for number in 0..WAVE {
                forest.make(format!("n{number}"));
            }
            forest.clear();
            done.cgroups.fetch_add(1 + WAVE as u64, Ordering::Relaxed);
            sleep(pause);
        });
        load.again(move |done| {
            let cgroup = Cgroup::new("load");
            cgroup.limit(LIMIT);
            // It looks for the last line of something that has none.
            let killed = run(&cgroup, Command::new("tail").arg("/dev/zero"));
            done.kills.fetch_add(u64::from(killed), Ordering::Relaxed);
            sleep(pause);
        });
        load.again(move |done| {
            let cgroup = Cgroup::new("load");
            run(&cgroup, Command::new("dd").args(["if=/dev/zero", "of=/dev/null", "bs=32M", "count=2"]));
            let input = format!("if={}", file.display());
            run(&cgroup, Command::new("dd").args([&input, "of=/dev/null", "bs=4k", "iflag=direct"]));
            done.rounds.fetch_add(1, Ordering::Relaxed);
        });
        load
    }

    /// Does this again and again.
    fn again(&mut self, deed: impl Fn(&Done) + Send + 'static) {
        let (done, stop) = (self.done.clone(), self.stop.clone());
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                deed(&done);
            }
        }));
    }
}

/// Runs it in a cgroup, and says whether it was killed.
fn run(cgroup: &Cgroup, command: &mut Command) -> bool {
    let status = cgroup.spawn(command.stdout(Stdio::null()).stderr(Stdio::null())).wait().unwrap();
    status.signal() == Some(libc::SIGKILL)
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the load ended before its time");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
