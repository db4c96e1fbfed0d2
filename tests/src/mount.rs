//! File systems mounted for one test.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use crate::scratch::{Scratch, scratch};

/// A mounted file system. When dropped, it is unmounted.
pub struct Mount(
    /// Mount point.
    pub Scratch,
);

impl Mount {
    /// A tmpfs with these options, such as `size=2m`; an error says why there can be none.
    pub fn tmpfs(options: &str) -> Result<Mount, String> {
        Mount::new(scratch(), Mount::of_tmpfs(options))
    }

    /// The same at this mount point, which is made.
    pub fn tmpfs_at(place: &Path, options: &str) -> Result<Mount, String> {
        Mount::new(Scratch::at(place), Mount::of_tmpfs(options))
    }

    fn of_tmpfs(options: &str) -> [&OsStr; 5] {
        ["-t", "tmpfs", "-o", options, "tmpfs"].map(OsStr::new)
    }

    /// The kernel's tracing files; an error says why they cannot be mounted.
    pub fn tracefs() -> Result<Mount, String> {
        Mount::new(scratch(), ["-t", "tracefs", "tracefs"].map(OsStr::new))
    }

    /// Directories that make kernel objects, such as disks; an error says why they cannot be mounted.
    pub fn configfs() -> Result<Mount, String> {
        Mount::new(scratch(), ["-t", "configfs", "configfs"].map(OsStr::new))
    }

    /// The file system on a device; an error says why it cannot be mounted.
    pub fn device(device: &Path) -> Result<Mount, String> {
        Mount::new(scratch(), [device.as_os_str()])
    }

    fn new<'a>(place: Scratch, arguments: impl IntoIterator<Item = &'a OsStr>) -> Result<Mount, String> {
        let mount = Mount(place);
        let output = Command::new("mount").args(arguments).arg(&mount.0).output().map_err(|error| error.to_string())?;
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(mount) } else { Err(why) }
    }

    /// Remounts it with other options.
    pub fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).stderr(std::process::Stdio::null()).status();
    }
}
