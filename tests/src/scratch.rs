//! A temporary folder for one test.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder of its own. When dropped, it is removed with everything in it.
pub struct Scratch(PathBuf);

/// Makes a temporary folder.
pub fn scratch() -> Scratch {
    Scratch::below(&std::env::temp_dir())
}

impl Scratch {
    /// Makes it in memory if possible: for what takes minutes on a disk.
    pub fn in_memory() -> Scratch {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Scratch::below(memory) } else { scratch() }
    }

    /// Whether its files are on a disk: pages of a file in memory are neither dropped nor written back.
    pub fn is_on_disk(&self) -> bool {
        const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6]; // tmpfs, ramfs (include/uapi/linux/magic.h)
        !IN_MEMORY.contains(&(rustix::fs::statfs(&self.0).unwrap().f_type as i64))
    }

    /// Makes it in this folder.
    pub fn below(parent: &Path) -> Scratch {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Scratch::at(&parent.join(format!("headroom-test-{}-{number}", std::process::id())))
    }

    /// Makes this folder.
    pub fn at(path: &Path) -> Scratch {
        fs::create_dir_all(path).unwrap();
        Scratch(path.to_owned())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Deref for Scratch {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<Path> for Scratch {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl AsRef<OsStr> for Scratch {
    fn as_ref(&self) -> &OsStr {
        self.0.as_ref()
    }
}

/// As a path: quoted, as the tests write it into configurations.
impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
