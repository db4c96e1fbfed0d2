//! A bounded queue between two threads that takes memory only for what is in it. One of the standard library takes it for its whole
//! capacity at once. Knows nothing of what is queued.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, TryRecvError};
use std::time::Duration;

/// A queue for up to this many.
pub fn queue<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::channel();
    let room = Arc::new(AtomicUsize::new(capacity));
    (Sender { sender, room: room.clone() }, Receiver { receiver, room })
}

pub struct Sender<T> {
    sender: mpsc::Sender<T>,
    room: Arc<AtomicUsize>,
}

pub struct Receiver<T> {
    receiver: mpsc::Receiver<T>,
    room: Arc<AtomicUsize>,
}

impl<T> Sender<T> {
    /// `false` if there is no room, or nobody receives any more.
    pub fn try_send(&self, item: T) -> bool {
        let taken = self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(1));
        taken.is_ok() && self.sender.send(item).is_ok()
    }
}

impl<T> Receiver<T> {
    /// The next, if there is one.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.receiver.try_recv().inspect(|_| self.leave())
    }

    /// The next; waits for it this long at most.
    pub fn recv_timeout(&self, wait: Duration) -> Result<T, RecvTimeoutError> {
        self.receiver.recv_timeout(wait).inspect(|_| self.leave())
    }

    fn leave(&self) {
        self.room.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_as_many_as_it_may_in_their_order() {
        let (sender, receiver) = queue(2);
        let sent: Vec<bool> = (0..3).map(|number| sender.try_send(number)).collect();
        assert_eq!(sent, [true, true, false]);
        assert_eq!(receiver.try_recv(), Ok(0));
        assert!(sender.try_send(3) && !sender.try_send(4));
        assert_eq!(receiver.try_recv(), Ok(1));
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Ok(3));
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
    }

    #[test]
    fn both_ends_see_that_the_other_is_gone() {
        let (sender, receiver) = queue::<u8>(2);
        drop(receiver);
        assert!(!sender.try_send(1));
        let (sender, receiver) = queue(2);
        assert!(sender.try_send(1));
        assert_eq!(receiver.recv_timeout(Duration::from_secs(1)), Ok(1));
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        drop(sender);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Disconnected));
    }
}
