//! Ctrl-C ends the staging early, so that cgroups, processes and mounts are removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// While it exists, SIGINT and SIGTERM are only noted. When dropped, they do what they did before, and nothing is noted.
pub struct Caught([(libc::c_int, libc::sigaction); 2]);

pub fn catch() -> Caught {
    let handler: extern "C" fn(libc::c_int) = note;
    Caught([libc::SIGINT, libc::SIGTERM].map(|signal| {
        // SAFETY: C structs of numbers, for which zero is valid; the handler only stores to an atomic.
        unsafe {
            let (mut new, mut old): (libc::sigaction, libc::sigaction) = std::mem::zeroed();
            (new.sa_sigaction, new.sa_flags) = (handler as libc::sighandler_t, libc::SA_RESTART);
            assert_eq!(libc::sigaction(signal, &new, &mut old), 0, "{}", std::io::Error::last_os_error());
            (signal, old)
        }
    }))
}

impl Drop for Caught {
    fn drop(&mut self) {
        for (signal, old) in &self.0 {
            // SAFETY: what sigaction(2) itself returned.
            unsafe { libc::sigaction(*signal, old, std::ptr::null_mut()) };
        }
        INTERRUPTED.store(false, Ordering::SeqCst);
    }
}

pub fn noted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Waits until something is there.
///
/// # Errors
/// After this time, or once interrupted: says for what it waited.
pub fn until<T>(what: &str, patience: Duration, mut there: impl FnMut() -> Option<T>) -> Result<T, String> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = there() {
            return Ok(found);
        }
        if noted() {
            return Err("interrupted".to_owned());
        }
        if Instant::now() >= deadline {
            return Err(format!("{what} did not happen within {} s", patience.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sleeps, unless interrupted.
pub fn pause(time: Duration) -> Result<(), String> {
    let deadline = Instant::now() + time;
    while let Some(left) = deadline.checked_duration_since(Instant::now()) {
        if noted() {
            return Err("interrupted".to_owned());
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_noted_until_the_guard_is_dropped() {
        let handler = || {
            // SAFETY: a C struct of numbers, for which zero is valid, and which the call fills in.
            unsafe {
                let mut now: libc::sigaction = std::mem::zeroed();
                assert_eq!(libc::sigaction(libc::SIGTERM, std::ptr::null(), &mut now), 0);
                now.sa_sigaction
            }
        };
        let before = handler();
        let caught = catch();
        // SAFETY: no preconditions; the signal is caught.
        assert_eq!(unsafe { libc::raise(libc::SIGTERM) }, 0);
        assert!(noted());
        assert!(pause(Duration::from_secs(100)).is_err());
        drop(caught);
        assert!(!noted());
        assert_eq!(handler(), before);
    }
}
