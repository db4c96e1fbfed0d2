//! What `headroom run` is told besides the configuration.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Config;
use crate::config::load::Effective;
use crate::exit::Failure;

/// Reads the configuration as at the start.
pub type Read = Arc<dyn Fn() -> Result<Effective, Failure> + Send + Sync>;

/// Options of `headroom run` besides the configuration.
#[derive(Clone, Default)]
pub struct Options {
    /// Write every sample to this file, as JSON lines.
    pub record: Option<PathBuf>,
    /// Most bytes that the recording may have.
    pub record_max_bytes: u64,
    /// Reads the configuration again at SIGHUP. Without it, the signal does nothing.
    pub read: Option<Read>,
    /// Makes the log go on with this configuration.
    pub log: Option<fn(&Config)>,
}
