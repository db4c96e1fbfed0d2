//! A recording: JSON lines in, samples out. It knows neither where the lines come from nor what samples mean.

use std::fmt;
use std::io::{self, BufRead, Read};

use crate::sample::Sample;

/// Longest line, in bytes, that is read into memory; a sample is far shorter.
const LINE: u64 = 1 << 20;

/// Reads samples, one a line; blank lines are passed over. After a broken line it goes on with the next; after
/// [`Why::Read`] and [`Why::TooLong`] there is no next.
pub fn samples<R: BufRead>(reader: R) -> Samples<R> {
    Samples { reader, buffer: Vec::new(), line: 0, done: false }
}

/// A line that holds no sample.
#[derive(Debug)]
pub struct LineError {
    /// Which, from one.
    pub line: usize,
    /// Why not.
    pub why: Why,
}

/// Why a line holds no sample.
#[derive(Debug)]
pub enum Why {
    /// It could not be read.
    Read(io::Error),
    /// It is no sample.
    Parse(serde_json::Error),
    /// The last line was not written to its end, as when the recorder was killed.
    Cut,
    /// It is longer than any sample.
    TooLong,
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        match &self.why {
            Why::Read(error) => write!(f, "cannot be read: {error}"),
            Why::Parse(error) => write!(f, "no sample: {error}"),
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

/// See [`samples`].
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

    fn told(input: &str) -> Vec<String> {
        let tell = |result: Result<Sample, LineError>| match result {
            Ok(sample) => serde_json::to_string(&sample).unwrap(),
            Err(error) => error.to_string(),
        };
        samples(input.as_bytes()).map(tell).collect()
    }

    #[test]
    fn a_broken_line_is_named_and_the_next_is_read() {
        let told = told(&format!("{TICK}\n\n{{\"time\":1}}\n{TICK}\n"));
        assert_eq!(told.len(), 3);
        assert_eq!((told[0].as_str(), told[2].as_str()), (TICK, TICK));
        assert!(told[1].starts_with("line 3: no sample: missing field `reading`"), "{}", told[1]);
    }

    #[test]
    fn a_last_line_cut_anywhere_is_told_apart_and_a_whole_one_without_its_end_is_good() {
        for end in 1..TICK.len() {
            let mut samples = samples(&TICK.as_bytes()[..end]);
            assert!(matches!(samples.next(), Some(Err(LineError { line: 1, why: Why::Cut }))), "cut at {end}");
            assert!(samples.next().is_none());
        }
        assert_eq!(told(TICK), [TICK]);
        assert!(told("").is_empty());
    }

    #[test]
    fn a_line_without_end_is_given_up() {
        let mut samples = samples(BufReader::new(io::repeat(b'x')));
        assert!(matches!(samples.next(), Some(Err(LineError { line: 1, why: Why::TooLong }))));
        assert!(samples.next().is_none());
    }

    #[test]
    fn what_is_not_text_is_no_sample() {
        let mut samples = samples(&b"\xff\xfe\n"[..]);
        assert!(matches!(samples.next(), Some(Err(LineError { line: 1, why: Why::Parse(_) }))));
    }

    #[test]
    fn a_reader_that_fails_is_told_once() {
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
