//! The channel of names that are found, between ticks too.

use collector_core::sample::Sample;

/// Capacity of the channels to and from the thread. A node runs a few hundred containers.
pub(super) const CHANNEL_CAPACITY: usize = 4096;

/// The sending end of [`NameReceiver`].
pub type NameSender = tokio::sync::mpsc::Sender<Sample>;

/// A channel for the names that are found.
pub fn channel() -> (NameSender, NameReceiver) {
    let (sender, receiver) = tokio::sync::mpsc::channel(CHANNEL_CAPACITY);
    (sender, NameReceiver(receiver))
}

/// Receives names as the thread finds them.
pub struct NameReceiver(tokio::sync::mpsc::Receiver<Sample>);

impl NameReceiver {
    /// The next name, if one is ready.
    pub fn try_next(&mut self) -> Option<Sample> {
        self.0.try_recv().ok()
    }

    /// Waits for the next name. Never returns once the thread has ended.
    pub async fn next(&mut self) -> Sample {
        match self.0.recv().await {
            Some(sample) => sample,
            None => std::future::pending().await,
        }
    }
}
