//! Which leases are to be given up, for webhooks that want to know. Such news is soon old: what cannot be delivered while it matters is
//! counted as lost, and never repeated after a restart. Knows nothing of alerts.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use collector_core::lease::Notice;
use collector_core::lease::eviction::State;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::post::{Failure, Post};
use super::queue::Queue;
use super::webhook;
use crate::clock;
use crate::config::secret::Secret;
use crate::mutex::lock;

/// Notices that wait for one receiver, and in one POST.
const WAITING: usize = 1024;
const BATCH: usize = 64;
/// Pauses between attempts.
const PAUSES: [Duration; 3] = [Duration::from_millis(250), Duration::from_secs(1), Duration::from_secs(4)];

/// What one webhook is to hear.
#[derive(Debug)]
pub struct Evictions {
    host: String,
    waiting: Mutex<VecDeque<Notice>>,
    arrived: Notify,
    /// Where to, and how to sign.
    target: Mutex<(Post, Secret)>,
}

impl Evictions {
    pub fn new(host: String, post: Post, secret: Secret) -> Evictions {
        let target = Mutex::new((post, secret));
        Evictions { host, waiting: Mutex::default(), arrived: Notify::new(), target }
    }

    /// Goes on with this URL and secret.
    pub fn renew(&self, post: Post, secret: Secret) {
        *lock(&self.target) = (post, secret);
    }

    /// The oldest goes if there are too many.
    pub fn push(&self, notice: Notice, queue: &Queue) {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= WAITING {
            waiting.pop_front();
            queue.lost.fetch_add(1, Ordering::Relaxed);
        }
        waiting.push_back(notice);
        self.arrived.notify_one();
    }

    async fn take(&self) -> Vec<Notice> {
        loop {
            {
                let mut waiting = lock(&self.waiting);
                if !waiting.is_empty() {
                    let count = BATCH.min(waiting.len());
                    return waiting.drain(..count).collect();
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Delivers, forever.
    pub async fn run(&self, name: &str, queue: &Queue) {
        loop {
            let batch = self.take().await;
            let count = batch.len() as u64;
            if let Err(why) = self.deliver(batch, queue).await {
                queue.lost.fetch_add(count, Ordering::Relaxed);
                tracing::warn!(sink = name, "{count} requests to give up a reservation were not delivered: {why}");
            }
        }
    }

    async fn deliver(&self, batch: Vec<Notice>, queue: &Queue) -> Result<(), String> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let now = clock::unix_ns();
            // Whoever is told late would give up what is asked for again anyway, or is not wanted any more.
            let timely = |notice: &&Notice| notice.state != State::Asked || now < notice.until;
            let timely: Vec<&Notice> = batch.iter().filter(timely).collect();
            if timely.is_empty() {
                return Err("their time is over".to_owned());
            }
            let body = webhook::evictions(&self.host, &timely);
            let (post, secret) = lock(&self.target).clone();
            let why = match post.json(body.clone(), &webhook::signatures(&secret, now, &body)).await {
                Ok(()) => {
                    let late = batch.len() - timely.len();
                    queue.lost.fetch_add(late as u64, Ordering::Relaxed);
                    return Ok(());
                }
                Err(Failure::Refused(why)) => return Err(why),
                Err(Failure::Later(why)) => why,
            };
            queue.failed.fetch_add(1, Ordering::Relaxed);
            let Some(pause) = pauses.next() else { return Err(why) };
            sleep(pause).await;
        }
    }
}
