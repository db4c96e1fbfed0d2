//! Reads a recording: JSON lines in, samples out. Knows neither where the lines come from nor what samples mean.

use std::fmt;
use std::io::{self, BufRead, Read};

use crate::sample::Sample;

/// Longest line that is read into memory, in bytes. A sample is far shorter.
const LINE: u64 = 1 << 20;

/// Reads one sample per line and skips blank lines. After a broken line it continues with the next one, but it ends after
/// [`Why::Read`] and [`Why::TooLong`].
pub fn samples<R: BufRead>(reader: R) -> Samples<R> {
    Samples { reader, buffer: Vec::new(), line: 0, done: false }
}

/// A line that is not a sample.
#[derive(Debug)]
pub struct LineError {
    /// Line number, from 1.
    pub line: usize,
    pub why: Why,
}

#[derive(Debug)]
pub enum Why {
    /// Reading failed.
    Read(io::Error),
    /// Not a sample.
    Parse(serde_json::Error),
    /// The last line is incomplete, as when the recorder was killed.
    Cut,
    /// Longer than [`LINE`] bytes.
    TooLong,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.why {
            Why::Read(error) => write!(f, "cannot be read: {error}"),
            Why::Parse(error) => write!(f, "not a sample: {error}"),
            Why::Cut => f.write_str("cut off: the recording ends in the middle of it"),
            Why::TooLong => write!(f, "longer than {LINE} bytes"),
        }
    }
}

impl std::error::Error for LineError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.why {
            Why::Read(error) => Some(error),
            Why::Parse(error) => Some(error),
            Why::Cut | Why::TooLong => None,
        }
    }
}

/// Iterator of [`samples`].
#[derive(Debug)]
pub struct Samples<R> {
    reader: R,
    buffer: Vec<u8>,
    line: usize,
    done: bool,
}

impl<R: BufRead> Iterator for Samples<R> {
    type Item = Result<Sample, LineError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            self.buffer.clear();
            self.line += 1;
            let read = self.reader.by_ref().take(LINE).read_until(b'\n', &mut self.buffer);
            let ended = self.buffer.ends_with(b"\n");
            self.done = !ended;
            let why = match read {
                Err(error) => Why::Read(error),
                Ok(_) if !ended && self.buffer.len() as u64 == LINE => Why::TooLong,
                Ok(_) if self.buffer.trim_ascii().is_empty() => continue,
                Ok(_) => match serde_json::from_slice(&self.buffer) {
                    Ok(sample) => return Some(Ok(sample)),
                    Err(_) if !ended => Why::Cut,
                    Err(error) => Why::Parse(error),
                },
            };
            return Some(Err(LineError { line: self.line, why }));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    const TICK: &str = r#"{"time":1,"reading":"tick"}"#;

    fn read(input: &str) -> Vec<String> {
        let text = |result: Result<Sample, LineError>| match result {
            Ok(sample) => serde_json::to_string(&sample).unwrap(),
            Err(error) => error.to_string(),
        };
        samples(input.as_bytes()).map(text).collect()
    }

    #[test]
    fn a_broken_line_is_named_and_the_next_is_read() {
        let lines = read(&format!("{TICK}\n\n{{\"time\":1}}\n{TICK}\n"));
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0].as_str(), lines[2].as_str()), (TICK, TICK));
        assert!(lines[1].starts_with("line 3: not a sample: missing field `reading`"), "{}", lines[1]);
    }

    #[test]
    fn an_incomplete_last_line_is_detected_and_a_missing_newline_is_accepted() {
        for end in 1..TICK.len() {
            let mut samples = samples(&TICK.as_bytes()[..end]);
            assert!(matches!(samples.next(), Some(Err(LineError { line: 1, why: Why::Cut }))), "cut at {end}");
            assert!(samples.next().is_none());
        }
        assert_eq!(read(TICK), [TICK]);
        assert!(read("").is_empty());
    }

    #[test]
    fn an_endless_line_ends_the_reading() {
        let mut samples = samples(BufReader::new(io::repeat(b'x')));
        assert!(matches!(samples.next(), Some(Err(LineError { line: 1, why: Why::TooLong }))));
        assert!(samples.next().is_none());
    }

    #[test]
    fn bytes_that_are_not_text_are_not_a_sample() {
        let mut samples = samples(&b"\xff\xfe\n"[..]);
        assert!(matches!(samples.next(), Some(Err(LineError { line: 1, why: Why::Parse(_) }))));
    }

    #[test]
    fn a_failing_reader_is_reported_once() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("no disk"))
            }
        }
        let mut samples = samples(BufReader::new(Broken));
        assert_eq!(samples.next().unwrap().unwrap_err().to_string(), "line 1: cannot be read: no disk");
        assert!(samples.next().is_none());
    }
}
