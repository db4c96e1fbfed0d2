//! One receiver's task: takes alerts from its queue, sends them, and retries with backoff. Knows nothing of other receivers.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use collector_core::alert::{Alert, Severity};
use collector_core::incident::Incident;
use tokio::time::{Instant, sleep, sleep_until};

use super::alertmanager::{self, Firing};
use super::eviction::Evictions;
use super::file::Lines;
use super::post::{Failure, Post};
use super::queue::{Message, Queue};
use super::target::{self, Target};
use super::webhook;
use crate::clock;
use crate::config::secret::Secret;
use crate::mutex::lock;
use crate::sink::journal::Progress;
use crate::sink::journal::thread::Journal;
use crate::sink::journal::write::Entry;

/// Maximum alerts in one POST.
const BATCH: usize = 64;

/// First and longest backoff. Jitter adds up to the same again, so that hosts do not retry simultaneously.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// The latest incidents, to include in webhook bodies.
#[derive(Debug, Default)]
pub struct Incidents(Mutex<VecDeque<Arc<Incident>>>);

/// Number of kept incidents: enough for one batch of alerts, since each may be large.
pub const INCIDENTS: usize = 64;

impl Incidents {
    /// Keeps an incident; replaces an older state of the same one.
    pub fn keep(&self, incident: Arc<Incident>) {
        let mut kept = lock(&self.0);
        kept.retain(|other| other.id != incident.id);
        if kept.len() >= INCIDENTS {
            kept.pop_front();
        }
        kept.push_back(incident);
    }

    /// Adds older incidents, sorted with the newest last. Kept ones take precedence.
    pub fn restore(&self, past: Vec<Incident>) {
        let mut kept = lock(&self.0);
        for incident in past.into_iter().rev() {
            if kept.len() < INCIDENTS && !kept.iter().any(|other| other.id == incident.id) {
                kept.push_front(Arc::new(incident));
            }
        }
    }

    pub fn get(&self, id: &str) -> Option<Incident> {
        let kept = lock(&self.0);
        kept.iter().find(|incident| incident.id == id).map(|incident| Incident::clone(incident))
    }
}

/// The protocol of a receiver, with its state.
pub enum Protocol {
    Webhook { post: Post, host: String, secret: Secret, incidents: Arc<Incidents> },
    Alertmanager { post: Post, firing: Firing },
    File(Lines),
}

pub struct Receiver {
    /// Name in journal, metrics and log.
    pub name: Arc<str>,
    /// Less severe alerts are not sent.
    pub severity: Severity,
    pub queue: Queue,
    /// Alerts that fired before the agent started, until the task takes them.
    pub restored: Mutex<Vec<Alert>>,
    /// Another URL or secret, until the task takes it.
    pub renewed: Mutex<Option<Target>>,
    /// A webhook that wants to know which leases are to be given up.
    pub evictions: Option<Evictions>,
}

impl Receiver {
    pub fn wants(&self, alert: &Alert) -> bool {
        alert.severity >= self.severity
    }

    /// Restores alerts from the journal that fired before the agent started.
    pub fn restore(&self, alerts: &[Alert]) {
        let wanted = alerts.iter().filter(|alert| self.wants(alert)).cloned();
        self.restored().extend(wanted);
    }

    /// Goes on with this URL and secret, from the next attempt on.
    pub fn renew(&self, target: Target) {
        if let (Some(evictions), target::Protocol::Webhook(post, secret)) = (&self.evictions, &target.protocol) {
            evictions.renew(post.clone(), secret.clone());
        }
        *lock(&self.renewed) = Some(target);
    }

    fn take_renewed(&self, protocol: &mut Protocol) {
        let renewed = lock(&self.renewed).take();
        let Some(target) = renewed else { return };
        match (protocol, target.protocol) {
            (Protocol::Webhook { post, secret, .. }, target::Protocol::Webhook(new_post, new_secret)) => {
                (*post, *secret) = (new_post, new_secret);
            }
            (Protocol::Alertmanager { post, .. }, target::Protocol::Alertmanager(new)) => *post = new,
            // Files, and a receiver of another kind with the same name, need a restart.
            _ => {}
        }
    }

    fn restored(&self) -> MutexGuard<'_, Vec<Alert>> {
        lock(&self.restored)
    }

    /// Delivers what is to be heard of evictions, forever.
    pub async fn run_evictions(self: Arc<Self>) {
        if let Some(evictions) = &self.evictions {
            evictions.run(&self.name, &self.queue).await;
        }
    }

    /// Delivers queued alerts, forever.
    pub async fn run(self: Arc<Self>, mut protocol: Protocol, journal: Journal) {
        let mut next_repost = Instant::now() + alertmanager::REPOST_INTERVAL;
        loop {
            let batch = tokio::select! {
                biased;
                batch = self.queue.take(BATCH) => batch,
                () = sleep_until(next_repost) => {
                    next_repost = Instant::now() + alertmanager::REPOST_INTERVAL;
                    self.take_restored(&mut protocol);
                    self.take_renewed(&mut protocol);
                    self.repost(&protocol).await;
                    continue;
                }
            };
            // Before the batch, which may resolve one of them.
            self.take_restored(&mut protocol);
            self.deliver(&mut protocol, &journal, &batch).await;
            self.queue.done(batch.len());
        }
    }

    /// Moves restored alerts to the Alertmanager's state. Webhooks are not sent firing alerts again.
    fn take_restored(&self, protocol: &mut Protocol) {
        let restored = std::mem::take(&mut *self.restored());
        if let Protocol::Alertmanager { firing, .. } = protocol {
            firing.restore(restored);
        }
    }

    /// Retries until the batch is delivered or refused.
    async fn deliver(&self, protocol: &mut Protocol, journal: &Journal, batch: &[Arc<Message>]) {
        let mut delays = backoff();
        let mut failed = false;
        loop {
            self.take_renewed(protocol);
            match send(protocol, batch).await {
                Ok(()) => {
                    if failed {
                        tracing::info!(sink = &*self.name, "delivery of alerts works again");
                    }
                    return self.delivered(protocol, journal, batch);
                }
                Err(Failure::Refused(why)) if batch.len() == 1 => {
                    return self.refused(journal, &batch[0], &why);
                }
                // One of the alerts is refused: send each on its own to find out which.
                Err(Failure::Refused(_)) => {
                    for message in batch.chunks(1) {
                        // A recursive future must be boxed.
                        Box::pin(self.deliver(protocol, journal, message)).await;
                    }
                    return;
                }
                Err(Failure::Later(why)) => {
                    self.queue.failed.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut failed, true) {
                        tracing::warn!(sink = &*self.name, "delivery of alerts failed and will be retried: {why}");
                    }
                    sleep(delays.next().unwrap_or(BACKOFF.1)).await;
                }
            }
        }
    }

    fn delivered(&self, protocol: &mut Protocol, journal: &Journal, batch: &[Arc<Message>]) {
        if let Protocol::Alertmanager { firing, .. } = protocol {
            firing.accepted(batch);
        }
        self.queue.delivered.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.record(journal, batch, Progress::Delivered);
    }

    fn refused(&self, journal: &Journal, message: &Arc<Message>, why: &str) {
        tracing::error!(
            sink = &*self.name,
            alert = &*message.alert.alert,
            "the receiver refused an alert, which is lost: {why}"
        );
        self.queue.failed.fetch_add(1, Ordering::Relaxed);
        self.queue.lost.fetch_add(1, Ordering::Relaxed);
        self.record(journal, std::slice::from_ref(message), Progress::Refused);
    }

    /// Records the delivery state of these messages in the journal.
    pub fn record(&self, journal: &Journal, messages: &[Arc<Message>], progress: Progress) {
        let alerts = messages.iter().map(|message| message.id).collect();
        let entry = Entry::Progress { sink: self.name.clone(), alerts, progress, time: clock::unix_ns() };
        // Not awaited: if it is lost, the alert is delivered twice after a restart.
        drop(journal.write(vec![entry]));
    }

    /// Posts the firing alerts to Alertmanager again.
    async fn repost(&self, protocol: &Protocol) {
        let Protocol::Alertmanager { post, firing } = protocol else { return };
        for body in firing.bodies(clock::unix_ns(), BATCH) {
            if let Err(failure) = post.json(body, &[]).await {
                self.queue.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(sink = &*self.name, "cannot repeat firing alerts: {}", failure.text());
                return;
            }
        }
    }
}

async fn send(protocol: &mut Protocol, batch: &[Arc<Message>]) -> Result<(), Failure> {
    match protocol {
        Protocol::Webhook { post, host, secret, incidents } => {
            let body = webhook::body(host, batch, |id| incidents.get(id));
            let headers = webhook::signatures(secret, clock::unix_ns(), &body);
            post.json(body, &headers).await
        }
        Protocol::Alertmanager { post, firing } => post.json(firing.body(batch, clock::unix_ns()), &[]).await,
        Protocol::File(lines) => lines.append(batch).await,
    }
}

fn backoff() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF.0)
        .with_max_delay(BACKOFF.1)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test::incident;

    #[test]
    fn delays_grow_to_a_bound_and_differ() {
        let lengths: Vec<Duration> = backoff().take(12).collect();
        assert!(lengths[0] >= BACKOFF.0 && lengths[0] <= BACKOFF.0 * 2, "{lengths:?}");
        assert!(lengths[11] >= BACKOFF.1 && lengths.iter().all(|it| *it <= BACKOFF.1 * 2), "{lengths:?}");
        assert_ne!(lengths, backoff().take(12).collect::<Vec<_>>());
    }

    #[test]
    fn the_newest_incidents_are_kept_in_their_last_state() {
        let incidents = Incidents::default();
        for number in 0..=INCIDENTS {
            incidents.keep(Arc::new(incident(&number.to_string())));
        }
        assert!(incidents.get("0").is_none());
        let complete = Incident { complete: true, ..incident("1") };
        incidents.keep(Arc::new(complete.clone()));
        assert_eq!(incidents.get("1").as_ref(), Some(&complete));
        assert!(incidents.get("2").is_some(), "an update does not displace another incident");
        let incidents = Incidents::default();
        incidents.keep(Arc::new(complete.clone()));
        incidents.restore((0..=INCIDENTS).map(|number| incident(&number.to_string())).collect());
        assert_eq!(incidents.get("1"), Some(complete), "the kept state is newer");
        let ids: Vec<String> = incidents.0.lock().unwrap().iter().map(|incident| incident.id.clone()).collect();
        assert_eq!((ids.len(), &*ids[0], &*ids[62], &*ids[63]), (INCIDENTS, "2", "64", "1"));
    }
}
