//! How much of a file is in the page cache: cachestat(2) of Linux 6.5. mincore(2) is not asked: of a file that is not the caller's it
//! says that all of it is there.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

use rustix::fs::fstatfs;

/// `__NR_cachestat`, the same on all architectures.
const CACHESTAT: libc::c_long = 451;

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cached {
    pub cached: u64,
    /// Dropped, as far as the kernel still knows.
    pub evicted: u64,
}

/// `struct cachestat_range`: length 0 reaches to the end.
#[repr(C)]
struct Range {
    offset: u64,
    length: u64,
}

/// `struct cachestat`, in pages.
#[repr(C)]
#[derive(Default)]
struct Pages {
    cache: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Of an open file.
///
/// # Errors
/// ENOSYS before Linux 6.5; EPERM if the file is somebody else's and cannot be written (6.14, and older kernels with that change).
pub fn of(file: impl AsFd) -> io::Result<Cached> {
    let (range, mut pages) = (Range { offset: 0, length: 0 }, Pages::default());
    let fd = file.as_fd().as_raw_fd();
    // SAFETY: both structures are the kernel's, and live through the call.
    let result = unsafe { libc::syscall(CACHESTAT, fd, &raw const range, &raw mut pages, 0) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let bytes = |pages: u64| pages.saturating_mul(rustix::param::page_size() as u64);
    Ok(Cached { cached: bytes(pages.cache), evicted: bytes(pages.evicted) })
}

/// Whether this kernel has the call, and nothing forbids it.
pub fn supported() -> bool {
    // SAFETY: with no descriptor and no addresses nothing is read or written.
    let result = unsafe { libc::syscall(CACHESTAT, -1, 0usize, 0usize, 0) };
    // A filter of system calls refuses it before the kernel looks at the descriptor.
    result != 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EBADF)
}

/// What kind of filesystem a file is on, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Memory,
    /// Of another host. The pages are this host's.
    Network,
    /// A program of some user answers for it: nothing of it is opened.
    Program,
    Disk,
}

/// By the numbers of include/uapi/linux/magic.h and of each filesystem.
pub fn kind(file: impl AsFd) -> io::Result<Kind> {
    let magic = fstatfs(file)?.f_type as u64 & 0xffff_ffff;
    Ok(match magic {
        // tmpfs, ramfs, hugetlbfs.
        0x0102_1994 | 0x8584_58f6 | 0x9584_58f6 => Kind::Memory,
        // NFS, SMB (three), Ceph, Lustre, GPFS, BeeGFS, AFS (two), 9P, OCFS2, GFS2.
        0x6969 | 0x517b | 0xff53_4d42 | 0xfe53_4d42 | 0x00c3_6400 | 0x0bd0_0bd0 | 0x4750_4653 | 0x1983_0326
        | 0x5346_414f | 0x6b41_4653 | 0x0102_1997 | 0x7461_636f | 0x0116_1970 => Kind::Network,
        // FUSE.
        0x6573_5546 => Kind::Program,
        _ => Kind::Disk,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_was_just_written_is_cached_and_what_the_test_dropped_is_not() {
        if !supported() {
            return eprintln!("not run: no cachestat");
        }
        let path = std::env::temp_dir().join(format!("headroom-cache-{}", std::process::id()));
        let mut file = File::create_new(&path).unwrap();
        file.write_all(&vec![7; 1 << 20]).unwrap();
        assert_eq!(of(&file).unwrap().cached, 1 << 20);
        if kind(&file).unwrap() == Kind::Disk {
            file.sync_all().unwrap();
            // Independent of what is asked: the kernel is told to forget it.
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
            assert!(of(&file).unwrap().cached < 1 << 20);
        }
        std::fs::remove_file(&path).unwrap();
        let proc = File::open("/proc").unwrap();
        assert_eq!(kind(&proc).unwrap(), Kind::Disk, "neither memory nor another host's");
    }
}
