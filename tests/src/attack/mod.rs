//! All that users without privileges, and whoever reaches the port, can do to the agent, at the same time, until it is dropped. What
//! becomes of the agent meanwhile is in `siege.rs`.

mod crowd;
mod library;
pub mod siege;

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use rustix::fs::{FileType, Mode};

use crate::cgroup::Cgroup;
use crate::cuda::{Cuda, install};
use crate::deep::Deep;
use crate::home::{Dead, Homes, Made, entry, short_names};
use crate::scratch::{Scratch, scratch};
use crowd::Crowd;
use library::{Mapped, copies, sparse};

// Uids that no known system uses.
const ENDLESS: u32 = 64_341;
const LONG: u32 = 64_342;
const FIFO: u32 = 64_343;
const LINK: u32 = 64_344;
const GONE: u32 = 64_345;
/// Has cgroups, files and processes.
const HOSTILE: u32 = 64_346;
pub const HONEST: u32 = 64_347;

/// More cgroups than there are places for workloads.
const CGROUPS: usize = 2100;
/// More allocations than the agent can follow.
const ALLOCATIONS: u64 = 70_000;
const COPIES: usize = 16;
/// Memory limit of what is killed over and over.
const LIMIT: u64 = 4 << 20;

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    pub kills: AtomicU64,
    pub cgroups: AtomicU64,
    pub allocations: AtomicU64,
    pub scrapes: AtomicU64,
    pub connections: AtomicU64,
    pub books: AtomicU64,
}

/// The attack. What is dropped first comes first.
pub struct Attack {
    pub done: Arc<Done>,
    _threads: Threads,
    standing: Standing,
}

/// What stays as it is.
struct Standing {
    _deep: (Deep, Cgroup),
    _crowd: Crowd,
    _books: Made,
    dead: Option<Dead>,
    _mapped: Vec<Mapped>,
    _folder: Arc<Scratch>,
}

impl Attack {
    /// The homes, which the agent has to see from its start.
    pub fn homes() -> Arc<Homes> {
        let homes = Homes::new(&[ENDLESS, LONG, FIFO, LINK, GONE, HOSTILE, HONEST]);
        homes.write(LONG, &short_names(LONG, (4 << 20) - 1000));
        homes.write(HONEST, &format!("[{}]", entry(HONEST, "honest")));
        rustix::fs::mknodat(rustix::fs::CWD, homes.book(FIFO), FileType::Fifo, Mode::RWXU, 0).unwrap();
        fs::write(homes.folder.join("root's"), format!("[{}]", entry(LINK, "stolen"))).unwrap();
        symlink(homes.folder.join("root's"), homes.book(LINK)).unwrap();
        fs::create_dir_all(homes.home(GONE)).unwrap();
        Arc::new(homes)
    }

    /// Begins, against the agent at this address. `program` is `provoke`.
    pub fn begin(program: &str, address: &str, homes: &Arc<Homes>) -> Attack {
        let folder = Arc::new(scratch());
        let library = install(&folder);
        let mut books = Made::default();
        [GONE, ENDLESS, LONG, FIFO, LINK].into_iter().for_each(|uid| books.container(uid));
        let mapped = [sparse(&folder, &library, HOSTILE)].into_iter().chain(copies(&folder, &library, HOSTILE, COPIES));
        let top = Cgroup::new("attack-deep");
        top.delegate("memory").unwrap();
        let mut deep = Deep::new(&top);
        deep.grow(150);
        let standing = Standing {
            _mapped: mapped.collect(),
            dead: Dead::mount(&homes.home(GONE)),
            _books: books,
            _deep: (deep, top),
            _crowd: Crowd::gather(HOSTILE, CGROUPS),
            _folder: folder.clone(),
        };
        let done = Arc::<Done>::default();
        let mut threads = Threads::new(&done);
        threads.repeat({
            let homes = homes.clone();
            move |done| rewrite(&homes, done)
        });
        threads.repeat(kill);
        threads.repeat({
            let program = program.to_owned();
            move |done| allocate(&program, &folder, done)
        });
        threads.repeat(move |done| {
            Crowd::gather(HOSTILE, 20);
            done.cgroups.fetch_add(20, Ordering::Relaxed);
        });
        for client in 0..12 {
            let address = address.to_owned();
            threads.repeat(move |done| crowd::scrape(&address, client, done));
        }
        for hold in [crowd::hold_heads, crowd::hold_bodies] {
            let address = address.to_owned();
            threads.repeat(move |done| hold(&address, done));
        }
        Attack { done, _threads: threads, standing }
    }

    /// Whether a home that does not answer is part of it.
    pub fn has_dead_home(&self) -> bool {
        self.standing.dead.is_some()
    }
}

/// A list without end, again and again another one.
fn rewrite(homes: &Homes, done: &Done) {
    homes.write(ENDLESS, &short_names(ENDLESS, 16 << 20));
    done.books.fetch_add(1, Ordering::Relaxed);
    sleep(Duration::from_secs(1));
}

/// A kill in a cgroup whose name and command would control a terminal.
fn kill(done: &Done) {
    let mut crowd = Crowd::gather(HOSTILE, 0);
    let mut hog = Command::new("tail");
    let killed = crowd.run("\u{1b}]0;x\u{7}\r.scope", LIMIT, hog.arg("/dev/zero").stderr(Stdio::null()));
    done.kills.fetch_add(u64::from(killed), Ordering::Relaxed);
}

/// A process that allocates more than the agent can follow, and ends.
fn allocate(program: &str, folder: &Scratch, done: &Done) {
    let cgroup = Cgroup::new("attack-cuda");
    let mut cuda = Cuda::with(program, &cgroup, &folder.join("libcuda.so.1"));
    let became = cuda.send(&format!("user {HOSTILE}")).0 == 0;
    if became && cuda.send(&format!("fill cuMemAlloc_v2 16 {ALLOCATIONS}")).0 == 0 {
        done.allocations.fetch_add(ALLOCATIONS, Ordering::Relaxed);
    }
    cuda.end();
    sleep(Duration::from_secs(2));
}

/// Each repeats something until they are dropped.
struct Threads {
    done: Arc<Done>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    fn new(done: &Arc<Done>) -> Threads {
        Threads { done: done.clone(), stop: Arc::default(), threads: Vec::new() }
    }

    fn repeat(&mut self, action: impl Fn(&Done) + Send + 'static) {
        let (done, stop) = (self.done.clone(), self.stop.clone());
        self.threads.push(std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                action(&done);
            }
        }));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "an attack ended too early");
        }
    }
}
