//! `train control=FILE data=FILE [cuda=LIBRARY]`: a training job whose GPU is played. Two worker processes make batches: they read
//! from the data file, compute, touch memory, and hand a token to the main process, which keeps the GPU busy for a fixed time for each
//! batch. So the share of time in which the GPU is busy follows from how fast the workers are.
//!
//! For how long the GPU was busy stands in a file beside the control file, `CONTROL.busy`: microseconds, as the first eight bytes. Who plays
//! the GPU reads them: a process of the job would be late itself where its workers are. What a batch takes stands in the control file, as
//! `KEY=NUMBER` lines, which is read again and again:
//!
//! | key | what |
//! |---|---|
//! | `work` | CPU time of a worker for a batch, in microseconds |
//! | `read` | blocks of 4 KiB, at random places of the data file |
//! | `direct` | 1: past the page cache |
//! | `touch` | pages of anonymous memory that a worker has, each of which it writes for a batch |
//! | `compute` | time that the GPU is busy for a batch, in microseconds |
//! | `copy` | time for copies to the GPU before that, in microseconds; it is not busy meanwhile |
//! | `pinned` | bytes of pinned memory that the job holds for copies (needs `cuda`) |
//! | `idle` | 1: the job itself takes no batch |
//! | `write` | MiB that the main process appends to a file beside the data file, once, and syncs: a checkpoint |

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::cuda::{Function, function, load};
use crate::memory::{Buffer, Memory};
use crate::option::text;

const WORKERS: usize = 2;
/// Bytes of a token: a page, so that the pipe's capacity is how many batches are made ahead.
const TOKEN: usize = 4096;
const AHEAD: usize = 4;
const BLOCK: usize = 4096;
/// What is pinned before an agent has found the library is not counted.
const FOUND: Duration = Duration::from_secs(4);
/// How often the control file is read.
const AGAIN: Duration = Duration::from_millis(100);

const KEYS: [&str; 9] = ["work", "read", "direct", "touch", "compute", "copy", "pinned", "idle", "write"];

/// What all processes of the job share, and who plays its GPU.
#[repr(C)]
struct Shared {
    /// Microseconds for which the GPU was busy.
    busy: AtomicU64,
    numbers: [AtomicU64; KEYS.len()],
    /// Iterations of [`spin`] in a microsecond of CPU time, times 1024.
    pace: AtomicU64,
}

impl Shared {
    fn new(path: &str) -> &'static Shared {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
        let file = open.unwrap_or_else(|error| panic!("{path}: {error}"));
        file.set_len(size_of::<Shared>() as u64).unwrap();
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping of a file of this size, for which zero is valid, and which is never given back.
        unsafe {
            let bytes = size_of::<Shared>();
            let start = libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, file.as_raw_fd(), 0);
            assert_ne!(start, libc::MAP_FAILED, "mmap: {}", std::io::Error::last_os_error());
            &*start.cast::<Shared>()
        }
    }

    fn get(&self, key: &str) -> u64 {
        let place = KEYS.iter().position(|known| *known == key).unwrap();
        self.numbers[place].load(Relaxed)
    }

    /// Reads the control file; what is half written is read the next time.
    fn load(&self, path: &str) {
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            let Some((key, number)) = line.split_once('=') else { continue };
            let place = KEYS.iter().position(|known| *known == key).unwrap_or_else(|| panic!("unknown key {key}"));
            if let Ok(number) = number.parse() {
                self.numbers[place].store(number, Relaxed);
            }
        }
    }
}

pub fn run(arguments: &[String]) {
    let argument = |name| text(arguments, name).unwrap_or_else(|| panic!("which {name}?")).to_owned();
    let (control, data) = (argument("control"), argument("data"));
    let shared = Shared::new(&format!("{control}.busy"));
    shared.load(&control);
    shared.pace.store(calibrate(), Relaxed);
    let (mut batches, hand) = std::io::pipe().unwrap();
    // SAFETY: a number for a descriptor that is open.
    assert!(unsafe { libc::fcntl(hand.as_raw_fd(), libc::F_SETPIPE_SZ, AHEAD * TOKEN) } > 0);
    for worker in 0..WORKERS {
        // SAFETY: the process has one thread.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: a system call with numbers.
                unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
                drop(batches);
                work(shared, &data, hand, worker as u64);
            }
            child => assert!(child > 0, "fork: {}", std::io::Error::last_os_error()),
        }
    }
    drop(hand);
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(AGAIN);
            shared.load(&control);
        }
    });
    let mut device = text(arguments, "cuda").map(Pinned::new);
    let (begun, mut token, mut written) = (Instant::now(), [0; TOKEN], 0);
    loop {
        if let Some(device) = &mut device {
            let seen = begun.elapsed() >= FOUND;
            device.hold(if seen { shared.get("pinned") } else { 0 });
            device.copy();
        }
        if shared.get("write") > written {
            checkpoint(&data, shared.get("write") - written);
            written = shared.get("write");
        }
        if shared.get("idle") > 0 {
            std::thread::sleep(Duration::from_millis(50));
            continue;
        }
        batches.read_exact(&mut token).unwrap();
        std::thread::sleep(Duration::from_micros(shared.get("copy")));
        let compute = shared.get("compute");
        std::thread::sleep(Duration::from_micros(compute));
        shared.busy.fetch_add(compute, Relaxed);
    }
}

/// Makes one batch after the other.
fn work(shared: &Shared, data: &str, mut hand: std::io::PipeWriter, mut seed: u64) -> ! {
    let open = |flags| OpenOptions::new().read(true).custom_flags(flags).open(data).unwrap();
    let (cached, direct) = (open(0), open(libc::O_DIRECT));
    // Without reading ahead, each block is one read.
    // SAFETY: a number for a descriptor that is open.
    unsafe { libc::posix_fadvise(cached.as_raw_fd(), 0, 0, libc::POSIX_FADV_RANDOM) };
    let blocks = cached.metadata().unwrap().len() / BLOCK as u64;
    let mut buffer = Buffer::new(BLOCK);
    let mut memory = Memory::anonymous(0);
    loop {
        let file = if shared.get("direct") > 0 { &direct } else { &cached };
        for _ in 0..shared.get("read") {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            file.read_exact_at(&mut buffer, (seed >> 33) % blocks * BLOCK as u64).unwrap();
        }
        let pages = shared.get("touch") as usize;
        if memory.bytes() != pages * BLOCK {
            memory.free();
            memory = Memory::anonymous(pages * BLOCK);
        }
        memory.write();
        spin(shared.get("work") * shared.pace.load(Relaxed) / 1024);
        if hand.write_all(&[0; TOKEN]).is_err() {
            std::process::exit(0);
        }
    }
}

fn checkpoint(data: &str, mebibytes: u64) {
    let mut file = File::create(format!("{data}.checkpoint")).unwrap();
    let block = vec![0x5a; 1 << 20];
    (0..mebibytes).for_each(|_| file.write_all(&block).unwrap());
    file.sync_all().unwrap();
}

fn spin(iterations: u64) {
    for number in 0..iterations {
        std::hint::black_box(number);
    }
}

/// How many iterations a microsecond of CPU time is, times 1024.
fn calibrate() -> u64 {
    const ITERATIONS: u64 = 5_000_000;
    let before = cpu_ns();
    spin(ITERATIONS);
    (ITERATIONS * 1024 * 1000 / (cpu_ns() - before).max(1)).max(1)
}

/// CPU time of this thread.
fn cpu_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Memory for copies, and the driver that pins it.
struct Pinned {
    allocate: Function,
    free: Function,
    copy: Function,
    address: u64,
    bytes: u64,
}

impl Pinned {
    fn new(path: &str) -> Pinned {
        let library = load(path);
        let [allocate, free, copy] =
            ["cuMemHostAlloc", "cuMemFreeHost", "cuMemcpyHtoDAsync_v2"].map(|name| function(library, name));
        Pinned { allocate, free, copy, address: 0, bytes: 0 }
    }

    /// Holds so much pinned memory from now on.
    fn hold(&mut self, bytes: u64) {
        if bytes == self.bytes {
            return;
        }
        if self.bytes > 0 {
            assert_eq!((self.free)(self.address, 0, 0, 0, 0), 0);
        }
        if bytes > 0 {
            assert_eq!((self.allocate)(&raw mut self.address as u64, bytes, 0, 0, 0), 0);
        }
        self.bytes = bytes;
    }

    /// A mebibyte to the GPU, from pinned memory or from other.
    fn copy(&self) {
        // The stand-in looks at no address.
        assert_eq!((self.copy)(0x2_0000_0000, 0x1000, 1 << 20, 0, 0), 0);
    }
}
