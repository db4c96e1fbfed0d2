//! Mixed load until it is dropped: cgroups that come and go, OOM kills, page faults and block IO, all at once. It counts what it
//! did itself, without the agent.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use crate::cgroup::Cgroup;
use crate::forest::Forest;
use crate::scratch::{Scratch, scratch};

/// Memory limit of the processes that are to be killed.
const LIMIT: u64 = 16 << 20;
/// Size of the file that is read past the page cache.
const FILE: usize = 8 << 20;
/// Cgroups that exist at the same time, made and removed together.
const WAVE: usize = 20;

/// What the load did.
#[derive(Debug, Default)]
pub struct Done {
    /// Cgroups made and removed.
    pub cgroups: AtomicU64,
    /// Processes that the kernel killed.
    pub kills: AtomicU64,
    /// Rounds of page faults and of block IO.
    pub rounds: AtomicU64,
}

/// The load. When dropped, it ends and removes everything.
pub struct Load {
    pub done: Arc<Done>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    _folder: Scratch,
}

impl Load {
    /// Starts the load, with this pause after each wave of cgroups and after each kill.
    pub fn start(pause: Duration) -> Load {
        let folder = scratch();
        let file = folder.join("blocks");
        fs::write(&file, vec![7; FILE]).unwrap();
        let (done, stop) = (Arc::<Done>::default(), Arc::<AtomicBool>::default());
        let mut load = Load { done, stop, threads: Vec::new(), _folder: folder };
        load.repeat(move |done| {
            let mut forest = Forest::new("load-wave");
            for number in 0..WAVE {
                forest.make(format!("n{number}"));
            }
            forest.clear();
            done.cgroups.fetch_add(1 + WAVE as u64, Ordering::Relaxed);
            sleep(pause);
        });
        load.repeat(move |done| {
            let cgroup = Cgroup::new("load");
            cgroup.limit(LIMIT);
            // tail looks for the last line of endless input, and fills its memory.
            let killed = run(&cgroup, Command::new("tail").arg("/dev/zero"));
            done.kills.fetch_add(u64::from(killed), Ordering::Relaxed);
            sleep(pause);
        });
        load.repeat(move |done| {
            let cgroup = Cgroup::new("load");
            run(&cgroup, Command::new("dd").args(["if=/dev/zero", "of=/dev/null", "bs=32M", "count=2"]));
            let input = format!("if={}", file.display());
            run(&cgroup, Command::new("dd").args([&input, "of=/dev/null", "bs=4k", "iflag=direct"]));
            done.rounds.fetch_add(1, Ordering::Relaxed);
        });
        load
    }

    /// Repeats this until the load ends.
    fn repeat(&mut self, action: impl Fn(&Done) + Send + 'static) {
        let (done, stop) = (self.done.clone(), self.stop.clone());
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                action(&done);
            }
        }));
    }
}

/// Runs a command in a cgroup; whether it was killed.
fn run(cgroup: &Cgroup, command: &mut Command) -> bool {
    let status = cgroup.spawn(command.stdout(Stdio::null()).stderr(Stdio::null())).wait().unwrap();
    status.signal() == Some(libc::SIGKILL)
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the load ended too early");
        }
    }
}
