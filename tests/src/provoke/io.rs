//! `io OPERATION FILE BLOCK COUNT CGROUP…`: joins the cgroups, then reads or writes `COUNT` blocks from the start of a file
//! or device, past the page cache, or the same blocks of a file repeatedly (`reread`); or issues `COUNT` flushes, or a discard
//! of `COUNT` blocks. Prints how many succeeded and how many failed.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use crate::join::join;
use crate::memory::Buffer;

/// `_IO(0x12, 119)` of include/uapi/linux/fs.h: discard a range of a block device.
const BLKDISCARD: libc::c_ulong = 0x1277;

pub fn run(operation: &str, file: &str, block: usize, count: usize, cgroups: &[&str]) {
    let mut open = OpenOptions::new();
    open.read(true).write(!operation.ends_with("read")).custom_flags(libc::O_DIRECT);
    let file = open.open(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut buffer = Buffer::new(block);
    buffer.fill(0x5a);
    // Otherwise a page of this program could be read from another disk meanwhile.
    // SAFETY: the call has no preconditions.
    assert_eq!(unsafe { libc::mlockall(libc::MCL_CURRENT) }, 0, "{}", std::io::Error::last_os_error());
    join(cgroups);
    // The metadata of a device do not have its size.
    let length = (&file).seek(SeekFrom::End(0)).unwrap();
    let mut failed = 0;
    for index in 0..count {
        let offset = (index * block) as u64;
        let done = match operation {
            "read" => file.read_exact_at(&mut buffer, offset),
            "reread" => file.read_exact_at(&mut buffer, offset % length),
            "write" => file.write_all_at(&buffer, offset),
            "flush" => file.sync_data(),
            "discard" => discard(&file, offset, block as u64),
            _ => panic!("unknown operation: {operation}"),
        };
        failed += usize::from(done.is_err());
    }
    println!("{} {failed}", count - failed);
}

fn discard(file: &File, offset: u64, length: u64) -> std::io::Result<()> {
    let range = [offset, length];
    // SAFETY: the request reads two 64-bit numbers.
    match unsafe { libc::ioctl(file.as_raw_fd(), BLKDISCARD as _, range.as_ptr()) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}
