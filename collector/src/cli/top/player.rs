//! Plays a recording: folds it tick by tick as the agent did, forwards and back. Copies of the engine on the way make going back
//! quick; their number is bounded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use collector_core::api::workloads::Summary;
use collector_core::engine::Engine;
use collector_core::recording::{self, Why};
use collector_core::rule::Rules;
use collector_core::sample::Reading;
use collector_core::view::View;

/// At most this many copies of the engine. Each may have the size of a whole history.
const COPIES: usize = 8;
/// Ticks between the first copies.
const SPACING: u64 = 60;

pub struct Player {
    path: PathBuf,
    file: Counted<BufReader<File>>,
    length: u64,
    engine: Engine,
    /// Ticks folded so far.
    tick: u64,
    /// The workloads at the tick before.
    before: Option<Summary>,
    ended: bool,
    copies: Vec<Copy>,
    spacing: u64,
    /// Lines that are no samples, each counted once.
    broken: u64,
    /// Up to here lines were read at least once.
    known: u64,
    trouble: Option<String>,
}

/// The engine after a tick.
struct Copy {
    tick: u64,
    offset: u64,
    engine: Engine,
}

impl Player {
    pub fn open(path: &Path, rules: Arc<Rules>) -> Result<Player> {
        let mut file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        // It is read again to go back.
        let length = file.seek(SeekFrom::End(0)).context("not a file that can be read twice")?;
        file.seek(SeekFrom::Start(0)).context("go to the beginning")?;
        let engine = Engine::with(rules);
        let mut player = Player {
            path: path.to_owned(),
            file: Counted { inner: BufReader::new(file), at: 0 },
            length,
            copies: vec![Copy { tick: 0, offset: 0, engine: engine.clone() }],
            engine,
            tick: 0,
            before: None,
            ended: false,
            spacing: SPACING,
            broken: 0,
            known: 0,
            trouble: None,
        };
        player.forward(1)?;
        ensure!(player.view().time > 0, "{} is no recording: no line of it is a sample", path.display());
        Ok(player)
    }

    pub fn view(&self) -> &View {
        self.engine.view()
    }

    pub fn before(&self) -> Option<&Summary> {
        self.before.as_ref()
    }

    /// Whether there is nothing after this.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// The share (0 to 1) of the file before this moment.
    pub fn share(&self) -> f64 {
        if self.length == 0 { 1.0 } else { (self.file.at as f64 / self.length as f64).min(1.0) }
    }

    /// What is wrong with the file, as far as it was read.
    pub fn trouble(&self) -> Option<String> {
        let broken = (self.broken > 0).then(|| format!("{} lines are no samples", self.broken));
        match (broken, &self.trouble) {
            (Some(broken), Some(trouble)) => Some(format!("{broken}; {trouble}")),
            (broken, trouble) => broken.or_else(|| trouble.clone()),
        }
    }

    /// Goes on by this many ticks, or to the end.
    pub fn forward(&mut self, ticks: u64) -> Result<()> {
        for left in (0..ticks).rev() {
            if self.ended {
                break;
            }
            if left == 0 {
                self.before = (self.tick > 0).then(|| Summary::of(self.engine.view()));
            }
            self.tick()?;
        }
        Ok(())
    }

    /// Goes back by this many ticks, or to the first.
    pub fn back(&mut self, ticks: u64) -> Result<()> {
        let target = self.tick.saturating_sub(ticks).max(1);
        let near = self.copies.iter().rfind(|copy| copy.tick < target).or(self.copies.first());
        let Some(near) = near else { return Ok(()) };
        self.file.inner.seek(SeekFrom::Start(near.offset)).with_context(|| format!("read {}", self.path.display()))?;
        self.file.at = near.offset;
        (self.engine, self.tick, self.ended, self.before) = (near.engine.clone(), near.tick, false, None);
        self.forward(target - self.tick)
    }

    /// Folds until after the next tick. What comes after the last one is a moment of its own, with all that was held back.
    fn tick(&mut self) -> Result<()> {
        loop {
            let begin = self.file.at;
            let next = recording::samples(&mut self.file).next();
            match next {
                Some(Ok(sample)) => {
                    self.engine.apply(&sample);
                    if matches!(sample.reading, Reading::Tick) {
                        break;
                    }
                }
                Some(Err(error)) if matches!(error.why, Why::Parse(_)) => self.broken += u64::from(begin >= self.known),
                end => {
                    self.trouble = end.and_then(Result::err).map(|error| match error.why {
                        Why::Cut => "the recording ends in the middle of a line".to_owned(),
                        why => format!("it cannot be read further: {}", recording::LineError { why, ..error }),
                    });
                    self.engine.finish();
                    self.ended = true;
                    break;
                }
            }
            self.known = self.known.max(self.file.at);
        }
        self.tick += 1;
        self.keep();
        Ok(())
    }

    fn keep(&mut self) {
        let last = self.copies.last().map_or(0, |copy| copy.tick);
        if self.ended || self.tick < last + self.spacing {
            return;
        }
        self.copies.push(Copy { tick: self.tick, offset: self.file.at, engine: self.engine.clone() });
        if self.copies.len() > COPIES {
            self.spacing *= 2;
            let mut index = 0;
            self.copies.retain(|_| {
                index += 1;
                index % 2 == 1
            });
        }
    }
}

/// A reader, and how much was read from it.
struct Counted<R> {
    inner: R,
    at: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.at += count as u64;
        self.inner.consume(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::api::status::Status;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/replay").join(name)
    }

    fn open(path: &Path) -> Result<Player> {
        Player::open(path, Arc::new(Rules::new(&[]).unwrap()))
    }

    #[test]
    fn going_back_shows_what_was_there_before() {
        let mut player = open(&fixture("alert.jsonl")).unwrap();
        let mut seen = Vec::new();
        let look = |player: &Player| (Status::of(player.view()), player.before().cloned());
        while !player.ended() {
            seen.push(look(&player));
            player.forward(1).unwrap();
        }
        assert_eq!(seen.len(), 200, "the ticks of the recording");
        assert!(seen.iter().any(|(status, _)| !status.alerts.is_empty()));
        for index in (0..seen.len()).rev().step_by(7) {
            player.back(player.tick - (index as u64 + 1)).unwrap();
            assert!(look(&player) == seen[index], "tick {index}");
        }
        player.back(u64::MAX).unwrap();
        assert!(look(&player) == seen[0]);
        player.forward(u64::MAX).unwrap();
        assert!(player.ended() && player.share() == 1.0 && player.trouble().is_none());
        assert!(player.copies.len() <= COPIES);
    }

    #[test]
    fn copies_are_bounded_however_long_it_is() {
        let folder = std::env::temp_dir().join(format!("headroom-player-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("long.jsonl");
        let mut text = std::fs::read_to_string(fixture("oom.jsonl")).unwrap();
        for second in 0..4000_u64 {
            text +=
                &format!("{{\"time\":{},\"reading\":\"tick\"}}\n", 1_800_000_000_000_000_000 + second * 1_000_000_000);
        }
        text += "no sample\n{\"time\":1";
        std::fs::write(&path, text).unwrap();
        let mut player = open(&path).unwrap();
        player.forward(u64::MAX).unwrap();
        assert!(player.copies.len() > 2 && player.copies.len() <= COPIES, "{}", player.copies.len());
        let time = player.view().time;
        let trouble = Some("1 lines are no samples; the recording ends in the middle of a line".to_owned());
        assert_eq!(player.trouble(), trouble);
        player.back(3).unwrap();
        assert_eq!(time - player.view().time, 2_000_000_000, "the end is a moment after the last tick");
        player.forward(9).unwrap();
        assert_eq!((player.trouble(), player.view().time), (trouble, time), "a broken line counts once");
        std::fs::write(&path, "no sample\n").unwrap();
        assert!(open(&path).err().unwrap().to_string().contains("is no recording"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn every_recording_of_the_fixtures_plays() {
        for entry in std::fs::read_dir(fixture("")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "jsonl") {
                let mut player = open(&path).unwrap();
                player.forward(u64::MAX).unwrap();
                assert_eq!((player.ended(), player.trouble()), (true, None), "{}", path.display());
            }
        }
    }
}
