//! A loop device for one test: nobody else does IO on it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A loop device over a file. When dropped, it is detached and the file removed.
pub struct Loop {
    /// `loop7`.
    pub name: String,
    file: PathBuf,
}

/// Fields of the device's line in /proc/diskstats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskStats {
    pub reads: u64,
    /// In sectors of 512 bytes.
    pub sectors_read: u64,
    /// Time spent reading.
    pub read_ms: u64,
    pub writes: u64,
    /// In sectors of 512 bytes.
    pub sectors_written: u64,
    /// Time spent writing.
    pub write_ms: u64,
    pub discards: u64,
    pub flushes: u64,
}

impl Loop {
    /// Makes one over a file of this size in `directory`; an error says why there can be none.
    pub fn new(directory: &Path, bytes: u64) -> Result<Loop, String> {
        let file = directory.join("disk");
        let made = File::create(&file).unwrap();
        // Written, since reading a hole does no IO.
        let block = vec![0xa5; 1 << 20];
        for offset in (0..bytes).step_by(block.len()) {
            made.write_all_at(&block, offset).unwrap();
        }
        made.sync_all().unwrap();
        let output = Command::new("losetup").args(["--find", "--show"]).arg(&file).output();
        let output = output.map_err(|error| format!("losetup: {error}"))?;
        if !output.status.success() {
            return Err(format!("losetup: {}", String::from_utf8_lossy(&output.stderr)));
        }
        let device = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        Ok(Loop { name: device.trim_start_matches("/dev/").to_owned(), file })
    }

    /// `/dev/loop7`.
    pub fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// Makes it bypass the page cache of the disk below; an error says why it cannot.
    pub fn bypass_cache(&self) -> Result<(), String> {
        let output = Command::new("losetup").arg("--direct-io=on").arg(self.device()).output();
        let output = output.map_err(|error| format!("losetup: {error}"))?;
        let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        if output.status.success() { Ok(()) } else { Err(format!("losetup --direct-io=on: {why}")) }
    }

    /// The file behind it.
    pub fn file(&self) -> &Path {
        &self.file
    }

    pub fn stats(&self) -> DiskStats {
        disk_stats(&self.name)
    }
}

/// The kernel's counters of a device (Documentation/admin-guide/iostats.rst).
pub fn disk_stats(name: &str) -> DiskStats {
    let text = fs::read_to_string("/proc/diskstats").unwrap();
    let line = text.lines().find(|line| line.split_whitespace().nth(2) == Some(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in /proc/diskstats"));
    let fields: Vec<u64> = line.split_whitespace().skip(3).map(|field| field.parse().unwrap()).collect();
    DiskStats {
        reads: fields[0],
        sectors_read: fields[2],
        read_ms: fields[3],
        writes: fields[4],
        sectors_written: fields[6],
        write_ms: fields[7],
        discards: fields[11],
        flushes: fields[15],
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(self.device()).status();
        let _ = fs::remove_file(&self.file);
    }
}
