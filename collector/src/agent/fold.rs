//! The engine with its outputs: recording, log, outbox, history, snapshots. Owned by the fold loop; it waits for nothing but the disk of a
//! recording and the reader of the log (stderr).

use std::collections::HashMap;
use std::sync::Arc;

use collector_core::engine::Engine;
use collector_core::latency;
use collector_core::lease::{Answer, Asked, Body, Change, Kept, Limits, Step};
use collector_core::level;
use collector_core::outcome::Outcome;
use collector_core::rule::Rules;
use collector_core::sample::{Reading, Sample};
use collector_core::scaling;
use collector_core::schedule::Entry;
use tokio::sync::{mpsc, oneshot};

use super::request::Incoming;
use super::schedule::Timetable;
use super::snapshot::{Ask, Publisher};
use super::trail::Trail;
use crate::clock;
use crate::deliver::outbox::Outbox;
use crate::deliver::target::Target;
use crate::deliver::thread::Restored;
use crate::sink::history::thread::History;
use crate::sink::lease::{Keeper, Past, Place};
use crate::sink::log::Log;
use crate::sink::record::Recorder;
use crate::source::contention::Watched;
use crate::source::lease::Followed;
use crate::source::rising;

/// Requests that are decided before anything else is looked at again.
const REQUESTS: usize = 64;

pub struct Fold {
    engine: Engine,
    recorder: Option<Recorder>,
    log: Log,
    outbox: Outbox,
    /// None: nothing of the history goes to the disk.
    history: Option<History>,
    publisher: Publisher,
    leases: Leases,
    timetable: Timetable,
    /// Gets at each tick the workloads that the view watches.
    watched: Arc<Watched>,
    /// The same for those whose memory rises.
    rising: Arc<rising::Watched>,
}

/// What of leases leaves the engine.
pub struct Leases {
    /// None: a test that has none.
    pub keeper: Option<Keeper>,
    pub followed: Arc<Followed>,
    /// Who waits for the answer to which request.
    pub answers: HashMap<u64, oneshot::Sender<Answer>>,
    trail: Trail,
    /// The agent stops: claims that wait keep their place.
    stopping: bool,
}

impl Leases {
    pub fn new(keeper: Option<Keeper>) -> Leases {
        Leases { keeper, followed: Arc::default(), answers: HashMap::new(), trail: Trail::default(), stopping: false }
    }

    fn changed(&mut self, change: &Change) {
        if change.step == Step::Refused {
            return;
        }
        self.followed.change(change);
        if !(self.stopping && change.step == Step::Withdrawn && change.lease.granted.is_none()) {
            self.keeper.iter().for_each(|keeper| keeper.change(change));
        }
    }

    fn answer(&mut self, answer: Answer) {
        let Some(to) = self.answers.remove(&answer.number) else { return };
        match &self.keeper {
            // What was granted must be on the disk before anybody relies on it.
            Some(keeper) if matches!(answer.body, Body::Granted(_)) => keeper.answer(to, answer),
            _ => _ = to.send(answer),
        }
    }
}

impl Fold {
    pub fn new(
        engine: Engine,
        recorder: Option<Recorder>,
        outbox: Outbox,
        history: Option<History>,
        publisher: Publisher,
        leases: Leases,
    ) -> Fold {
        let (watched, rising) = (Arc::default(), Arc::default());
        let (log, timetable) = (Log::default(), Timetable::default());
        Fold { engine, recorder, log, outbox, history, publisher, leases, timetable, watched, rising }
    }

    /// Tells sources which workloads the view watches.
    pub fn watching(self, watched: &Arc<Watched>, rising: &Arc<rising::Watched>) -> Fold {
        Fold { watched: watched.clone(), rising: rising.clone(), ..self }
    }

    /// Records a sample, folds it, and publishes its outcomes.
    pub fn apply(&mut self, sample: Sample) {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(&sample);
        }
        let outcomes = self.engine.apply(&sample);
        self.publish(sample.time, outcomes);
        if sample.reading == Reading::Tick {
            self.publisher.ticked();
            let slow = &self.engine.view().slow;
            self.watched.set(slow.changes(), || slow.watched().cloned().collect());
            let rising = &self.engine.view().rising;
            self.rising.set(rising.changes(), || rising.watched().cloned().collect());
            self.log.tick(sample.time);
            let sums = self.leases.trail.tick(sample.time);
            self.publish(sample.time, sums);
            self.flush(sample.time);
            if let Some(schedule) = self.timetable.due(sample.time) {
                self.apply(Sample { time: sample.time, reading: Reading::Schedule(Box::new(schedule)) });
            }
        }
    }

    /// Flushes the recording. Lost samples are reported as a sample, which is recorded, folded and published like any other.
    fn flush(&mut self, time: u64) {
        if let Some(lost) = self.recorder.as_mut().and_then(Recorder::flush) {
            self.apply(Sample { time, reading: Reading::Lost(lost) });
        }
    }

    /// One round of readings; the last is a [`Reading::Tick`].
    pub fn round(&mut self, read: impl FnOnce(&mut dyn FnMut(Sample))) {
        // The state can change in place again, unless a client still renders the old snapshot.
        self.publisher.release();
        read(&mut |sample| self.apply(sample));
    }

    /// Takes over what was before the start.
    pub fn restore(&mut self, Restored { alerts, incidents }: Restored) {
        let time = clock::unix_ns();
        alerts.into_iter().for_each(|alert| self.apply(Sample { time, reading: Reading::Restored(alert) }));
        self.engine.remember(&incidents);
    }

    /// Takes over the leases of before the start, within these limits.
    pub fn resume(&mut self, limits: Limits, past: Past) {
        let time = clock::unix_ns();
        past.leases.iter().for_each(|lease| self.leases.followed.add(lease));
        let leases = past.leases.into_iter().map(|lease| Kept::Lease(Box::new(lease)));
        let learned = past.learned.into_iter().map(|entry| Kept::Learned(Box::new(entry)));
        let places = past.places.into_iter().map(|Place { uid, key, asked }| Kept::Place { uid, key, asked });
        let units = past.units.into_iter().map(|record| Kept::Unit(Box::new(record)));
        let all = [Kept::Limits(limits), Kept::Next(past.last_id)].into_iter().chain(leases).chain(learned);
        let all = all.chain(places).chain(units);
        all.for_each(|kept| self.apply(Sample { time, reading: Reading::Lease(kept) }));
    }

    /// From now on who waits is sent away, and is to find its place again after the start.
    pub fn stopping(&mut self) {
        self.leases.stopping = true;
    }

    /// Decides a request. Its answer goes where it came from.
    pub fn request(&mut self, Incoming { request, answer }: Incoming) {
        if let Some(answer) = answer {
            self.leases.answers.insert(request.number, answer);
        }
        // Nobody waits for that answer any more.
        if let Asked::Withdraw { number } = &request.asked {
            self.leases.answers.remove(number);
        }
        self.apply(Sample { time: clock::unix_ns(), reading: Reading::Request(Box::new(request)) });
    }

    /// Decides requests that wait; some at a time, so that they hold up nothing else.
    pub fn request_some(&mut self, requests: &mut mpsc::UnboundedReceiver<Incoming>) {
        std::iter::from_fn(|| requests.try_recv().ok()).take(REQUESTS).for_each(|request| self.request(request));
    }

    /// Goes on within other limits. What was granted stays; what waits is looked at again at the next tick.
    pub fn limit(&mut self, level: level::Limits, leases: Limits) {
        let time = clock::unix_ns();
        let readings = [Reading::Level(level), Reading::Lease(Kept::Limits(leases))];
        readings.into_iter().for_each(|reading| self.apply(Sample { time, reading }));
    }

    /// From when on the latency of a model server is worse, from now on.
    pub fn compare(&mut self, limits: latency::Limits) {
        self.apply(Sample { time: clock::unix_ns(), reading: Reading::Latency(limits) });
    }

    /// When there should be more or fewer instances of a model, from now on.
    pub fn scale(&mut self, limits: scaling::Limits) {
        self.apply(Sample { time: clock::unix_ns(), reading: Reading::Scaling(limits) });
    }

    /// What is reserved ahead, from now on.
    pub fn schedule(&mut self, entries: Vec<Entry>) {
        let time = clock::unix_ns();
        let schedule = self.timetable.replace(entries, time);
        self.apply(Sample { time, reading: Reading::Schedule(Box::new(schedule)) });
    }

    /// Goes on with other rules; what they no longer have resolves.
    pub fn replace_rules(&mut self, rules: Arc<Rules>) {
        let outcomes = self.engine.replace_rules(rules);
        self.publish(clock::unix_ns(), outcomes);
    }

    /// The receivers of alerts with these names go on with what is new of these targets.
    pub fn renew(&self, targets: Vec<Target>) {
        self.outbox.renew(targets);
    }

    /// Answers a request with the snapshot of this tick.
    pub fn answer(&mut self, ask: Ask) {
        self.publisher.answer(ask, self.engine.view());
    }

    /// Answers all requests that wait.
    pub fn answer_all(&mut self, asks: &mut mpsc::Receiver<Ask>) {
        while let Ok(ask) = asks.try_recv() {
            self.answer(ask);
        }
    }

    /// Completes the recording, and publishes the outcomes that the engine held back.
    pub fn finish(&mut self) {
        let time = clock::unix_ns();
        // The last tick may have lost samples; so may this flush.
        self.flush(time);
        self.recorder.as_mut().and_then(Recorder::flush);
        let mut outcomes = self.engine.finish();
        outcomes.extend(self.leases.trail.rest());
        outcomes.extend(self.engine.view().rest().map(Box::new).map(Outcome::History));
        self.publish(time, outcomes);
    }

    /// Waits a bounded time until outcomes and history are written and delivered.
    pub fn close(self) {
        self.outbox.close();
        if let Some(history) = self.history {
            history.close();
        }
        if let Some(keeper) = self.leases.keeper {
            keeper.close();
        }
    }

    fn publish(&mut self, time: u64, outcomes: Vec<Outcome>) {
        let view = self.engine.view();
        for outcome in outcomes {
            let outcome = match (outcome, &self.history) {
                (Outcome::History(quarter), Some(history)) => {
                    history.write(*quarter);
                    continue;
                }
                (Outcome::History(_), None) => continue,
                (Outcome::Answer(answer), _) => {
                    self.leases.answer(*answer);
                    continue;
                }
                (Outcome::Learned(change), _) => {
                    self.leases.keeper.iter().for_each(|keeper| keeper.learned((*change).clone()));
                    continue;
                }
                (Outcome::Unit(record), _) => {
                    self.leases.keeper.iter().for_each(|keeper| keeper.unit(record.clone()));
                    continue;
                }
                (Outcome::Lease(change), _) => {
                    self.leases.changed(&change);
                    match self.leases.trail.passes(time, &change) {
                        true => Outcome::Lease(change),
                        false => continue,
                    }
                }
                (outcome, _) => outcome,
            };
            let owner = match &outcome {
                // Many reservations of one user suppress no event of another.
                Outcome::Lease(change) => Some(format!("user {}", change.lease.uid)),
                Outcome::LeaseSum(sum) => Some(format!("user {}", sum.uid)),
                other => other.workload().map(|workload| view.workloads.owner(workload).to_owned()),
            };
            self.log.outcome(time, owner.as_deref(), &outcome);
            self.outbox.publish(time, owner.as_deref(), outcome);
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
    use crate::config::Config;
    use crate::deliver::target::Host;
    use crate::sink::journal::Reader;
    use collector_core::alert::Alert;
    use collector_core::recording;
    use collector_core::rule::Rules;
    use collector_core::sample::Lost;
    use collector_core::stage::Stage;

    const SECOND: u64 = 1_000_000_000;

    /// The contents of the pipe.
    fn drain(pipe: &mut PipeReader) -> Vec<u8> {
        let mut text = Vec::new();
        // Until it would block.
        let _ = pipe.read_to_end(&mut text);
        text
    }

    #[test]
    fn lost_samples_are_reported_and_recorded_and_a_replay_gives_the_same_alerts() {
        // A pipe stands for a disk that is full at times.
        let (mut disk, writer) = std::io::pipe().unwrap();
        fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
        fcntl_setfl(&disk, OFlags::NONBLOCK).unwrap();
        let mut filler = File::from(OwnedFd::from(writer));
        let recorder = Recorder::over(filler.try_clone().unwrap(), Path::new("pipe"));

        let dir = std::env::temp_dir().join(format!("headroom-fold-{}", std::process::id()));
        let config = Config::default();
        let journal = crate::config::Journal { dir: dir.clone(), ..config.journal };
        let host = Host { name: "node1".into(), url: "http://node1:9843/metrics".into() };
        let (outbox, _) = Outbox::start(&journal, None, &host, Vec::new()).unwrap();
        let rules = std::sync::Arc::new(Rules::new(&[]).unwrap());
        let (publisher, ..) = snapshot::channel(SECOND, Default::default());
        let mut fold =
            Fold::new(Engine::with(rules.clone()), Some(recorder), outbox, None, publisher, Leases::new(None));
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
        assert_eq!(samples.last(), Some(&lost(400 * SECOND)), "a loss at the very end is recorded, too");
        let mut engine = Engine::with(rules);
        let outcomes = samples.iter().flat_map(|sample| engine.apply(sample));
        let alerts = outcomes.filter_map(|outcome| match outcome {
            Outcome::Alert(alert) => Some(*alert),
            _ => None,
        });
        let replayed: Vec<Alert> = alerts.collect();
        let stored = Reader::open(&dir).unwrap().alerts(100).unwrap();
        let written: Vec<Alert> = stored.into_iter().map(|stored| stored.alert).collect();
        assert!(written.len() >= 2 && written[0].labels["stage"] == "record", "{written:?}");
        assert_eq!(written, replayed);
        std::fs::remove_dir_all(dir).unwrap();
    }
}
