//! `run --record`: writes every sample as a JSON line, for `replay`. Two files take turns, so that a recording that is forgotten
//! does not fill the disk.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use collector_core::sample::{Lost, Sample};
use collector_core::stage::Stage;

use crate::private;

/// Bytes buffered until the end of the round, at most.
const BUFFER: usize = 1 << 20;

/// Writes samples to a file. If writing fails (a full disk), samples are lost and counted; the agent continues.
pub struct Recorder {
    /// The file that is being written, and the other one.
    file: File,
    path: PathBuf,
    other: Option<(File, PathBuf)>,
    /// Bytes in the file, and when it is the other one's turn.
    written: u64,
    limit: u64,
    buffer: Vec<u8>,
    buffered: u64,
    lost: u64,
    /// The last write failed, so the file may end with part of a line.
    torn: bool,
}

impl Recorder {
    /// Replaces the file, and the second one, `FILE.2`, which is written when the first has half of `max_bytes`. Both are opened
    /// now, because the agent may be unable to open files in that folder later.
    pub fn create(path: &Path, max_bytes: u64) -> Result<Recorder> {
        let open = |path: &Path| private::replace(path).with_context(|| format!("record to {}", path.display()));
        let second = PathBuf::from([path.as_os_str(), ".2".as_ref()].into_iter().collect::<OsString>());
        let recorder = Recorder::over(open(path)?, path);
        Ok(Recorder { other: Some((open(&second)?, second)), limit: max_bytes / 2, ..recorder })
    }

    /// Uses an open file without a limit; the path is only for log messages.
    pub fn over(file: File, path: &Path) -> Recorder {
        Recorder {
            file,
            path: path.to_owned(),
            other: None,
            written: 0,
            limit: u64::MAX,
            buffer: Vec::new(),
            buffered: 0,
            lost: 0,
            torn: false,
        }
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
        if self.written > 0 && self.written.saturating_add(self.buffer.len() as u64) > self.limit {
            self.take_turns();
        }
        let mend: &[u8] = if self.torn { b"\n" } else { b"" };
        match self.file.write_all(mend).and_then(|()| self.file.write_all(&self.buffer)) {
            Ok(()) => {
                self.torn = false;
                self.written += self.buffer.len() as u64;
            }
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

    /// Empties the other file, and goes on there.
    fn take_turns(&mut self) {
        let Some((file, path)) = &mut self.other else { return };
        if let Err(error) = file.set_len(0) {
            tracing::warn!("cannot empty {}, the recording grows on: {error}", path.display());
            self.limit = u64::MAX;
            return;
        }
        std::mem::swap(&mut self.file, file);
        std::mem::swap(&mut self.path, path);
        tracing::info!("the recording goes on in {}", self.path.display());
        (self.written, self.torn) = (0, false);
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
        let mut recorder = Recorder::create(&path, 1 << 20).unwrap();
        recorder.write(&sample);
        recorder.write(&Sample { time: 8, reading: Reading::Tick });
        assert_eq!(recorder.flush(), None);
        let text = std::fs::read_to_string(&path).unwrap();
        let read: Vec<Sample> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(read, [sample, Sample { time: 8, reading: Reading::Tick }]);
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(path.with_extension("2")).unwrap();
    }

    #[test]
    fn two_files_take_turns_below_the_limit() {
        let path = std::env::temp_dir().join(format!("headroom-turns-{}", std::process::id()));
        let second = path.with_extension("2");
        std::fs::write(&second, "of an earlier recording").unwrap();
        let mut recorder = Recorder::create(&path, 2000).unwrap();
        let mut largest = 0;
        for time in 0..1000 {
            recorder.write(&Sample { time, reading: Reading::Tick });
            assert_eq!(recorder.flush(), None);
            let bytes = [&path, &second].map(|file| std::fs::metadata(file).unwrap().len());
            largest = largest.max(bytes[0] + bytes[1]);
        }
        assert!((1000..=2000).contains(&largest), "{largest}");
        let times = |file: &Path| {
            let text = std::fs::read_to_string(file).unwrap();
            text.lines().map(|line| serde_json::from_str::<Sample>(line).unwrap().time).collect::<Vec<_>>()
        };
        let mut parts = [times(&path), times(&second)];
        parts.sort();
        let kept = parts.concat();
        let first = kept[0];
        assert_eq!(kept, (first..1000).collect::<Vec<_>>(), "the last samples, without a gap");
        [path, second].iter().for_each(|file| std::fs::remove_file(file).unwrap());
    }

    #[test]
    fn a_full_disk_loses_and_counts_samples() {
        let mut recorder = Recorder::over(File::create("/dev/full").unwrap(), "/dev/full".as_ref());
        for time in 0..5 {
            recorder.write(&Sample { time, reading: Reading::Tick });
        }
        assert_eq!(recorder.flush(), Some(Lost { stage: Stage::Record, count: 5 }));
        assert_eq!(recorder.flush(), None);
    }
}
