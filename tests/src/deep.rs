//! Cgroups in each other, deeper than a path can name.

use std::fs::File;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Mode, OFlags, fstat, mkdirat, openat, unlinkat};

use crate::cgroup::Cgroup;

fn below(at: &OwnedFd, name: &str) -> OwnedFd {
    openat(at, name, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).unwrap()
}

/// Cgroups in each other, deeper than a path can name. When dropped, they are removed from below.
pub struct Deep {
    deepest: OwnedFd,
    depth: usize,
}

impl Deep {
    pub const NAME: &str = "0123456789012345678901234567890123456789";

    pub fn new(top: &Cgroup) -> Deep {
        Deep { deepest: File::open(top.memory()).unwrap().into(), depth: 0 }
    }

    pub fn grow(&mut self, levels: usize) {
        for _ in 0..levels {
            mkdirat(&self.deepest, Deep::NAME, Mode::from_raw_mode(0o755)).unwrap();
            self.deepest = below(&self.deepest, Deep::NAME);
            self.depth += 1;
        }
    }

    pub fn depth(&self) -> usize {
        self.depth
    }

    pub fn id(&self) -> u64 {
        fstat(&self.deepest).unwrap().st_ino
    }
}

impl Drop for Deep {
    fn drop(&mut self) {
        for _ in 0..self.depth {
            self.deepest = below(&self.deepest, "..");
            unlinkat(&self.deepest, Deep::NAME, AtFlags::REMOVEDIR).unwrap();
        }
    }
}
