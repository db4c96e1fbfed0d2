//! All IO in: whatever produces samples. A source knows where to read and nothing of what it means.

pub mod cgroup;
pub mod gpu;
pub mod host;
pub mod kernel;
pub mod name;
mod pressure;
pub mod process;
pub mod root;
pub mod statistic;
pub mod text;
pub mod transfer;
mod watch;

// The clocks are not the sources' own.
pub use crate::clock;
