//! `[leak]`: how memory that leaks is looked for.

use std::time::Duration;

use collector_core::trend::Settings;

/// `[leak]`
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Serialize))]
pub struct Leak {
    pub window: Duration,
}

impl Default for Leak {
    fn default() -> Leak {
        Leak { window: Duration::from_nanos(Settings::default().window) }
    }
}

impl Leak {
    pub fn settings(&self) -> Settings {
        Settings { window: self.window.as_nanos() as u64 }
    }
}
