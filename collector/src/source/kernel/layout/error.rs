//! Errors of resolving the layout, as text for the operator.

use std::path::PathBuf;
use std::{fmt, io};

/// BTF of a kernel built with `CONFIG_DEBUG_INFO_BTF`.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

#[derive(Debug)]
pub enum LayoutError {
    /// The kernel provides no BTF.
    NoBtf,
    Unreadable(PathBuf, io::Error),
    /// The file is not BTF, or is damaged.
    NotBtf(PathBuf, String),
    /// The path from a task to its memory cgroup, which every program follows, is not a known one.
    Attribution(String),
}

impl LayoutError {
    /// Whether a file is of no use, rather than the kernel.
    pub fn is_of_file(&self) -> bool {
        matches!(self, LayoutError::Unreadable(..) | LayoutError::NotBtf(..))
    }
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayoutError::NoBtf => write!(
                f,
                "{VMLINUX} does not exist: build the kernel with CONFIG_DEBUG_INFO_BTF, or pass its BTF with --btf FILE"
            ),
            LayoutError::Unreadable(path, why) => {
                write!(f, "cannot read the kernel's BTF from {}: {why}", path.display())
            }
            LayoutError::NotBtf(path, why) => write!(f, "{} is not BTF: {why}", path.display()),
            LayoutError::Attribution(why) => {
                write!(f, "cannot resolve the path from a task to its memory cgroup: {why}")
            }
        }
    }
}

impl std::error::Error for LayoutError {}
