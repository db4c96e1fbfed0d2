//! Makes the CPU time of cgroups current before a pass copies it (v2). The kernel adds up what each CPU counted for a cgroup and for
//! all below it when its `cpu.stat` is read (`cgroup_base_stat_cputime_show` of kernel/cgroup/rstat.c), except for the root's. So
//! those of the first level do it for all.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use rustix::io::Errno;

use super::handle::{Descriptors, Handle};
use super::tree::Tree;

const FILE: &[u8] = b"cpu.stat";

/// The files to read, by their paths below the mount.
#[derive(Debug, Default)]
pub struct Flush(BTreeMap<CString, Handle>);

impl Flush {
    /// There is a cgroup at this location below the mount.
    pub fn know(&mut self, tree: &Tree, location: &CStr) {
        // Below a mount of a part of the hierarchy, the one at the mount point is not the root.
        let first = match tree.hierarchy.prefix.is_empty() {
            true => location.to_bytes().split(|byte| *byte == b'/').next().unwrap_or_default(),
            false => b".",
        };
        if let Ok(file) = CString::new([first, b"/", FILE].concat()) {
            self.0.entry(file).or_insert(Handle::Closed);
        }
    }

    /// The files, to be compared.
    #[cfg(test)]
    pub fn files(&self) -> Vec<&CStr> {
        self.0.keys().map(CString::as_c_str).collect()
    }

    /// Reads them. What is gone is forgotten: if it comes back, so does a cgroup in it.
    pub fn run(&mut self, tree: &Tree, descriptors: &mut Descriptors) {
        let Ok(root) = tree.root() else { return };
        self.0.retain(|file, handle| {
            let mut read = || descriptors.read(root, file, handle, true).map(drop);
            let mut done = read();
            if done == Err(Errno::NODEV) {
                // Another may be at its path.
                descriptors.close(handle, Handle::Closed);
                done = descriptors.read(root, file, handle, true).map(drop);
            }
            done != Err(Errno::NOENT)
        });
    }
}
