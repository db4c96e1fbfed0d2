//! A file that somebody else appends lines to.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;

/// Reads each line once.
pub struct Tail {
    path: PathBuf,
    /// Bytes read so far.
    read: u64,
}

impl Tail {
    pub fn new(path: PathBuf) -> Tail {
        Tail { path, read: 0 }
    }

    /// The lines since the last call, without one that is still being written. None while there is no file.
    pub fn lines(&mut self) -> Vec<Vec<u8>> {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(self.read)).unwrap();
            file.read_to_end(&mut text).unwrap();
        }
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        text[..whole].split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Write as _;

    use super::*;
    use crate::scratch::scratch;

    #[test]
    fn each_line_is_read_once_and_only_when_it_is_whole() {
        let folder = scratch();
        let mut tail = Tail::new(folder.join("log"));
        assert!(tail.lines().is_empty());
        let mut file = OpenOptions::new().create(true).append(true).open(folder.join("log")).unwrap();
        file.write_all(b"one\ntw").unwrap();
        assert_eq!(tail.lines(), [b"one\n"]);
        file.write_all(b"o\n").unwrap();
        assert_eq!(tail.lines(), [b"two\n"]);
        assert!(tail.lines().is_empty());
    }
}
