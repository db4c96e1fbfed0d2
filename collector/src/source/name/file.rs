//! Reading what others write: files of bounded size, and directories of any length in bounded memory.

use std::fs::File;
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::path::Path;

use rustix::fs::{Mode, OFlags, RawDir, open};

/// Bytes of a directory that are in memory at a time.
const BUFFER: usize = 32 * 1024;

/// A file's content; `None` where there is no file. One that is longer than `longest` is an error, and is not read.
pub(super) fn read(path: &Path, longest: u64) -> io::Result<Option<Vec<u8>>> {
    // A fifo in the place of the file must not hold us up.
    let file = match open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(error) => return absent(error.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut content = Vec::new();
    file.take(longest + 1).read_to_end(&mut content)?;
    if content.len() as u64 > longest {
        return Err(io::Error::other(format!("longer than {longest} bytes")));
    }
    Ok(Some(content))
}

/// Hands over the names in a directory, until told to stop. A directory that is not there has none.
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
    fn what_is_no_file_of_reasonable_size_is_an_error_and_what_is_missing_is_not() {
        let folder = std::env::temp_dir().join(format!("headroom-name-file-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("folder")).unwrap();
        std::fs::write(folder.join("file"), "12345").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, folder.join("fifo"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(read(&folder.join("file"), 5).unwrap().as_deref(), Some(&b"12345"[..]));
        assert_eq!(read(&folder.join("none"), 5).unwrap(), None);
        assert_eq!(read(&folder.join("file/below"), 5).unwrap(), None);
        for (name, longest) in [("file", 4), ("folder", 99), ("fifo", 99)] {
            assert!(read(&folder.join(name), longest).is_err(), "{name}");
        }
        let mut seen = 0;
        scan(&folder, &mut |_| {
            seen += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(seen, 1);
        assert!(scan(&folder.join("none"), &mut |_| ControlFlow::Continue(())).is_ok());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
