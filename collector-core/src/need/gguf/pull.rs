//! Little-endian values out of a stream, with a bound on how much is read. Knows nothing of what they mean.

use std::io::{ErrorKind, Read};

use super::Error;

/// A header with the vocabulary of 256 000 tokens has some 12 MB.
pub const LONGEST: u64 = 256 << 20;
/// Texts up to this length are kept; longer ones, such as chat templates, are passed over.
pub const KEPT: u64 = 256;
const BUFFER: usize = 64 << 10;

pub struct Pull<R> {
    source: R,
    buffer: Vec<u8>,
    /// What of the buffer was handed out.
    used: usize,
    /// Bytes of the stream that were handed out.
    pub at: u64,
}

impl<R: Read> Pull<R> {
    pub fn new(source: R) -> Pull<R> {
        Pull { source, buffer: Vec::new(), used: 0, at: 0 }
    }

    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            *byte = self.some(1)?[0];
        }
        Ok(bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Error> {
        self.bytes().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Error> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub fn skip(&mut self, mut length: u64) -> Result<(), Error> {
        if self.at.saturating_add(length) > LONGEST {
            return Err(Error::TooLong { at: self.at });
        }
        while length > 0 {
            length -= u64::try_from(self.some(length)?.len()).unwrap_or(length);
        }
        Ok(())
    }

    /// A text with its length before it; `None` if it is longer than [`KEPT`] or not UTF-8.
    pub fn text(&mut self) -> Result<Option<String>, Error> {
        let length = self.u64()?;
        if length > KEPT {
            self.skip(length)?;
            return Ok(None);
        }
        let mut text = Vec::new();
        while let left @ 1.. = length - u64::try_from(text.len()).unwrap_or(length) {
            text.extend_from_slice(self.some(left)?);
        }
        Ok(String::from_utf8(text).ok())
    }

    /// At least one of the next bytes, and at most `most`.
    fn some(&mut self, most: u64) -> Result<&[u8], Error> {
        if self.used == self.buffer.len() {
            self.fill()?;
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(self.buffer.len() - self.used);
        self.at += u64::try_from(length).unwrap_or(0);
        if self.at > LONGEST {
            return Err(Error::TooLong { at: self.at });
        }
        self.used += length;
        Ok(&self.buffer[self.used - length..self.used])
    }

    fn fill(&mut self) -> Result<(), Error> {
        self.buffer.resize(BUFFER, 0);
        self.used = 0;
        let read = loop {
            match self.source.read(&mut self.buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error.to_string())),
                Ok(0) => return Err(Error::CutOff { at: self.at }),
                Ok(read) => break read,
            }
        };
        self.buffer.truncate(read);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_across_the_edges_of_reads() {
        let bytes = [&[1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0][..], b"abc", &[9; 8]].concat();
        let mut pull = Pull::new(
            bytes.chunks(5).fold(Box::new(std::io::empty()) as Box<dyn Read>, |all, chunk| Box::new(all.chain(chunk))),
        );
        assert_eq!((pull.u32(), pull.text(), pull.skip(7), pull.at), (Ok(1), Ok(Some("abc".to_owned())), Ok(()), 22));
        assert_eq!(pull.u32(), Err(Error::CutOff { at: 23 }));
    }

    #[test]
    fn what_would_be_too_long_is_not_read() {
        let mut pull = Pull::new(std::io::repeat(0xff));
        assert_eq!(pull.text(), Err(Error::TooLong { at: 8 }));
        let mut pull = Pull::new(std::io::repeat(0));
        assert_eq!(pull.skip(LONGEST), Ok(()));
        assert_eq!(pull.u32(), Err(Error::TooLong { at: LONGEST + 1 }));
    }
}
