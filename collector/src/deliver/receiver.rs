//! One receiver's task: takes alerts from its queue, posts them, and retries with growing pauses. Knows nothing of the other
//! receivers.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::{Instant, sleep, sleep_until};

use super::alertmanager::{self, Firing};
use super::post::{Failure, Post};
use super::queue::{Message, Queue};
use super::webhook;
use crate::alert::{Alert, Severity};
use crate::clock;
use crate::config::secret::Secret;
use crate::incident::Incident;
use crate::sink::journal::Progress;
use crate::sink::journal::thread::Journal;
use crate::sink::journal::write::Entry;

/// Alerts in one post.
const BATCH: usize = 64;

/// The pause after the first failure, and the longest; each is up to as long again, lest all hosts come at once.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// The last incidents, for whoever tells of one.
#[derive(Debug, Default)]
pub struct Incidents(Mutex<VecDeque<Arc<Incident>>>);

/// How many: those that a batch of alerts may speak of, and no more, for each may be large.
pub const INCIDENTS: usize = 64;

impl Incidents {
    /// Keeps one, in place of what was known of it.
    pub fn keep(&self, incident: Arc<Incident>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|other| other.id != incident.id);
        if kept.len() >= INCIDENTS {
            kept.pop_front();
        }
        kept.push_back(incident);
    }

    /// Puts older ones, the newest last, before those that are kept.
    pub fn restore(&self, past: Vec<Incident>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for incident in past.into_iter().rev() {
            if kept.len() < INCIDENTS && !kept.iter().any(|other| other.id == incident.id) {
                kept.push_front(Arc::new(incident));
            }
        }
    }

    /// The one of this id, if it is still at hand.
    pub fn get(&self, id: &str) -> Option<Incident> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|incident| incident.id == id).map(|incident| Incident::clone(incident))
    }
}

/// What a receiver's posts are made from.
pub enum Language {
    /// See [`webhook`].
    Webhook {
        /// This host's name.
        host: String,
        /// What bodies are signed with.
        secret: Secret,
        /// Where incidents are.
        incidents: Arc<Incidents>,
    },
    /// See [`alertmanager`].
    Alertmanager(Firing),
}

/// One receiver.
pub struct Receiver {
    /// What it is called, in the journal, in metrics and in the log.
    pub name: Arc<str>,
    /// Less urgent alerts are not for it.
    pub severity: Severity,
    /// What waits for it.
    pub queue: Queue,
    /// Alerts that fired before the agent started, until its task takes them.
    pub restored: Mutex<Vec<Alert>>,
}

impl Receiver {
    /// Whether an alert is for it.
    pub fn wants(&self, alert: &Alert) -> bool {
        alert.severity >= self.severity
    }

    /// These fired before the agent started, as the journal has it.
    pub fn restore(&self, alerts: &[Alert]) {
        let wanted = alerts.iter().filter(|alert| self.wants(alert)).cloned();
        self.restored().extend(wanted);
    }

    fn restored(&self) -> MutexGuard<'_, Vec<Alert>> {
        self.restored.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers what is queued, for ever.
    pub async fn work(self: Arc<Self>, post: Post, mut language: Language, journal: Journal) {
        let mut again = Instant::now() + alertmanager::AGAIN;
        loop {
            let batch = tokio::select! {
                biased;
                batch = self.queue.take(BATCH) => batch,
                () = sleep_until(again) => {
                    again = Instant::now() + alertmanager::AGAIN;
                    self.take_up(&mut language);
                    self.remind(&post, &language).await;
                    continue;
                }
            };
            // Before the batch, which may tell that one of them is over.
            self.take_up(&mut language);
            self.deliver(&post, &mut language, &journal, &batch).await;
            self.queue.done(batch.len());
        }
    }

    /// Only an Alertmanager is told again of what fires.
    fn take_up(&self, language: &mut Language) {
        let restored = std::mem::take(&mut *self.restored());
        if let Language::Alertmanager(firing) = language {
            firing.restore(restored);
        }
    }

    /// Tries until the batch has arrived, or is refused.
    async fn deliver(&self, post: &Post, language: &mut Language, journal: &Journal, batch: &[Arc<Message>]) {
        let mut pauses = pauses();
        let mut failed = false;
        loop {
            match send(post, language, batch).await {
                Ok(()) => {
                    if failed {
                        tracing::info!(sink = &*self.name, "alerts are delivered again");
                    }
                    return self.arrived(language, journal, batch);
                }
                Err(Failure::Refused(why)) if batch.len() == 1 => {
                    return self.refused(journal, &batch[0], &why);
                }
                // One of them is not to its liking: which?
                Err(Failure::Refused(_)) => {
                    for message in batch.chunks(1) {
                        // A future within itself has no size of its own.
                        Box::pin(self.deliver(post, language, journal, message)).await;
                    }
                    return;
                }
                Err(Failure::Later(why)) => {
                    self.queue.failed.fetch_add(1, Ordering::Relaxed);
                    if !std::mem::replace(&mut failed, true) {
                        tracing::warn!(sink = &*self.name, "alerts are not delivered, and will be tried again: {why}");
                    }
                    sleep(pauses.next().unwrap_or(PAUSE.1)).await;
                }
            }
        }
    }

    fn arrived(&self, language: &mut Language, journal: &Journal, batch: &[Arc<Message>]) {
        if let Language::Alertmanager(firing) = language {
            firing.accepted(batch);
        }
        self.queue.delivered.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.record(journal, batch, Progress::Delivered);
    }

    fn refused(&self, journal: &Journal, message: &Arc<Message>, why: &str) {
        tracing::error!(sink = &*self.name, alert = &*message.alert.alert, "an alert is refused, and lost: {why}");
        self.queue.failed.fetch_add(1, Ordering::Relaxed);
        self.queue.lost.fetch_add(1, Ordering::Relaxed);
        self.record(journal, std::slice::from_ref(message), Progress::Refused);
    }

    /// Has the journal write down what became of these.
    pub fn record(&self, journal: &Journal, messages: &[Arc<Message>], progress: Progress) {
        let alerts = messages.iter().map(|message| message.id).collect();
        let entry = Entry::Progress { sink: self.name.clone(), alerts, progress, time: clock::unix_ns() };
        // Nobody waits for it: lost, it costs a second delivery after a restart.
        drop(journal.write(vec![entry]));
    }

    /// Posts the firing alerts to an Alertmanager once more.
    async fn remind(&self, post: &Post, language: &Language) {
        let Language::Alertmanager(firing) = language else { return };
        for body in firing.again(clock::unix_ns(), BATCH) {
            if let Err(failure) = post.json(body, &[]).await {
                self.queue.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(sink = &*self.name, "what fires could not be told again: {}", failure.text());
                return;
            }
        }
    }
}

async fn send(post: &Post, language: &Language, batch: &[Arc<Message>]) -> Result<(), Failure> {
    match language {
        Language::Webhook { host, secret, incidents } => {
            let body = webhook::body(host, batch, |id| incidents.get(id));
            let signed = !secret.is_empty();
            let signature = signed.then(|| (webhook::SIGNATURE, webhook::signature(secret.reveal(), &body)));
            post.json(body, signature.as_slice()).await
        }
        Language::Alertmanager(firing) => post.json(firing.body(batch, clock::unix_ns()), &[]).await,
    }
}

fn pauses() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(PAUSE.0)
        .with_max_delay(PAUSE.1)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test::incident;

    #[test]
    fn pauses_grow_to_a_bound_and_differ() {
        let lengths: Vec<Duration> = pauses().take(12).collect();
        assert!(lengths[0] >= PAUSE.0 && lengths[0] <= PAUSE.0 * 2, "{lengths:?}");
        assert!(lengths[11] >= PAUSE.1 && lengths.iter().all(|it| *it <= PAUSE.1 * 2), "{lengths:?}");
        assert_ne!(lengths, pauses().take(12).collect::<Vec<_>>());
    }

    #[test]
    fn the_newest_incidents_are_at_hand_as_they_were_last_told() {
        let incidents = Incidents::default();
        for number in 0..=INCIDENTS {
            incidents.keep(Arc::new(incident(&number.to_string())));
        }
        assert!(incidents.get("0").is_none());
        let complete = Incident { complete: true, ..incident("1") };
        incidents.keep(Arc::new(complete.clone()));
        assert_eq!(incidents.get("1").as_ref(), Some(&complete));
        assert!(incidents.get("2").is_some(), "told again, it takes no other's place");
        let incidents = Incidents::default();
        incidents.keep(Arc::new(complete.clone()));
        incidents.restore((0..=INCIDENTS).map(|number| incident(&number.to_string())).collect());
        assert_eq!(incidents.get("1"), Some(complete), "what is known is newer");
        let ids: Vec<String> = incidents.0.lock().unwrap().iter().map(|incident| incident.id.clone()).collect();
        assert_eq!((ids.len(), &*ids[0], &*ids[62], &*ids[63]), (INCIDENTS, "2", "64", "1"));
    }
}
