//! Where outcomes and samples go.

pub mod log;
pub mod record;
