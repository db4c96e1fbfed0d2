//! Where the agent puts outcomes: it never waits, and what finds no room is counted. Starts and owns the thread that
//! delivers, has the journal start its own, and reports the health of both.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver as Channel, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::runtime::Builder;
use tokio::sync::mpsc;

use super::alertmanager;
use super::allowance::Allowance;
use super::queue::{Message, Queue};
use super::receiver::{INCIDENTS, Incidents, Language, Receiver};
use super::target::{Host, Protocol, Target};
use super::thread::{Deliverer, Published};
use crate::alert::Alert;
use crate::clock;
use crate::config;
use crate::outcome::Outcome;
use crate::sample::{Delivery, Reading, Sample, Source};
use crate::sink::journal::Limits;
use crate::sink::journal::thread::{Health, Journal, Past, Started, Wanted};
use crate::stage::Stage;

/// Outcomes that may wait for the delivery thread.
const OUTCOMES: usize = 4096;

/// Alerts that may wait for one receiver.
const QUEUE: usize = 10_000;

/// The journal may always be this large, in bytes.
const LEAST: u64 = 1 << 20;

/// How long start and shutdown wait for the journal.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the engine's outcomes.
pub struct Outbox {
    sender: mpsc::Sender<Published>,
    thread: JoinHandle<()>,
    /// Is hung up when the journal's thread has ended.
    ended: Channel<()>,
    allowance: Allowance,
    lost: Lost,
    /// Reads the health of the journal and of each receiver.
    pub health: DeliveryHealth,
    /// Alerts that were firing when the agent last ended.
    pub restored: Vec<Alert>,
}

/// Counters of what was lost, by stage.
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

/// Counters as they were last read.
#[derive(Clone, Copy, Default)]
struct Totals {
    delivered: u64,
    failed: u64,
}

impl Outbox {
    /// Starts the threads. Waits a bounded time for what the journal knows of the past.
    pub fn start(config: &config::Journal, host: &Host, targets: Vec<Target>) -> Result<Outbox> {
        let dir = config.dir.clone();
        let limits = Limits { max_age: config.max_age, max_bytes: (config.max_bytes as u64).max(LEAST) };
        let lost = Arc::new(AtomicU64::new(0));
        let sinks: Vec<Arc<str>> = targets.iter().map(|target| target.name.as_str().into()).collect();
        let wanted = Wanted { sinks: sinks.clone(), pending: QUEUE, incidents: INCIDENTS };
        let Started { journal, past, ended } = Journal::start(dir.clone(), limits, wanted)?;
        let Past { firing, pending, incidents: recent, last } = past.recv_timeout(PATIENCE).unwrap_or_default();
        let incidents = Arc::new(Incidents::default());
        recent.into_iter().for_each(|incident| incidents.keep(Arc::new(incident)));
        let mut pending = pending.into_iter();
        let mut work = Vec::new();
        for (target, name) in targets.into_iter().zip(sinks) {
            let receiver =
                Arc::new(Receiver { name, severity: target.severity, queue: Queue::new(QUEUE, lost.clone()) });
            for (id, alert) in pending.next().unwrap_or_default() {
                receiver.queue.push(Arc::new(Message { id, alert }));
            }
            let language = match target.protocol {
                Protocol::Webhook(secret) => {
                    Language::Webhook { host: host.name.clone(), secret, incidents: incidents.clone() }
                }
                Protocol::Alertmanager => {
                    let wanted = firing.iter().filter(|alert| receiver.wants(alert)).cloned();
                    Language::Alertmanager(alertmanager::Firing::new(host.name.clone(), host.url.clone(), wanted))
                }
            };
            work.push((receiver, target.post, language));
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
        let deliverer = Deliverer { journal, dir, limits, receivers: receivers.clone(), incidents, last };
        let runtime = Builder::new_current_thread().enable_all().build().context("start a runtime")?;
        let run = move || {
            runtime.block_on(async move {
                for (receiver, post, language) in work {
                    tokio::spawn(receiver.work(post, language, deliverer.journal.clone()));
                }
                deliverer.run(published).await;
            });
            // A name that is being looked up is not waited for.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("deliver".into()).spawn(run).context("start a thread")?;
        Ok(Outbox { sender, thread, ended, allowance: Allowance::default(), lost, health, restored: firing })
    }

    /// What was lost on the way, by stage.
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

    /// Takes an outcome of a sample of this time. Alerts and incidents always pass, other events at a bounded rate.
    pub fn publish(&mut self, time: u64, outcome: Outcome) {
        let essential = matches!(outcome, Outcome::Alert(_) | Outcome::Incident(_));
        if !essential && !self.allowance.allows(time) {
            self.lost.events.fetch_add(1, Ordering::Relaxed);
        } else if self.sender.try_send(Published { time, outcome }).is_err() {
            self.lost.outcomes.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits a bounded time until what is left is written and delivered.
    pub fn close(self) {
        drop(self.sender);
        if self.thread.join().is_err() {
            tracing::error!("the thread that delivers has panicked");
        }
        if self.ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            tracing::error!("the journal takes longer than {PATIENCE:?}: its last entries are lost");
        }
    }
}

impl DeliveryHealth {
    /// Hands the present state to `fold`.
    pub fn read(&mut self, fold: &mut dyn FnMut(Sample)) {
        let time = clock::unix_ns();
        let mut say = |reading| fold(Sample { time, reading });
        let failing = self.journal.failing.load(Ordering::Relaxed);
        say(Reading::Source(Source {
            source: "journal".into(),
            up: !failing,
            ns: self.journal.ns.load(Ordering::Relaxed),
            error: failing.then(|| "it cannot be written".to_owned()),
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
