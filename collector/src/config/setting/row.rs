//! One key of the configuration: its names, its type and what it is for.

use crate::config::kind::Kind;
use crate::config::section::Config;

#[derive(Debug)]
pub struct Setting {
    /// `kernel.slow_io` is `slow_io` in the section `[kernel]`.
    pub key: &'static str,
    /// The flag without dashes, if there is one.
    pub flag: Option<&'static str>,
    /// Type and bounds of the value.
    pub kind: Kind<Config>,
    /// Full sentences for the documentation and the help.
    pub doc: &'static str,
}

/// A key that no flag sets.
pub(super) const fn without_flag(key: &'static str, kind: Kind<Config>, doc: &'static str) -> Setting {
    Setting { key, flag: None, kind, doc }
}

impl Setting {
    /// The environment variable, such as `HEADROOM_KERNEL_SLOW_IO`.
    pub fn variable(&self) -> String {
        format!("HEADROOM_{}", self.key.to_uppercase().replace('.', "_"))
    }

    /// Section, and name within it.
    pub fn section(&self) -> (Option<&'static str>, &'static str) {
        match self.key.split_once('.') {
            Some((section, name)) => (Some(section), name),
            None => (None, self.key),
        }
    }
}
