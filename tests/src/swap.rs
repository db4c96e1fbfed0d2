//! A swap device for one test, on a machine that is only for tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// When dropped, it is no longer used.
pub struct Swap(PathBuf);

impl Swap {
    /// Whether this machine has what [`Swap::compressed`] needs.
    pub fn is_possible() -> bool {
        Path::new("/sys/block/zram0").exists()
    }

    /// On zram.
    pub fn compressed(bytes: u64) -> Swap {
        fs::write("/sys/block/zram0/reset", "1").unwrap();
        fs::write("/sys/block/zram0/disksize", bytes.to_string()).unwrap();
        Swap::on("/dev/zram0")
    }

    pub fn on(device: &str) -> Swap {
        for program in ["mkswap", "swapon"] {
            let output = Command::new(program).arg(device).output().unwrap();
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Swap(device.into())
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let _ = Command::new("swapoff").arg(&self.0).status();
    }
}
