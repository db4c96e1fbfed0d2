//! Whether a thread of a source still answers: before each call that may hang it says by when it will be back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock;

/// What a thread and whoever waits for it share.
#[derive(Debug)]
pub struct Watch {
    deadline: Duration,
    call: Mutex<Option<(u64, &'static str)>>,
    over: AtomicBool,
}

impl Watch {
    /// Calls may take this long.
    pub fn new(deadline: Duration) -> Watch {
        Watch { deadline, call: Mutex::new(None), over: AtomicBool::new(false) }
    }

    /// Makes a call that may hang.
    pub fn call<T>(&self, name: &'static str, call: impl FnOnce() -> T) -> T {
        self.call_for(self.deadline, name, call)
    }

    /// Makes a call that may take as long as this.
    pub fn call_for<T>(&self, time: Duration, name: &'static str, call: impl FnOnce() -> T) -> T {
        let by = clock::monotonic_ns().saturating_add(time.as_nanos() as u64);
        self.set(Some((by, name)));
        let result = call();
        self.set(None);
        result
    }

    /// How long a call may take.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The call that is not back in time.
    pub fn late(&self) -> Option<&'static str> {
        let call = *self.call.lock().unwrap_or_else(PoisonError::into_inner);
        call.filter(|(by, _)| clock::monotonic_ns() > *by).map(|(_, name)| name)
    }

    /// Tells the thread that nobody waits for it any more.
    pub fn give_up(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether nobody does.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn set(&self, call: Option<(u64, &'static str)>) {
        *self.call.lock().unwrap_or_else(PoisonError::into_inner) = call;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_is_late_is_named_and_one_that_is_back_is_not() {
        let watch = Watch::new(Duration::ZERO);
        let late = watch.call("power", || {
            std::thread::sleep(Duration::from_millis(1));
            watch.late()
        });
        assert_eq!((late, watch.late()), (Some("power"), None));
        assert_eq!(watch.call_for(Duration::from_secs(3600), "start", || watch.late()), None);
    }
}
