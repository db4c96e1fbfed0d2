//! `act [score=ADJ] [comm=NAME] STEP…`: does one step after the other, and exits after the last. Sizes are bytes, rates bytes per
//! second (0: at once), times seconds.
//!
//! | step | what it does |
//! |---|---|
//! | `anon:BYTES:RATE` | prints `since` and the time in milliseconds, and writes fresh anonymous memory |
//! | `shared:BYTES:RATE` | writes fresh shared memory (the kernel counts it as shmem) |
//! | `file:PATH:BYTES:RATE` | appends to a file, and leaves it dirty |
//! | `hold:PATH:BYTES` | maps a file, reads it, and locks its pages |
//! | `read:PATH:SECONDS:THREADS` | reads a file from start to end again and again |
//! | `write:PATH:SECONDS:THREADS` | writes the same blocks of a file to the disk |
//! | `scan:PATH:SECONDS:THREADS` | reads random blocks of a file, past the page cache |
//! | `evict:PATH:SECONDS` | drops a file from the page cache again and again |
//! | `pipe:BYTES:RATE`, `socket:BYTES:RATE`, `name:PATH:COUNT:RATE` | fills pipes, sockets, a folder of a tmpfs with empty files |
//! | `fork:COUNT` | starts children that go on with the next step; it waits for them and exits |
//! | `thread:COUNT` | the next anonymous memory is written by this many threads |
//! | `swarm:COUNT:BYTES:RATE` | starts children one by one, which hold so much each, at so many a second |
//! | `again:BYTES:SECONDS` | writes the same anonymous memory over and over |
//! | `spin:COUNT` | starts threads that use as much CPU time as they get |
//! | `burst:BUSY:REST` | uses the CPU for so many microseconds of CPU time, rests for as many, and again, for ever |
//! | `bind:NODE` | takes memory only from this memory node from now on |
//! | `free` | gives back the last anonymous memory |
//! | `wait:SECONDS`, `ready`, `stay` | waits; prints `ready`; waits to be killed |

mod disk;
mod kernel;
mod pace;

use std::io::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::hog::dress;
use crate::memory::Memory;
use crate::sleeper::wait;
use pace::Pace;

/// What the steps before left.
struct State {
    threads: usize,
    last: Option<Memory>,
}

pub fn run(arguments: &[String]) {
    dress(arguments);
    let mut state = State { threads: 1, last: None };
    let steps = arguments.iter().filter(|step| !step.starts_with("score=") && !step.starts_with("comm="));
    steps.for_each(|step| act(step, &mut state));
}

fn act(step: &str, state: &mut State) {
    let words: Vec<&str> = step.split(':').collect();
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|_| panic!("{step}: {text} is not a number"));
    let seconds = |text: &str| Duration::from_secs_f64(text.parse().unwrap());
    match words[..] {
        ["anon", bytes, rate] => {
            // When it began to grow: whoever waits for its end knows how long that took.
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            // Whoever waited for `ready` no longer reads.
            let _ = writeln!(std::io::stdout(), "since {now}");
            let memory = Memory::anonymous(number(bytes) as usize);
            fill(memory, number(rate), std::mem::replace(&mut state.threads, 1));
            state.last = Some(memory);
        }
        ["shared", bytes, rate] => fill(Memory::shared(number(bytes) as usize), number(rate), 1),
        ["file", path, bytes, rate] => disk::append(path, number(bytes), number(rate)),
        ["hold", path, bytes] => disk::hold(path, number(bytes)),
        ["read", path, time, threads] => disk::read(path, seconds(time), number(threads)),
        ["write", path, time, threads] => disk::write(path, seconds(time), number(threads)),
        ["scan", path, time, threads] => disk::scan(path, seconds(time), number(threads)),
        ["evict", path, time] => disk::evict(path, seconds(time)),
        ["pipe", bytes, rate] => kernel::pipe(number(bytes), number(rate)),
        ["socket", bytes, rate] => kernel::socket(number(bytes), number(rate)),
        ["name", path, count, rate] => kernel::name(path, number(count), number(rate)),
        ["fork", count] => fork(number(count)),
        ["thread", count] => state.threads = number(count) as usize,
        ["swarm", count, bytes, rate] => swarm(number(count), number(bytes), number(rate)),
        ["again", bytes, time] => again(number(bytes) as usize, seconds(time)),
        ["spin", count] => (0..number(count)).for_each(|_| drop(std::thread::spawn(spin))),
        ["burst", busy, rest] => burst(number(busy), number(rest)),
        ["bind", node] => kernel::bind(number(node)),
        ["free"] => state.last.take().unwrap().free(),
        ["wait", time] => std::thread::sleep(seconds(time)),
        ["ready"] => println!("ready"),
        ["stay"] => wait(),
        _ => panic!("unknown step: {step}"),
    }
}

/// Writes all pages, at a rate if it is not 0.
fn fill(memory: Memory, rate: u64, threads: usize) {
    std::thread::scope(|scope| {
        for index in 0..threads {
            let part = memory.part(index, threads);
            scope.spawn(move || {
                let mut pace = Pace::new(rate / threads as u64);
                for page in part.pages() {
                    page.write();
                    pace.after(page.bytes() as u64);
                }
            });
        }
    });
}

fn again(bytes: usize, time: Duration) {
    let (memory, end) = (Memory::anonymous(bytes), Instant::now() + time);
    while Instant::now() < end {
        memory.write();
    }
}

fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn burst(busy: u64, rest: u64) {
    let cpu = || {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1000
    };
    loop {
        let until = cpu() + busy;
        while cpu() < until {
            std::hint::spin_loop();
        }
        std::thread::sleep(Duration::from_micros(rest));
    }
}

/// A child returns; the parent waits for all children, and exits.
fn fork(count: u64) {
    for _ in 0..count {
        if child() {
            return;
        }
    }
    while rustix::process::wait(rustix::process::WaitOptions::empty()).is_ok_and(|ended| ended.is_some()) {}
    std::process::exit(0);
}

/// Whether this is the child.
fn child() -> bool {
    // SAFETY: the process has one thread.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork: {}", std::io::Error::last_os_error());
    if pid == 0 {
        // The kernel kills a child rather than the parent, which goes on.
        std::fs::write("/proc/self/oom_score_adj", "50").unwrap();
    }
    pid == 0
}

fn swarm(count: u64, bytes: u64, rate: u64) {
    let mut pace = Pace::new(rate);
    for _ in 0..count {
        if child() {
            Memory::anonymous(bytes as usize).write();
            wait();
        }
        pace.after(1);
    }
}
