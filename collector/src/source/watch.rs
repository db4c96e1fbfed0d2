//! Detects that a source's thread hangs: before each call that may block, the thread stores its deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::mutex::lock;

/// Shared by a thread and the source that owns it.
#[derive(Debug)]
pub struct Watch {
    deadline: Duration,
    call: Mutex<Option<(u64, &'static str)>>,
    stop: AtomicBool,
    stopped: Condvar,
}

impl Watch {
    /// `deadline` is how long one call may take.
    pub fn new(deadline: Duration) -> Watch {
        Watch { deadline, call: Mutex::new(None), stop: AtomicBool::new(false), stopped: Condvar::new() }
    }

    /// Runs a call that may block.
    pub fn call<T>(&self, name: &'static str, call: impl FnOnce() -> T) -> T {
        self.call_for(self.deadline, name, call)
    }

    /// Runs a call that may take up to `time`.
    pub fn call_for<T>(&self, time: Duration, name: &'static str, call: impl FnOnce() -> T) -> T {
        let by = clock::monotonic_ns().saturating_add(time.as_nanos() as u64);
        self.set(Some((by, name)));
        let result = call();
        self.set(None);
        result
    }

    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The name of the call in progress that has missed its deadline.
    pub fn overdue(&self) -> Option<&'static str> {
        let call = *lock(&self.call);
        call.filter(|(by, _)| clock::monotonic_ns() > *by).map(|(_, name)| name)
    }

    /// Asks the thread to end after its current call.
    pub fn request_stop(&self) {
        // With the lock: a thread that is about to sleep would miss it otherwise.
        let _call = lock(&self.call);
        self.stop.store(true, Ordering::Relaxed);
        self.stopped.notify_all();
    }

    /// Sleeps for this long, or until the thread should stop. Wakes for nothing else.
    pub fn sleep(&self, time: Duration) {
        let call = lock(&self.call);
        let wait = self.stopped.wait_timeout_while(call, time, |_| !self.should_stop());
        drop(wait.unwrap_or_else(PoisonError::into_inner));
    }

    pub fn should_stop(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn set(&self, call: Option<(u64, &'static str)>) {
        *lock(&self.call) = call;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overdue_call_is_named_until_it_returns() {
        let watch = Watch::new(Duration::ZERO);
        let overdue = watch.call("power", || {
            std::thread::sleep(Duration::from_millis(1));
            watch.overdue()
        });
        assert_eq!((overdue, watch.overdue()), (Some("power"), None));
        assert_eq!(watch.call_for(Duration::from_secs(3600), "start", || watch.overdue()), None);
    }

    #[test]
    fn a_thread_sleeps_until_its_time_is_over_or_it_should_stop() {
        let watch = Watch::new(Duration::ZERO);
        watch.sleep(Duration::from_millis(1));
        assert!(!watch.should_stop());
        // Without the request this would not end.
        std::thread::scope(|scope| {
            let asleep = scope.spawn(|| watch.sleep(Duration::MAX));
            watch.request_stop();
            asleep.join().unwrap();
        });
    }
}
