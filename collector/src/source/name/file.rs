//! Reads files of bounded size, and directories of any length in bounded memory.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::{Mode, OFlags, RawDir, open};

/// Buffer size in bytes for reading a directory.
const BUFFER: usize = 32 * 1024;

/// A file's content; `None` if there is no file. A file longer than `max_bytes` is an error.
pub(super) fn read(path: &Path, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    // A fifo at this path must not block.
    let file = match open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(error) => return absent(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut content = Vec::new();
    file.take(max_bytes + 1).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Err(io::Error::other(format!("longer than {max_bytes} bytes")));
    }
    Ok(Some(content))
}

/// Calls `each` with the names in a directory until it breaks. A missing directory counts as empty.
pub(super) fn scan(path: &Path, each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::DIRECTORY;
    let directory = match open(path, flags, Mode::empty()) {
        Ok(fd) => fd,
        Err(error) => return absent(error.into()).map(|_: Option<()>| ()),
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

fn absent<T>(error: io::Error) -> io::Result<Option<T>> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_file_is_not_an_error() {
        let directory = std::env::temp_dir().join(format!("headroom-name-file-{}", std::process::id()));
        std::fs::create_dir_all(directory.join("folder")).unwrap();
        std::fs::write(directory.join("file"), "12345").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, directory.join("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .unwrap();
        assert_eq!(read(&directory.join("file"), 5).unwrap().as_deref(), Some(&b"12345"[..]));
        assert_eq!(read(&directory.join("none"), 5).unwrap(), None);
        assert_eq!(read(&directory.join("file/below"), 5).unwrap(), None);
        for (name, max_bytes) in [("file", 4), ("folder", 99), ("fifo", 99)] {
            assert!(read(&directory.join(name), max_bytes).is_err(), "{name}");
        }
        let mut seen = 0;
        scan(&directory, &mut |_| {
            seen += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(seen, 1);
        assert!(scan(&directory.join("none"), &mut |_| ControlFlow::Continue(())).is_ok());
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
