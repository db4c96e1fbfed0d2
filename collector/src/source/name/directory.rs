//! Reads root's directories of any length in bounded memory.

use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::{Mode, OFlags, RawDir, open};

/// Buffer size in bytes for reading a directory.
const BUFFER: usize = 32 * 1024;

/// Calls `each` with the names in a directory until it breaks. A missing directory counts as empty.
pub(super) fn scan(path: &Path, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let directory = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut buffer = [MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = entries.next() {
        if each(entry?.file_name().to_bytes()).is_break() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;

    #[test]
    fn a_scan_ends_when_it_is_told_and_needs_no_directory() {
        let tree = Tree::new();
        (0..3).for_each(|number| tree.write(&number.to_string(), ""));
        let mut seen = 0;
        let mut count = |path: &Path| {
            scan(path, &mut |_| {
                seen += 1;
                ControlFlow::Break(())
            })
        };
        count(&tree.0).unwrap();
        count(&tree.0.join("none")).unwrap();
        count(&tree.0.join("0")).unwrap();
        assert_eq!(seen, 1);
    }
}
