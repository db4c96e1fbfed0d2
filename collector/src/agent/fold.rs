//! The engine, and all that takes what goes in and what comes out: the recording, the log, the outbox, the snapshots.
//! Belongs to the fold loop alone; nothing in it waits, but for the disk of a recording while one is made.

use super::snapshot::{Ask, Publisher};
use crate::clock;
use crate::deliver::outbox::Outbox;
use crate::engine::Engine;
use crate::outcome::Outcome;
use crate::sample::{Reading, Sample};
use crate::sink::log;
use crate::sink::record::Recorder;

/// Takes every sample of the agent.
pub struct Fold {
    engine: Engine,
    recorder: Option<Recorder>,
    outbox: Outbox,
    publisher: Publisher,
}

impl Fold {
    pub fn new(engine: Engine, recorder: Option<Recorder>, outbox: Outbox, publisher: Publisher) -> Fold {
        Fold { engine, recorder, outbox, publisher }
    }

    /// Records a sample, folds it, and publishes what comes of it.
    pub fn apply(&mut self, sample: Sample) {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&sample);
        }
        let outcomes = self.engine.apply(&sample);
        self.publish(sample.time, outcomes);
        if sample.reading == Reading::Tick {
            self.publisher.ticked();
            self.flush(sample.time);
        }
    }

    /// Writes the recording out. What it lost is a sample like any other: recorded, folded, and what comes of it published.
    fn flush(&mut self, time: u64) {
        if let Some(lost) = self.recorder.as_mut().and_then(Recorder::flush) {
            self.apply(Sample { time, reading: Reading::Lost(lost) });
        }
    }

    /// One round of readings, a [`Reading::Tick`] at its end.
    pub fn round(&mut self, read: impl FnOnce(&mut dyn FnMut(Sample))) {
        // From here on the state is changed in place again, unless somebody still renders the old one.
        self.publisher.release();
        read(&mut |sample| self.apply(sample));
    }

    /// Gives whoever asks the snapshot of this tick.
    pub fn answer(&mut self, ask: Ask) {
        self.publisher.answer(ask, self.engine.view());
    }

    /// Writes the recording out to its end, and publishes what was held back until then.
    pub fn finish(&mut self) {
        let time = clock::unix_ns();
        // The last tick may have left a loss in the buffer; so may this.
        self.flush(time);
        self.recorder.as_mut().and_then(Recorder::flush);
        let outcomes = self.engine.finish();
        self.publish(time, outcomes);
    }

    /// Waits a bounded time until the outcomes are written and delivered.
    pub fn close(self) {
        self.outbox.close();
    }

    fn publish(&mut self, time: u64, outcomes: Vec<Outcome>) {
        for outcome in outcomes {
            log::write(&outcome);
            self.outbox.publish(time, outcome);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{PipeReader, Read as _, Write as _};
    use std::os::fd::OwnedFd;
    use std::path::Path;

    use rustix::fs::{OFlags, fcntl_setfl};

    use super::*;
    use crate::agent::snapshot;
    use crate::alert::Alert;
    use crate::config::Config;
    use crate::deliver::target::Host;
    use crate::recording;
    use crate::rule::Rules;
    use crate::sample::Lost;
    use crate::sink::journal::Reader;
    use crate::stage::Stage;

    const SECOND: u64 = 1_000_000_000;

    /// What stands in the pipe.
    fn drain(pipe: &mut PipeReader) -> Vec<u8> {
        let mut text = Vec::new();
        // Until it would block.
        let _ = pipe.read_to_end(&mut text);
        text
    }

    #[test]
    fn what_the_recorder_lost_is_told_and_recorded_and_a_replay_tells_the_same() {
        // A disk that can be full, and have room again.
        let (mut disk, writer) = std::io::pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        fcntl_setfl(&disk, OFlags::NONBLOCK).unwrap();
        let mut filler = File::from(OwnedFd::from(writer));
        let recorder = Recorder::over(filler.try_clone().unwrap(), Path::new("pipe"));

        let dir = std::env::temp_dir().join(format!("headroom-fold-{}", std::process::id()));
        let config = Config::default();
        let journal = crate::config::Journal { dir: dir.clone(), ..config.journal };
        let host = Host { name: "node1".into(), url: "http://node1:9843/metrics".into() };
        let (outbox, _) = Outbox::start(&journal, &host, Vec::new()).unwrap();
        let rules = std::sync::Arc::new(Rules::new(&[]).unwrap());
        let (publisher, ..) = snapshot::channel(SECOND, 100, Default::default());
        let mut fold = Fold::new(Engine::with(rules.clone()), Some(recorder), outbox, publisher);
        let mut tick = |second: u64| fold.apply(Sample { time: second * SECOND, reading: Reading::Tick });

        tick(1);
        let mut recorded = drain(&mut disk);
        while filler.write(&[b' '; 4096]).is_ok() {}
        tick(2);
        recorded.extend(drain(&mut disk));
        (3..400).for_each(|second| {
            tick(second);
            recorded.extend(drain(&mut disk));
        });
        while filler.write(&[b' '; 4096]).is_ok() {}
        tick(400);
        recorded.extend(drain(&mut disk));
        fold.finish();
        recorded.extend(drain(&mut disk));
        fold.close();

        let samples: Vec<Sample> = recording::samples(&recorded[..]).collect::<Result<_, _>>().unwrap();
        let lost = |time| Sample { time, reading: Reading::Lost(Lost { stage: Stage::Record, count: 1 }) };
        assert_eq!(samples[1], lost(2 * SECOND));
        assert_eq!(samples.last(), Some(&lost(400 * SECOND)), "what was lost at the very end is recorded, too");
        let mut engine = Engine::with(rules);
        let outcomes = samples.iter().flat_map(|sample| engine.apply(sample));
        let alerts = outcomes.filter_map(|outcome| match outcome {
            Outcome::Alert(alert) => Some(*alert),
            _ => None,
        });
        let replayed: Vec<Alert> = alerts.collect();
        let stored = Reader::open(&dir).unwrap().alerts(100).unwrap();
        let told: Vec<Alert> = stored.into_iter().map(|stored| stored.alert).collect();
        assert!(told.len() >= 2 && told[0].labels["stage"] == "record", "{told:?}");
        assert_eq!(told, replayed);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
