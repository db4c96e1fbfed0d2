//! `run --record`: writes every sample as a JSON line, for `replay`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use collector_core::sample::{Lost, Sample};
use collector_core::stage::Stage;

/// Bytes buffered until the end of the round, at most.
const BUFFER: usize = 1 << 20;

/// Writes samples to a file. If writing fails (a full disk), samples are lost and counted; the agent continues.
pub struct Recorder {
    file: File,
    path: PathBuf,
    buffer: Vec<u8>,
    buffered: u64,
    lost: u64,
    /// The last write failed, so the file may end with part of a line.
    torn: bool,
}

impl Recorder {
    /// Creates or truncates the file.
    pub fn create(path: &Path) -> Result<Recorder> {
        let file = File::create(path).with_context(|| format!("record to {}", path.display()))?;
        Ok(Recorder::over(file, path))
    }

    /// Uses an open file; the path is only for log messages.
    pub fn over(file: File, path: &Path) -> Recorder {
        Recorder { file, path: path.to_owned(), buffer: Vec::new(), buffered: 0, lost: 0, torn: false }
    }

    /// Buffers one sample.
    pub fn write(&mut self, sample: &Sample) {
        let line = self.buffer.len();
        match serde_json::to_writer(&mut self.buffer, sample) {
            Ok(()) => {
                self.buffer.push(b'\n');
                self.buffered += 1;
            }
            Err(_) => {
                self.buffer.truncate(line);
                self.lost += 1;
            }
        }
        if self.buffer.len() >= BUFFER {
            self.write_out();
        }
    }

    /// Writes the buffer to the file. Returns the samples lost since the last call, if any.
    pub fn flush(&mut self) -> Option<Lost> {
        self.write_out();
        let count = std::mem::take(&mut self.lost);
        (count > 0).then_some(Lost { stage: Stage::Record, count })
    }

    fn write_out(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let mend: &[u8] = if self.torn { b"\n" } else { b"" };
        match self.file.write_all(mend).and_then(|()| self.file.write_all(&self.buffer)) {
            Ok(()) => self.torn = false,
            Err(error) => {
                if !self.torn {
                    tracing::warn!("cannot write the recording {}, samples are lost: {error}", self.path.display());
                }
                self.torn = true;
                self.lost += self.buffered;
            }
        }
        self.buffer.clear();
        self.buffered = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::sample::Reading;

    #[test]
    fn samples_are_read_back_as_they_were_written() {
        let path = std::env::temp_dir().join(format!("headroom-record-{}", std::process::id()));
        let sample = Sample { time: 7, reading: Reading::Lost(Lost { stage: Stage::Slot, count: 3 }) };
        let mut recorder = Recorder::create(&path).unwrap();
        recorder.write(&sample);
        recorder.write(&Sample { time: 8, reading: Reading::Tick });
        assert_eq!(recorder.flush(), None);
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Sample> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, [sample, Sample { time: 8, reading: Reading::Tick }]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_full_disk_loses_and_counts_samples() {
        let mut recorder = Recorder::create("/dev/full".as_ref()).unwrap();
        for time in 0..5 {
            recorder.write(&Sample { time, reading: Reading::Tick });
        }
        assert_eq!(recorder.flush(), Some(Lost { stage: Stage::Record, count: 5 }));
        assert_eq!(recorder.flush(), None);
    }
}
