//! What the service manager is told (sd_notify(3)): that the agent is ready, that it is alive, that it stops. Where nobody
//! asked to be told, nothing is said.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    /// How often it wants to hear that the agent is alive.
    watchdog: Option<Duration>,
    ready: bool,
    heard: Instant,
}

impl Default for Manager {
    fn default() -> Manager {
        Manager::new()
    }
}

impl Manager {
    /// Asks the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    pub fn new() -> Manager {
        Manager { watchdog: sd_notify::watchdog_enabled().map(often), ready: false, heard: Instant::now() }
    }

    /// A round of readings is complete: the first makes the agent ready, each shows that it is alive.
    pub fn round(&mut self) {
        if !self.ready {
            self.ready = true;
            tell(&[NotifyState::Ready]);
        }
        if self.watchdog.is_some_and(|often| self.heard.elapsed() >= often) {
            self.heard = Instant::now();
            tell(&[NotifyState::Watchdog]);
        }
    }

    /// The agent ends.
    pub fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }
}

/// Twice in the time after which it is taken for dead, as sd_watchdog_enabled(3) recommends, and once more for ticks that
/// come late.
fn often(watchdog: Duration) -> Duration {
    watchdog / 3
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("the service manager cannot be told: {error}");
    }
}
