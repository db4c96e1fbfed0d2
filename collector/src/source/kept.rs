//! A kernel file that stays open because it is read repeatedly. Knows nothing about its content.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Limit on the size of a file in bytes; the kernel's are far smaller.
const MAX_BYTES: usize = 16 << 20;

/// What the kernel fills at least with one read, if it has as much, and more than a line or a text of the files that are read at once.
const PAGE: usize = 4096;
const LINE: usize = 1024;

pub struct KeptFile {
    path: PathBuf,
    file: Option<File>,
    at_once: bool,
}

impl KeptFile {
    /// The file need not exist yet.
    pub fn new(path: PathBuf) -> KeptFile {
        KeptFile { path, file: None, at_once: false }
    }

    /// A file that the kernel writes as a whole, or in lines that are not long. It then ends a read early only where the next line finds
    /// no room in a page (`seq_read_iter` of fs/seq_file.c): after a short one, the first or a later one, there is no need to ask for more.
    pub fn at_once(path: PathBuf) -> KeptFile {
        KeptFile { at_once: true, ..KeptFile::new(path) }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The whole content; `None` if there is no such file. After an error the next read opens it again.
    pub fn read<'a>(&mut self, buffer: &'a mut Vec<u8>) -> io::Result<Option<&'a [u8]>> {
        match self.fill(buffer) {
            Ok(length) => Ok(Some(&buffer[..length])),
            Err(error) => {
                self.file = None;
                if is_absent(&error) { Ok(None) } else { Err(error) }
            }
        }
    }

    fn fill(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let file = match &mut self.file {
            Some(file) => file,
            file => file.insert(File::open(&self.path)?),
        };
        let mut length = 0;
        loop {
            if length == buffer.len() {
                if length >= MAX_BYTES {
                    return Err(io::Error::new(ErrorKind::FileTooLarge, "the file does not end"));
                }
                buffer.resize((2 * length).max(4096), 0);
            }
            // Most kernel files return one page per read.
            match file.read_at(&mut buffer[length..], length as u64) {
                Ok(0) => return Ok(length),
                Ok(more) if self.at_once && more <= PAGE - LINE && length + more < buffer.len() => {
                    return Ok(length + more);
                }
                Ok(more) => length += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether the file does not exist, its device is gone, or its kernel feature is off.
fn is_absent(error: &io::Error) -> bool {
    const ABSENT: [i32; 3] = [libc::ENOENT, libc::ENODEV, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|code| ABSENT.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::test::Tree;
    use std::fs;

    #[test]
    fn each_read_returns_the_current_content() {
        let tree = Tree::new();
        let (path, mut buffer) = (tree.0.join("a"), Vec::new());
        let mut kept = KeptFile::new(path.clone());
        assert_eq!(kept.read(&mut buffer).unwrap(), None);
        fs::write(&path, "one").unwrap();
        assert_eq!(kept.read(&mut buffer).unwrap(), Some(&b"one"[..]));
        let long = "x".repeat(10_000);
        fs::write(&path, &long).unwrap();
        assert_eq!(kept.read(&mut buffer).unwrap(), Some(long.as_bytes()));
        fs::write(&path, "").unwrap();
        assert_eq!(kept.read(&mut buffer).unwrap(), Some(&b""[..]));
    }

    #[test]
    fn an_unreadable_file_is_an_error() {
        let tree = Tree::new();
        let error = KeptFile::new(tree.0.clone()).read(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        let mut endless = KeptFile::new("/dev/zero".into());
        assert_eq!(endless.read(&mut Vec::new()).unwrap_err().kind(), ErrorKind::FileTooLarge);
    }

    #[test]
    fn what_is_read_at_once_is_whole() {
        let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
        for (name, _, _) in crate::source::host::FILES {
            let path = Path::new("/proc").join(name);
            let Ok(whole) = fs::read(&path) else { continue };
            let mut kept = KeptFile::at_once(path);
            let mut buffer = Vec::new();
            assert_eq!(lines(kept.read(&mut buffer).unwrap().unwrap()), lines(&whole), "{name}");
        }
        let tree = Tree::new();
        for length in [0, 1, PAGE - LINE, PAGE - LINE + 1, PAGE, 3 * PAGE] {
            fs::write(tree.0.join("a"), "x".repeat(length)).unwrap();
            let mut kept = KeptFile::at_once(tree.0.join("a"));
            assert_eq!(kept.read(&mut Vec::new()).unwrap().map(<[u8]>::len), Some(length));
        }
    }

    #[test]
    fn a_file_of_many_pages_is_read_in_full() {
        let mut kept = KeptFile::new("/proc/self/smaps".into());
        let mut buffer = Vec::new();
        let text = kept.read(&mut buffer).unwrap().unwrap();
        assert!(text.len() > 4096 && text.ends_with(b"\n"), "{}", text.len());
    }
}
