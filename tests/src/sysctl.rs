//! Kernel settings, changed for the duration of a test.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

/// A value in /proc/sys/vm. Restored when dropped, or after a few seconds even if the test is killed.
pub struct Sysctl {
    path: PathBuf,
    before: String,
    watchdog: Child,
}

impl Sysctl {
    pub fn set(name: &str, value: u64, at_most: Duration) -> Sysctl {
        Sysctl::instead(name, value, name, at_most)
    }

    /// For a setting that replaces `other`, and is zero while `other` is set: `dirty_bytes` and `dirty_ratio`.
    pub fn instead(name: &str, value: u64, other: &str, at_most: Duration) -> Sysctl {
        let path = |name: &str| PathBuf::from("/proc/sys/vm").join(name);
        let read = |name: &str| fs::read_to_string(path(name)).unwrap().trim().to_owned();
        let holds = if read(name) == "0" { other } else { name };
        let (restored, before) = (path(holds), read(holds));
        let script = format!("sleep {}; echo {before} > {}", at_most.as_secs(), restored.display());
        let watchdog = Command::new("sh").args(["-c", &script]).spawn().unwrap();
        fs::write(path(name), value.to_string()).unwrap();
        Sysctl { path: restored, before, watchdog }
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        fs::write(&self.path, &self.before).unwrap();
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}
