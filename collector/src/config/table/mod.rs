//! Arrays of tables, one file each. [`catalogue`](super::catalogue) lists them.

pub mod model;
pub mod model_server;
pub mod pool;
pub mod reservation;
pub mod rule;
pub mod sink;
pub mod store;
pub mod target;
