//! The engine, and all that takes what goes in and what comes out: the recording, the log, the outbox, the snapshots.
//! Belongs to the fold loop alone; nothing in it waits.

use super::snapshot::{Ask, Publisher};
use crate::clock;
use crate::deliver::outbox::Outbox;
use crate::engine::{Engine, Outcome};
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
            if let Some(lost) = self.recorder.as_mut().and_then(Recorder::flush) {
                self.apply(Sample { time: sample.time, reading: Reading::Lost(lost) });
            }
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

    /// Publishes what was held back until the end.
    pub fn finish(&mut self) {
        let outcomes = self.engine.finish();
        self.publish(clock::unix_ns(), outcomes);
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
