//! What the endpoint reports about itself: what it refused and denied, and which listeners are open. Knows no sockets.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use super::denial::Denials;
use crate::mutex::lock;

#[derive(Debug, Default)]
pub struct Tally {
    /// Connections and requests that found no place, or lost theirs.
    pub shed: Arc<AtomicU64>,
    pub denials: Denials,
    /// Whether each is open.
    listeners: Mutex<BTreeMap<&'static str, bool>>,
}

impl Tally {
    /// Says whether a listener is open.
    pub fn listener(&self, label: &'static str, is_open: bool) {
        lock(&self.listeners).insert(label, is_open);
    }

    /// Whether a listener is open; `None` if there should be none.
    pub fn is_open(&self, label: &'static str) -> Option<bool> {
        lock(&self.listeners).get(label).copied()
    }
}
