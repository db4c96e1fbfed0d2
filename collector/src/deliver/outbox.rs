//! Takes the agent's outcomes without ever waiting; drops and counts what does not fit. Starts and owns the delivery thread, lets
//! the journal start its own, and reports the health of both.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Channel, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector_core::outcome::Outcome;
use collector_core::rate::{Bucket, Rates};
use collector_core::sample::{Delivery, Reading, Sample, Source};
use collector_core::stage::Stage;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::alertmanager;
use super::eviction::Evictions;
use super::queue::Queue;
use super::receiver::{INCIDENTS, Incidents, Protocol, Receiver};
use super::target::{self, Host, Target};
use super::thread::{Deliverer, Published, Restored};
use crate::clock;
use crate::config;
use crate::event::Events;
use crate::sink::journal::Limits;
use crate::sink::journal::thread::{Health, Journal, Started, Wanted};

/// Capacity of the channel to the delivery thread.
const OUTCOMES: usize = 4096;

/// Events per second that are written, and the burst after a quiet time: of all, and of one owner of workloads.
const EVENTS: Bucket = Bucket::new(50.0, 500.0);
const EVENTS_OF_OWNER: Bucket = Bucket::new(5.0, 100.0);

/// Capacity of one receiver's queue.
const QUEUE: usize = 10_000;

/// Lower bound of `journal.max_bytes`.
const MIN_JOURNAL: u64 = 1 << 20;

/// How long start and shutdown wait for the journal.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Outbox {
    sender: mpsc::Sender<Published>,
    thread: JoinHandle<()>,
    /// Disconnected when the journal's thread has ended.
    ended: Channel<()>,
    /// Of frequent outcomes, and of others.
    events: [Bucket; 2],
    events_of_owner: [Rates; 2],
    lost: Lost,
    pub health: DeliveryHealth,
    /// The last of what it took, for those who follow.
    pub followed: Arc<Events>,
}

/// Counters of losses, by stage.
struct Lost {
    outcomes: Arc<AtomicU64>,
    events: Arc<AtomicU64>,
    entries: Arc<AtomicU64>,
    alerts: Arc<AtomicU64>,
}

/// Health of the journal and of the receivers, as samples.
#[derive(Clone)]
pub struct DeliveryHealth {
    journal: Arc<Health>,
    receivers: Vec<(Arc<Receiver>, Totals)>,
}

/// Counters at the last read.
#[derive(Clone, Copy, Default)]
struct Totals {
    delivered: u64,
    failed: u64,
}

impl Outbox {
    /// Starts the threads. Waits a bounded time for the journal to be read. The channel delivers the alerts that fired when the
    /// agent last stopped, and the incidents until then: at once, or later if the journal is slow.
    pub fn start(
        config: &config::Journal,
        readers: Option<u32>,
        host: &Host,
        targets: Vec<Target>,
    ) -> Result<(Outbox, mpsc::Receiver<Restored>)> {
        let dir = config.dir.clone();
        let limits = Limits { max_age: config.max_age, max_bytes: (config.max_bytes as u64).max(MIN_JOURNAL), readers };
        let lost = Arc::new(AtomicU64::new(0));
        let sinks: Vec<Arc<str>> = targets.iter().map(|target| target.name.as_str().into()).collect();
        let wanted = Wanted { sinks: sinks.clone(), pending: QUEUE, incidents: INCIDENTS };
        let Started { journal, past, ended } = Journal::start(dir.clone(), limits, wanted)?;
        let read = past.recv_timeout(JOURNAL_TIMEOUT);
        if matches!(read, Err(RecvTimeoutError::Timeout)) {
            tracing::error!(
                "reading the journal takes longer than {JOURNAL_TIMEOUT:?}: the agent starts without the alerts that fired before, \
                 and restores them later"
            );
        }
        let read = read.ok().flatten();
        let incidents = Arc::new(Incidents::default());
        let mut work = Vec::new();
        for (target, name) in targets.into_iter().zip(sinks) {
            let queue = Queue::new(QUEUE, lost.clone());
            let (severity, restored) = (target.severity, Mutex::default());
            let evictions = match &target.protocol {
                target::Protocol::Webhook(post, secret) if target.evictions => {
                    Some(Evictions::new(host.name.clone(), post.clone(), secret.clone()))
                }
                _ => None,
            };
            let receiver = Receiver { name, severity, queue, restored, renewed: Mutex::default(), evictions };
            let receiver = Arc::new(receiver);
            let protocol = match target.protocol {
                target::Protocol::Webhook(post, secret) => {
                    Protocol::Webhook { post, host: host.name.clone(), secret, incidents: incidents.clone() }
                }
                target::Protocol::Alertmanager(post) => {
                    let firing = alertmanager::Firing::new(host.name.clone(), host.url.clone());
                    Protocol::Alertmanager { post, firing }
                }
                target::Protocol::File(lines) => Protocol::File(lines),
            };
            work.push((receiver, protocol));
        }
        let receivers: Vec<_> = work.iter().map(|(receiver, ..)| receiver.clone()).collect();
        let (sender, published) = mpsc::channel(OUTCOMES);
        let health = DeliveryHealth {
            journal: journal.health.clone(),
            receivers: receivers.iter().map(|receiver| (receiver.clone(), Totals::default())).collect(),
        };
        let lost = Lost {
            outcomes: Arc::default(),
            events: Arc::default(),
            entries: journal.health.lost.clone(),
            alerts: lost,
        };
        let (restore, restored) = mpsc::channel(1);
        let events = Arc::<Events>::default();
        let mut deliverer = Deliverer {
            journal,
            dir,
            limits,
            receivers: receivers.clone(),
            incidents,
            events: events.clone(),
            last: 0,
            restored: restore,
        };
        let past = read.is_none().then_some(past);
        read.into_iter().for_each(|read| deliverer.restore(read));
        let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        let run = move || {
            runtime.block_on(async move {
                for (receiver, protocol) in work {
                    tokio::spawn(receiver.clone().run_evictions());
                    tokio::spawn(receiver.run(protocol, deliverer.journal.clone()));
                }
                deliverer.run(published, past).await;
            });
            // Do not wait for a DNS lookup or a disk in the blocking pool.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("deliver".into()).spawn(run).context("start a thread")?;
        Ok((
            Outbox {
                sender,
                thread,
                ended,
                events: [EVENTS; 2],
                events_of_owner: [Rates::new(EVENTS_OF_OWNER), Rates::new(EVENTS_OF_OWNER)],
                lost,
                health,
                followed: events,
            },
            restored,
        ))
    }

    /// Each receiver goes on with the URL, secret and certificates of the target of its name.
    pub fn renew(&self, targets: Vec<Target>) {
        for target in targets {
            if let Some((receiver, _)) = self.health.receivers.iter().find(|(it, _)| *it.name == *target.name) {
                receiver.renew(target);
            }
        }
    }

    /// Counters of losses, by stage.
    pub fn losses(&self) -> [(Stage, Arc<AtomicU64>); 4] {
        let Lost { outcomes, events, entries, alerts } = &self.lost;
        let of = |counter: &Arc<AtomicU64>| counter.clone();
        [
            (Stage::Outcome, of(outcomes)),
            (Stage::Event, of(events)),
            (Stage::Journal, of(entries)),
            (Stage::Sink, of(alerts)),
        ]
    }

    /// Takes an outcome of a sample at this time, with who answers for the workload that it is about. Alerts and incidents always pass;
    /// other events are rate limited.
    pub fn publish(&mut self, time: u64, owner: Option<&str>, outcome: Outcome) {
        let essential = matches!(outcome, Outcome::Alert(_) | Outcome::Incident(_));
        if !essential && !self.allows(time, owner, usize::from(outcome.is_frequent())) {
            self.lost.events.fetch_add(1, Ordering::Relaxed);
        } else if self.sender.try_send(Published { time, outcome }).is_err() {
            self.lost.outcomes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nobody's storm takes the others' share.
    fn allows(&mut self, time: u64, owner: Option<&str>, sort: usize) -> bool {
        owner.is_none_or(|owner| self.events_of_owner[sort].allows(owner, time)) && self.events[sort].allows(time)
    }

    /// Waits a bounded time until the remaining outcomes are written and delivered.
    pub fn close(self) {
        drop(self.sender);
        if self.thread.join().is_err() {
            tracing::error!("the delivery thread panicked");
        }
        if self.ended.recv_timeout(JOURNAL_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("writing the journal takes longer than {JOURNAL_TIMEOUT:?}: its last entries are lost");
        }
    }
}

impl DeliveryHealth {
    /// Passes the present state to `fold` as samples.
    pub fn read(&mut self, fold: &mut dyn FnMut(Sample)) {
        let time = clock::unix_ns();
        let mut say = |reading| fold(Sample { time, reading });
        let failing = self.journal.failing.load(Ordering::Relaxed);
        let read = self.journal.read.load(Ordering::Relaxed);
        say(Reading::Source(Source {
            source: "journal".into(),
            up: read && !failing,
            ns: self.journal.ns.load(Ordering::Relaxed),
            error: match (failing, read) {
                (true, _) => Some("cannot write the journal".to_owned()),
                (false, false) => Some("the journal has not been read yet".to_owned()),
                (false, true) => None,
            },
        }));
        for (receiver, before) in &mut self.receivers {
            let queue = &receiver.queue;
            let delivered = queue.delivered.load(Ordering::Relaxed);
            let failed = queue.failed.load(Ordering::Relaxed);
            say(Reading::Delivery(Delivery {
                sink: receiver.name.clone(),
                delivered: delivered - before.delivered,
                failed: failed - before.failed,
                queued: queue.len(),
            }));
            *before = Totals { delivered, failed };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Instant;

    use rusqlite::Connection;

    use super::*;
    use crate::deliver::post::Post;
    use crate::sink::test::{alert, incident};
    use collector_core::alert::{Alert, Severity};

    /// Whether the journal is up, and the number of queued alerts.
    fn state(outbox: &Outbox) -> (bool, u64) {
        let mut state = (false, 0);
        outbox.health.clone().read(&mut |sample| match sample.reading {
            Reading::Source(source) => state.0 = source.up,
            Reading::Delivery(delivery) => state.1 = delivery.queued,
            _ => {}
        });
        state
    }

    #[test]
    fn alerts_are_restored_from_a_slow_journal_once_it_is_read() {
        let dir = std::env::temp_dir().join(format!("headroom-outbox-{}", std::process::id()));
        let start = || {
            // Nothing listens there, so alerts stay queued.
            let post = Post::new("http://127.0.0.1:9/".parse().unwrap(), Duration::from_secs(1), None).unwrap();
            let target = Target {
                name: "a".into(),
                severity: Severity::Info,
                evictions: false,
                protocol: target::Protocol::Alertmanager(post),
            };
            let config = config::Journal { dir: dir.clone(), ..config::Config::default().journal };
            let host = Host { name: "node1".into(), url: "http://node1:9843/metrics".into() };
            Outbox::start(&config, None, &host, vec![target]).unwrap()
        };
        let (mut outbox, mut restored) = start();
        let past = restored.try_recv().unwrap();
        assert!(past.alerts.is_empty() && past.incidents.is_empty());
        outbox.publish(1, None, Outcome::Incident(Box::new(incident("i-1"))));
        outbox.publish(2, None, Outcome::Alert(Box::new(alert("Hot", 2))));
        outbox.close();

        let lock = Connection::open(dir.join(crate::sink::journal::file::FILE)).unwrap();
        lock.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
        let (mut outbox, mut restored) = start();
        assert!(restored.try_recv().is_err() && state(&outbox) == (false, 0), "the agent continues");
        outbox.publish(3, None, Outcome::Alert(Box::new(alert("New", 3))));
        drop(lock);
        let names = |alerts: Vec<Alert>| alerts.iter().map(|alert| alert.alert.to_string()).collect::<Vec<_>>();
        let past = restored.blocking_recv().unwrap();
        assert_eq!(names(past.alerts), ["Hot"], "without the new alert");
        assert_eq!(past.incidents, [incident("i-1")]);
        let deadline = Instant::now() + Duration::from_secs(60);
        while state(&outbox) != (true, 2) {
            assert!(Instant::now() < deadline, "{:?}", state(&outbox));
            std::thread::sleep(Duration::from_millis(20));
        }
        outbox.close();
        let (outbox, mut restored) = start();
        assert_eq!(names(restored.try_recv().unwrap().alerts), ["Hot", "New"]);
        outbox.close();
        fs::remove_dir_all(dir).unwrap();
    }
}
