//! Removes what operations leave behind whose end was never seen: the thread ended inside, or the kernel skipped the program's
//! run. Without that the maps of operations in progress would fill up.

use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Context as _, Result};
use aya::Ebpf;
use aya::maps::{Map, MapData};
use collector_common::share::word;
use collector_common::transfer::{self, Call};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use zerocopy::FromBytes;

use super::bpf::{self, Rows};
use super::share::Shares;

/// A map of operations in progress. A value begins with the time of the begin.
struct Operations {
    name: &'static str,
    /// The thread, from the key.
    thread: fn(&[u8]) -> Option<u32>,
    /// The user whose share an entry is taken from, from the value; and of which entries.
    user: fn(&[u8]) -> Option<(u32, usize)>,
}

const MAPS: [Operations; 2] = [
    Operations { name: "STOPWATCH", thread: of_stopwatch, user: |_| None },
    Operations { name: transfer::CALLS, thread: |key| u32::read_from_bytes(key).ok(), user: of_call },
];
/// Time between two sweeps, in nanoseconds.
const INTERVAL_NS: u64 = 60_000_000_000;
/// No operation takes this long, in nanoseconds. Should one, its end counts as lost.
const AGE_NS: u64 = 600_000_000_000;
/// Maximum number of rows per system call.
const CHUNK: usize = 256;

pub struct Sweep {
    maps: Vec<(Operations, MapData, Rows)>,
    last: u64,
    /// Threads have here the ids that the programs see.
    sees_threads: bool,
}

impl Sweep {
    /// Takes the maps out of the loaded object. The first sweep is due one interval after `now` (CLOCK_MONOTONIC).
    pub fn new(ebpf: &mut Ebpf, now: u64) -> Result<Sweep> {
        let take = |of: Operations| {
            let Some(Map::HashMap(map)) = ebpf.take_map(of.name) else {
                anyhow::bail!("the object has no map {}", of.name);
            };
            let info = map.info().with_context(|| format!("describe map {}", of.name))?;
            let rows = Rows::new(info.key_size() as usize, info.value_size() as usize, CHUNK);
            Ok((of, map, rows))
        };
        let maps = MAPS.into_iter().map(take).collect::<Result<_>>()?;
        Ok(Sweep { maps, last: now, sees_threads: is_hosts_namespace() })
    }

    pub fn run(&mut self, now: u64, shares: &Shares) -> Result<()> {
        if now.saturating_sub(self.last) < INTERVAL_NS {
            return Ok(());
        }
        self.last = now;
        let sees_threads = self.sees_threads;
        for (of, map, rows) in &mut self.maps {
            let mut left = Vec::new();
            let read = rows.each(map.fd().as_fd(), |key, value| {
                if is_old(value, now) || sees_threads && (of.thread)(key).is_some_and(has_ended) {
                    left.push((key.to_vec(), (of.user)(value)));
                }
            });
            read.context("read operations in progress")?;
            for (key, user) in left {
                // It may have ended just now, and given back its place itself.
                if bpf::delete(map.fd().as_fd(), &key).is_ok()
                    && let Some((uid, word)) = user
                {
                    shares.give_back(uid, word);
                }
            }
        }
        Ok(())
    }
}

/// Whether this process is in the host's first pid namespace, whose number is fixed (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
fn is_hosts_namespace() -> bool {
    std::fs::metadata("/proc/self/ns/pid").is_ok_and(|it| it.ino() == 0xEFFF_FFFC)
}

/// `collector-ebpf/src/stopwatch.rs` says what the key is.
fn of_stopwatch(key: &[u8]) -> Option<u32> {
    Some((u64::read_from_bytes(key).ok()? >> 8) as u32)
}

fn of_call(value: &[u8]) -> Option<(u32, usize)> {
    Some((Call::read_from_bytes(value).ok()?.uid, word::CALLS))
}

/// Whether no thread has this id. Of one that is not the first of its process, the kernel says that it has no pidfd.
fn has_ended(thread: u32) -> bool {
    let thread = i32::try_from(thread).ok().and_then(Pid::from_raw);
    thread.is_some_and(|thread| pidfd_open(thread, PidfdFlags::empty()).is_err_and(|error| error == Errno::SRCH))
}

fn is_old(value: &[u8], now: u64) -> bool {
    let begin = value.first_chunk().copied().map(u64::from_ne_bytes);
    begin.is_some_and(|begin| now.saturating_sub(begin) > AGE_NS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_began_long_ago_is_removed() {
        let value = |begin: u64| [begin.to_ne_bytes(), [7; 8]].concat();
        let now = 2 * AGE_NS;
        assert!(is_old(&value(AGE_NS - 1), now));
        assert!(!is_old(&value(AGE_NS), now));
        assert!(!is_old(&value(now + 5), now), "it began after the clock was read");
        assert!(!is_old(&value(0)[..7], now), "too short");
    }

    #[test]
    fn what_a_thread_that_has_ended_began_is_removed() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            sender.send(rustix::thread::gettid()).unwrap();
            let _ = stopped.recv();
        });
        let id = receiver.recv().unwrap().as_raw_nonzero().get() as u32;
        assert_ne!(id, std::process::id());
        assert!(!has_ended(id) && !has_ended(std::process::id()));
        drop(stop);
        thread.join().unwrap();
        // The kernel takes a moment after it woke who waits for the thread.
        let begun = std::time::Instant::now();
        while !has_ended(id) {
            assert!(begun.elapsed() < std::time::Duration::from_secs(5));
            std::thread::yield_now();
        }
        assert_eq!(of_stopwatch(&(u64::from(id) << 8 | 3).to_ne_bytes()), Some(id));
        assert_eq!(of_stopwatch(&[0; 4]), None);
    }
}
