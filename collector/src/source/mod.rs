//! All IO in: whatever produces samples.

pub mod kernel;
pub mod replay;
