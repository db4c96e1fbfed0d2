//! Turns: what is read besides a snapshot may be slow, such as a disk. One of each kind is read at a time, few wait for it, and nobody
//! waits long. Knows nothing of pages.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

/// How long what is slow may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// How many of one kind are read or wait. Each keeps what it completes, such as a megabyte of the history.
pub(super) const PLACES: usize = 8;

/// What is read besides a snapshot. One of each is read at a time, and what is slow delays its own kind alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The history's tier on disk.
    Disk,
    Processes,
    /// What the host can do.
    Host,
}

/// The turns and places of each [`Lane`].
#[derive(Clone, Debug)]
pub struct Turns([[Arc<Semaphore>; 2]; 3]);

impl Default for Turns {
    fn default() -> Turns {
        Turns([(); 3].map(|()| [1, PLACES].map(|count| Arc::new(Semaphore::new(count)))))
    }
}

/// Somebody who may wait for a turn.
pub(super) struct Place {
    turn: Arc<Semaphore>,
    permit: OwnedSemaphorePermit,
}

impl Turns {
    /// A place in a lane, if one is free.
    pub(super) fn place(&self, lane: Lane) -> Option<Place> {
        let [turn, places] = &self.0[lane as usize];
        Some(Place { turn: turn.clone(), permit: places.clone().try_acquire_owned().ok()? })
    }
}

impl Place {
    /// Completes this when its turn comes; none if it takes too long. If it has begun, it goes on, keeps its place, and the next one
    /// waits for it.
    pub(super) async fn complete<T: Send + 'static>(
        self,
        complete: impl FnOnce() -> T + Send + 'static,
    ) -> Option<Option<T>> {
        let run = async { blocking((self.turn.acquire_owned().await.ok()?, self.permit), complete).await };
        timeout(PATIENCE, run).await.ok()
    }
}

/// Runs this on a thread of the blocking pool, within `permit`; none if it panicked.
pub(super) async fn blocking<T: Send + 'static>(
    permit: impl Send + 'static,
    make: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let made = spawn_blocking(move || {
        let _permit = permit;
        make()
    });
    made.await.inspect_err(|_| tracing::error!("rendering a page panicked: this is a bug in headroom")).ok()
}
