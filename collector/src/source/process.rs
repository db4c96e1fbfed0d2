//! The agent's own resource usage as a source. Reads without allocating, from descriptors that stay open.

use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;

use anyhow::{Context as _, Result};
use collector_core::sample::{Process, Reading, Sample};
use rustix::fs::{RawDir, SeekFrom, fstat, seek};
use rustix::process::{Resource, getrlimit};

use super::text::{fields, number};
use super::{Health, Source};
use crate::clock;

/// All but the CPU time is read once in this many ticks: it changes slowly, and is for whoever watches the agent.
const INTERVAL: u64 = 5;

pub struct OwnProcess {
    tick: u64,
    /// What was read last.
    held: Option<Process>,
    statm: File,
    fds: File,
    page_size: u64,
    start_time: u64,
    map_bytes: Option<u64>,
}

impl OwnProcess {
    /// `started` is the agent's start in nanoseconds since the Unix epoch, `map_bytes` the kernel memory of its eBPF maps.
    pub fn open(started: u64, map_bytes: Option<u64>) -> Result<OwnProcess> {
        let open = |path: &str| File::open(path).with_context(|| format!("open {path}"));
        Ok(OwnProcess {
            tick: 0,
            held: None,
            statm: open("/proc/self/statm")?,
            fds: open("/proc/self/fd")?,
            page_size: rustix::param::page_size() as u64,
            start_time: started,
            map_bytes,
        })
    }

    fn usage(&self) -> Result<Process> {
        let mut buffer = [0u8; 128];
        let length = self.statm.read_at(&mut buffer, 0).context("read /proc/self/statm")?;
        // size resident shared text lib data dt, in pages (proc_pid_statm(5))
        let mut fields = fields(&buffer[..length]).map(number);
        let mut pages = || fields.next().flatten().unwrap_or(0) * self.page_size;
        let (virtual_bytes, resident_bytes) = (pages(), pages());
        Ok(Process {
            cpu_ns: clock::cpu_ns(),
            resident_bytes,
            virtual_bytes,
            open_fds: self.count_fds()?,
            max_fds: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
            start_time: self.start_time,
            map_bytes: self.map_bytes,
        })
    }

    /// From 6.2 on the size of the directory is their number (proc_fd_getattr, fs/proc/fd.c). Listing 140 takes 25 µs.
    fn count_fds(&self) -> Result<u64> {
        match fstat(&self.fds).context("look at /proc/self/fd")?.st_size {
            0 => self.list_fds(),
            count => Ok(count as u64),
        }
    }

    fn list_fds(&self) -> Result<u64> {
        seek(&self.fds, SeekFrom::Start(0)).context("rewind /proc/self/fd")?;
        let mut buffer = [MaybeUninit::uninit(); 2048];
        let mut directory = RawDir::new(&self.fds, &mut buffer);
        let mut count = 0;
        while let Some(entry) = directory.next() {
            let entry = entry.context("read /proc/self/fd")?;
            count += u64::from(entry.file_name().to_bytes().first() != Some(&b'.'));
        }
        Ok(count)
    }
}

impl Source for OwnProcess {
    /// If /proc is not readable these numbers are absent; that alone makes no source unhealthy.
    fn read(&mut self, emit: &mut dyn FnMut(Sample)) -> Health {
        if self.tick.is_multiple_of(INTERVAL) {
            self.held = self.usage().ok();
        }
        self.tick = self.tick.wrapping_add(1);
        if let Some(held) = &self.held {
            let process = Process { cpu_ns: clock::cpu_ns(), ..held.clone() };
            emit(Sample { time: clock::unix_ns(), reading: Reading::Process(process) });
        }
        Health::Silent
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;
    use std::ptr::null_mut;

    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

    use super::*;

    #[test]
    fn open_files_and_touched_memory_are_counted() {
        let own = OwnProcess::open(7, None).unwrap();
        // Other tests run as threads of this process and may free more than this one allocates: try several times.
        let counted = (0..100).any(|_| {
            let before = own.usage().unwrap();
            let files: Vec<_> = (0..20).map(|_| File::open("/dev/null").unwrap()).collect();
            let memory = Fresh::touched();
            let after = own.usage().unwrap();
            drop((files, memory));
            assert!(after.cpu_ns >= before.cpu_ns);
            assert!(after.virtual_bytes >= after.resident_bytes);
            after.open_fds >= before.open_fds + 20
                && after.resident_bytes >= before.resident_bytes + Fresh::BYTES as u64
        });
        assert!(counted);
    }

    #[test]
    fn cpu_time_is_of_every_tick_and_the_rest_of_every_fifth() {
        let mut own = OwnProcess::open(7, None).unwrap();
        let mut read = || {
            let mut found = None;
            own.read(&mut |sample| match sample.reading {
                Reading::Process(process) => found = Some(process),
                other => panic!("{other:?}"),
            });
            found.unwrap()
        };
        let first = read();
        // More than other tests of this process close meanwhile.
        let files: Vec<_> = (0..200).map(|_| File::open("/dev/null").unwrap()).collect();
        let next: Vec<Process> = (1..=INTERVAL).map(|_| read()).collect();
        drop(files);
        assert!(next[..INTERVAL as usize - 1].iter().all(|it| it.open_fds == first.open_fds));
        assert!(next[INTERVAL as usize - 1].open_fds > first.open_fds);
        assert!(next.iter().all(|it| it.cpu_ns > first.cpu_ns));
    }

    #[test]
    fn both_ways_of_counting_files_agree() {
        let own = OwnProcess::open(7, None).unwrap();
        let counts = || [own.count_fds(), own.list_fds()].map(Result::unwrap);
        // Other tests open and close files meanwhile. One that a thread waits to open has no entry yet, but counts.
        let agree = |[count, listed]: [u64; 2]| (listed..listed + 64).contains(&count);
        assert!((0..1000).any(|_| agree(counts())), "{:?}", counts());
    }

    /// Memory straight from the kernel: what an allocator returns may be resident already.
    struct Fresh(*mut c_void);

    impl Fresh {
        const BYTES: usize = 32 << 20;

        fn touched() -> Fresh {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: a new mapping, which nothing else refers to, is written to from its start to its end.
            unsafe {
                let memory = mmap_anonymous(null_mut(), Fresh::BYTES, access, MapFlags::PRIVATE).unwrap();
                memory.cast::<u8>().write_bytes(1, Fresh::BYTES);
                Fresh(memory)
            }
        }
    }

    impl Drop for Fresh {
        fn drop(&mut self) {
            // SAFETY: mapped by `touched`, and nothing refers to it.
            unsafe { munmap(self.0, Fresh::BYTES).unwrap() };
        }
    }
}
