//! One receiver's queue: what waits for it, bounded, so that a receiver that is dead delays nobody else and costs no more
//! than its bound. Knows neither what a receiver is nor how anything gets there.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::alert::Alert;

/// An alert on its way.
#[derive(Debug, PartialEq)]
pub struct Message {
    /// Its id in the journal.
    pub id: u64,
    pub alert: Alert,
}

/// What waits for one receiver, and what became of the rest.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<VecDeque<Arc<Message>>>,
    most: usize,
    arrived: Notify,
    /// Alerts that the receiver has.
    pub delivered: AtomicU64,
    /// Attempts that failed.
    pub failed: AtomicU64,
    /// Alerts that some receiver never got: it refused them, or there were too many. One counter for all.
    pub lost: Arc<AtomicU64>,
    /// Alerts that wait, those that are being sent included.
    waits: AtomicU64,
}

impl Queue {
    /// An empty one, for at most so many; what is lost is counted there.
    pub fn new(most: usize, lost: Arc<AtomicU64>) -> Queue {
        Queue {
            waiting: Mutex::default(),
            most,
            arrived: Notify::new(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lost,
            waits: AtomicU64::new(0),
        }
    }

    /// Puts one at the end. Where there is no room the oldest makes it, and comes back: what is newest says how things stand.
    pub fn push(&self, message: Arc<Message>) -> Option<Arc<Message>> {
        let mut waiting = self.waiting();
        let over = if waiting.len() < self.most { None } else { waiting.pop_front() };
        waiting.push_back(message);
        match over {
            Some(_) => self.lost.fetch_add(1, Ordering::Relaxed),
            None => self.waits.fetch_add(1, Ordering::Relaxed),
        };
        self.arrived.notify_one();
        over
    }

    /// Takes the oldest, at most so many and at least one, waiting for it. Each stays counted until it is [`done`](Self::done).
    pub async fn take(&self, most: usize) -> Vec<Arc<Message>> {
        loop {
            {
                let mut waiting = self.waiting();
                if !waiting.is_empty() {
                    let count = most.min(waiting.len());
                    return waiting.drain(..count).collect();
                }
            }
            self.arrived.notified().await;
        }
    }

    /// So many of those that were taken are no longer under way.
    pub fn done(&self, count: usize) {
        self.waits.fetch_sub(count as u64, Ordering::Relaxed);
    }

    /// How many wait, those that were taken and are not done included.
    pub fn len(&self) -> u64 {
        self.waits.load(Ordering::Relaxed)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Message>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test::alert;

    fn message(id: u64) -> Arc<Message> {
        Arc::new(Message { id, alert: alert("A", id) })
    }

    fn ids(messages: &[Arc<Message>]) -> Vec<u64> {
        messages.iter().map(|message| message.id).collect()
    }

    #[tokio::test]
    async fn the_oldest_makes_room_and_is_counted() {
        let queue = Queue::new(3, Arc::default());
        let over: Vec<_> = (1..=5).filter_map(|id| queue.push(message(id))).collect();
        assert_eq!(ids(&over), [1, 2]);
        assert_eq!((queue.lost.load(Ordering::Relaxed), queue.len()), (2, 3));
        let taken = queue.take(2).await;
        assert_eq!(ids(&taken), [3, 4]);
        assert_eq!(queue.len(), 3, "what is under way still waits");
        queue.done(taken.len());
        assert_eq!((ids(&queue.take(9).await), queue.len()), (vec![5], 1));
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let queue = Arc::new(Queue::new(3, Arc::default()));
        let waiter = tokio::spawn({
            let queue = queue.clone();
            async move { queue.take(9).await }
        });
        tokio::task::yield_now().await;
        queue.push(message(1));
        assert_eq!(ids(&waiter.await.unwrap()), [1]);
    }
}
