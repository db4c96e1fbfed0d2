//! One receiver's bounded queue: a dead receiver delays no other and uses bounded memory. Knows neither receivers nor protocols.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::Notify;

use crate::mutex::lock;
use collector_core::alert::Alert;

/// An alert to deliver.
#[derive(Debug, PartialEq)]
pub struct Message {
    /// Id in the journal.
    pub id: u64,
    pub alert: Alert,
}

/// Queued alerts of one receiver, and counters of deliveries.
#[derive(Debug)]
pub struct Queue {
    waiting: Mutex<VecDeque<Arc<Message>>>,
    capacity: usize,
    arrived: Notify,
    /// Delivered alerts.
    pub delivered: AtomicU64,
    /// Failed attempts.
    pub failed: AtomicU64,
    /// Alerts that were refused, or dropped from a full queue. One counter for all receivers.
    pub lost: Arc<AtomicU64>,
    /// Queued alerts, including those being sent.
    queued: AtomicU64,
}

impl Queue {
    /// An empty queue for at most `capacity` alerts; `lost` counts dropped ones.
    pub fn new(capacity: usize, lost: Arc<AtomicU64>) -> Queue {
        Queue {
            waiting: Mutex::default(),
            capacity,
            arrived: Notify::new(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            lost,
            queued: AtomicU64::new(0),
        }
    }

    /// Appends a message. A full queue drops and returns its oldest message, because the newest shows the present state.
    pub fn push(&self, message: Arc<Message>) -> Option<Arc<Message>> {
        let mut waiting = self.waiting();
        let over = if waiting.len() < self.capacity { None } else { waiting.pop_front() };
        waiting.push_back(message);
        match over {
            Some(_) => self.lost.fetch_add(1, Ordering::Relaxed),
            None => self.queued.fetch_add(1, Ordering::Relaxed),
        };
        self.arrived.notify_one();
        over
    }

    /// Puts older messages, sorted with the newest last, before those that wait. Drops and returns the oldest ones that have no
    /// room.
    pub fn restore(&self, mut past: Vec<Arc<Message>>) -> Vec<Arc<Message>> {
        let mut waiting = self.waiting();
        let room = self.capacity.saturating_sub(waiting.len());
        let kept = past.split_off(past.len().saturating_sub(room));
        self.lost.fetch_add(past.len() as u64, Ordering::Relaxed);
        self.queued.fetch_add(kept.len() as u64, Ordering::Relaxed);
        kept.into_iter().rev().for_each(|message| waiting.push_front(message));
        self.arrived.notify_one();
        past
    }

    /// Waits for messages and takes up to `most` of the oldest. They stay counted until [`done`](Self::done).
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

    /// Marks `count` taken messages as delivered or given up.
    pub fn done(&self, count: usize) {
        self.queued.fetch_sub(count as u64, Ordering::Relaxed);
    }

    /// Queued messages, including those taken and not done.
    pub fn len(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<Arc<Message>>> {
        lock(&self.waiting)
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
    async fn a_full_queue_drops_and_counts_the_oldest() {
        let queue = Queue::new(3, Arc::default());
        let over: Vec<_> = (1..=5).filter_map(|id| queue.push(message(id))).collect();
        assert_eq!(ids(&over), [1, 2]);
        assert_eq!((queue.lost.load(Ordering::Relaxed), queue.len()), (2, 3));
        let taken = queue.take(2).await;
        assert_eq!(ids(&taken), [3, 4]);
        assert_eq!(queue.len(), 3, "messages being sent are still counted");
        queue.done(taken.len());
        assert_eq!((ids(&queue.take(9).await), queue.len()), (vec![5], 1));
    }

    #[tokio::test]
    async fn restored_messages_come_first_and_only_the_oldest_are_dropped() {
        let queue = Queue::new(3, Arc::default());
        queue.push(message(8));
        let over = queue.restore([5, 6, 7].map(message).into());
        assert_eq!((ids(&over), queue.lost.load(Ordering::Relaxed), queue.len()), (vec![5], 1, 3));
        assert_eq!(ids(&queue.take(9).await), [6, 7, 8]);
    }

    #[tokio::test]
    async fn a_waiting_task_is_woken() {
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
