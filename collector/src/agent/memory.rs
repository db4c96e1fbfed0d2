//! The agent's own memory: gives back what only the start needed. Knows the C library and how programs are mapped, and nothing of
//! what the agent does.

use std::ffi::{CStr, c_int, c_void};
use std::time::Duration;

use crate::clock;

/// Blocks from this size on, in bytes, are mappings of their own (glibc's own default, which it raises when one is freed).
#[cfg(target_env = "gnu")]
const BLOCK: i32 = 128 << 10;
/// The heap's parts: each keeps free memory. Two threads allocate much, the fold and the rendering.
#[cfg(target_env = "gnu")]
const ARENAS: i32 = 2;
/// Bytes of a thread's stack, for those that say nothing else. One of 2 MiB, the default, can be backed by a huge page, and is in the
/// course of time where the kernel makes them without being asked (Debian's default): for the few pages that a thread touches.
const STACK: &str = "1048576";
/// When all has been done that is done once: until then the kernel measures the programs, by default.
const START: Duration = Duration::from_secs(11);
/// From then on so often. What an answer took (three of `headroom status`: 3 MiB) does not stay; what ticks need is back after one,
/// and costs it a millisecond.
const AGAIN: Duration = Duration::from_secs(600);
/// Makes glibc return large blocks to the kernel as soon as they are free. By default, it keeps more the larger they were: after a
/// page of 20 MB, up to 40 MB. Other C libraries have no such call.
pub fn return_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the calls set numbers, and no other thread runs yet.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, BLOCK);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * BLOCK);
        libc::mallopt(libc::M_ARENA_MAX, ARENAS);
    }
}

/// Makes the stacks of threads small enough for no huge page. Before any thread starts.
pub fn small_stacks() {
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe {
        std::env::set_var("RUST_MIN_STACK", STACK);
    }
}

/// Returns free heap memory to the kernel: the parsed BTF takes tens of megabytes at the start, and glibc keeps freed memory.
/// Other C libraries have no such call.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call touches only free memory.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back what the start took, once it is over, and later what answers took: free heap, and the code that ran then.
pub struct Upkeep {
    /// When it does so next, in nanoseconds of CLOCK_MONOTONIC.
    due: u64,
}

impl Upkeep {
    pub fn new() -> Upkeep {
        Upkeep { due: clock::monotonic_ns() + START.as_nanos() as u64 }
    }

    /// At a tick.
    pub fn tick(&mut self) {
        let now = clock::monotonic_ns();
        if now >= self.due {
            trim();
            release_code();
            self.due = now + AGAIN.as_nanos() as u64;
        }
    }
}

/// Unmaps the code and the constants of the program and its libraries. What is still needed is mapped again when it is next used,
/// from the page cache: that is half of it, as much runs only at the start.
pub fn release_code() {
    // SAFETY: the callback has the type that is wanted, and needs no data.
    unsafe {
        libc::dl_iterate_phdr(Some(release), std::ptr::null_mut());
    }
}

unsafe extern "C" fn release(object: *mut libc::dl_phdr_info, _size: usize, _data: *mut c_void) -> c_int {
    // SAFETY: the library passes a valid object.
    let object = unsafe { &*object };
    // SAFETY: its name is a string.
    let name = unsafe { CStr::from_ptr(object.dlpi_name) };
    // The kernel's own object (linux-vdso) is no file.
    if object.dlpi_phdr.is_null() || name.to_bytes().starts_with(b"linux-") {
        return 0;
    }
    // SAFETY: it has this many headers.
    let headers = unsafe { std::slice::from_raw_parts(object.dlpi_phdr, object.dlpi_phnum.into()) };
    let page = rustix::param::page_size() as u64;
    // Pages that were never writable are as in the file. Relocated constants are in writable segments until they are protected.
    let clean = headers.iter().filter(|header| header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0);
    for header in clean {
        let at = object.dlpi_addr + header.p_vaddr;
        let (begin, end) = (at.next_multiple_of(page), (at + header.p_filesz) / page * page);
        if begin < end {
            // SAFETY: these whole pages are a private mapping of a file which nobody wrote to; reading them again gives the same.
            // If it fails, they stay.
            unsafe {
                libc::madvise(begin as *mut c_void, (end - begin) as usize, libc::MADV_DONTNEED);
            }
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resident pages of files in this process, in KiB.
    fn files() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn code_that_is_not_needed_leaves_and_what_is_needed_works_on() {
        let path = std::env::current_exe().unwrap();
        let text = std::fs::read_to_string("/proc/self/maps").unwrap();
        let shrinks = || {
            // Every page of the program's constants and code is resident.
            for line in text.lines().filter(|line| line.ends_with(path.to_str().unwrap()) && !line.contains(" rw")) {
                let (begin, end) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
                let [begin, end] = [begin, end].map(|at| usize::from_str_radix(at, 16).unwrap());
                for at in (begin..end).step_by(4096) {
                    // SAFETY: a readable mapping of this program, which is never unmapped.
                    unsafe { std::ptr::read_volatile(at as *const u8) };
                }
            }
            let before = files();
            release_code();
            files() < before - before / 10
        };
        // What runs meanwhile, other tests included, comes back from the file.
        assert!((0..50).any(|_| shrinks()));
        assert_eq!(std::hint::black_box([3, 1, 2]).iter().max(), Some(&3));
    }

    #[test]
    fn it_waits_for_the_end_of_the_start_and_comes_again() {
        let mut upkeep = Upkeep::new();
        let first = upkeep.due;
        upkeep.tick();
        assert_eq!(upkeep.due, first, "not yet");
        let now = clock::monotonic_ns();
        upkeep.due = now;
        upkeep.tick();
        assert!(upkeep.due >= now + AGAIN.as_nanos() as u64);
    }
}
