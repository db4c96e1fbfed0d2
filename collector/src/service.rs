//! Notifies the service manager (sd_notify(3)) that the agent is ready, alive or stopping. Does nothing where no
//! service manager asked for notifications.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// The connection to the service manager, if there is one.
#[derive(Debug)]
pub struct Manager {
    /// Interval between keep-alive messages.
    watchdog: Option<Duration>,
    ready: bool,
    last_keepalive: Instant,
}

impl Default for Manager {
    fn default() -> Manager {
        Manager::new()
    }
}

impl Manager {
    /// Reads the environment (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
    pub fn new() -> Manager {
        Manager {
            watchdog: sd_notify::watchdog_enabled().map(keepalive_interval),
            ready: false,
            last_keepalive: Instant::now(),
        }
    }

    /// Reports a complete round of readings: the first makes the agent ready, each shows that it is alive.
    pub fn round(&mut self) {
        if !self.ready {
            self.ready = true;
            notify(&[NotifyState::Ready]);
        }
        if self.watchdog.is_some_and(|interval| self.last_keepalive.elapsed() >= interval) {
            self.last_keepalive = Instant::now();
            notify(&[NotifyState::Watchdog]);
        }
    }

    /// Between these two, `systemctl reload` waits.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(error) => tracing::debug!("could not read the clock for the service manager: {error}"),
        }
    }

    pub fn reloaded(&self) {
        // Not before the first round is complete.
        if self.ready {
            notify(&[NotifyState::Ready]);
        }
    }

    pub fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }
}

/// Twice within the timeout, as sd_watchdog_enabled(3) recommends, plus one for ticks that come late.
fn keepalive_interval(watchdog: Duration) -> Duration {
    watchdog / 3
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!("could not notify the service manager: {error}");
    }
}
