//! Notices that a source's thread hangs: before each call that may block, the thread notes when it must be back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock;

/// Shared by a thread and the source that owns it.
#[derive(Debug)]
pub struct Watch {
    deadline: Duration,
    call: Mutex<Option<(u64, &'static str)>>,
    over: AtomicBool,
}

impl Watch {
    /// A call may take as long as `deadline`.
    pub fn new(deadline: Duration) -> Watch {
        Watch { deadline, call: Mutex::new(None), over: AtomicBool::new(false) }
    }

    /// Makes a call that may block.
    pub fn call<T>(&self, name: &'static str, call: impl FnOnce() -> T) -> T {
        self.call_for(self.deadline, name, call)
    }

    /// Makes a call that may take as long as `time`.
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

    /// The call that has missed its deadline.
    pub fn late(&self) -> Option<&'static str> {
        let call = *self.call.lock().unwrap_or_else(PoisonError::into_inner);
        call.filter(|(by, _)| clock::monotonic_ns() > *by).map(|(_, name)| name)
    }

    /// Tells the thread to end once it is back.
    pub fn give_up(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether the thread should end.
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
