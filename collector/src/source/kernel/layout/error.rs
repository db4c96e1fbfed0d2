//! Why there is no layout, in words for the operator. Knows nothing of how one is found.

use std::path::PathBuf;
use std::{fmt, io};

/// Where a kernel built with `CONFIG_DEBUG_INFO_BTF` shows its BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Why there is no layout.
#[derive(Debug)]
pub enum LayoutError {
    /// The kernel shows no BTF.
    NoBtf,
    /// The file cannot be read.
    Unreadable(PathBuf, io::Error),
    /// The file is not BTF, or broken.
    NotBtf(PathBuf, String),
    /// The way from a task to its memory cgroup, which every program takes, is not the one that is known.
    Attribution(String),
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::NoBtf => write!(
                f,
                "{VMLINUX} does not exist: the kernel needs CONFIG_DEBUG_INFO_BTF, or its BTF given with --btf FILE"
            ),
            LayoutError::Unreadable(path, why) => {
                write!(f, "cannot read the kernel's BTF from {}: {why}", path.display())
            }
            LayoutError::NotBtf(path, why) => write!(f, "{} is not BTF: {why}", path.display()),
            LayoutError::Attribution(why) => write!(f, "no way from a task to its memory cgroup: {why}"),
        }
    }
}

impl std::error::Error for LayoutError {}
