//! The configuration: keys, types, defaults and layers. Does not know what the values are used for.
//!
//! [`setting::SETTINGS`] declares every key once: file, environment, flags, the check for unknown keys and `docs/config.md`
//! use it. [`catalogue::TABLES`] does the same for arrays of tables (`[[rule]]`). [`load`] combines the layers, knows the
//! origin of each value, and is the only file here that does IO.

mod admission;
pub mod catalogue;
pub mod contradiction;
mod default;
pub mod entry;
mod environment;
pub mod error;
pub mod file;
pub mod kind;
mod latency;
mod leak;
mod level;
pub mod load;
pub mod model_server;
pub mod model_store;
pub mod pool;
pub mod profile;
mod reservation;
mod scaling;
pub mod secret;
mod section;
pub mod setting;
pub mod sink;
mod starved;
pub mod table;
pub mod target;
mod threshold;
mod trigger;
pub mod value;

pub use admission::Admission;
pub use section::{
    Config, Disk, Filesystem, Gpu, History, Journal, Kernel, Log, Metrics, ModelFile, Models, Network, Pressure, Sinks,
    Transfer, Workload,
};
