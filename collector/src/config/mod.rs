//! What the operator may set.
//!
//! [`setting::SETTINGS`] declares every key once: the file, the environment, the flags, the check for unknown keys and
//! `docs/config.md` all come from it. [`catalogue::TABLES`] does the same for arrays of tables (`[[rule]]`). [`load`] puts
//! the layers on top of each other, says where each value is from, and is the only file here that reads anything.
//! Nothing here knows what the values are for.

pub mod catalogue;
pub mod entry;
mod environment;
pub mod error;
pub mod file;
pub mod kind;
pub mod load;
pub mod secret;
mod section;
pub mod setting;
pub mod sink;
pub mod table;
pub mod value;

pub use section::{Config, Disk, Filesystem, Gpu, Journal, Kernel, Log, Metrics, Pressure, Sinks, Transfer, Workload};
