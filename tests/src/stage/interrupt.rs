//! Ctrl-C ends the staging early, so that cgroups, processes and mounts are removed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note(_signal: libc::c_int) {
    INTERRUPTED.store(true, Ordering::SeqCst);
}

/// From now on SIGINT and SIGTERM are only noted.
pub fn catch() {
    let handler: extern "C" fn(libc::c_int) = note;
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { libc::signal(signal, handler as libc::sighandler_t) };
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
