//! What the endpoint reports about itself: what it refused and denied, and which listeners are open. Knows no sockets.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::denial::Denials;

#[derive(Debug, Default)]
pub struct Tally {
    /// Connections and requests that found no place, or lost theirs.
    pub shed: Arc<AtomicU64>,
    pub denials: Denials,
    listeners: Mutex<BTreeMap<&'static str, Option<String>>>,
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, Option<String>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that a listener is open, or why not.
    pub fn listener(&self, label: &'static str, error: Option<String>) {
        self.lock().insert(label, error);
    }

    /// Each listener that there should be, and why it is not open.
    pub fn listeners(&self) -> BTreeMap<&'static str, Option<String>> {
        self.lock().clone()
    }
}
