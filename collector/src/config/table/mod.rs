//! Arrays of tables: a file for what there can be several of. [`catalogue`](super::catalogue) lists them.

pub mod rule;
pub mod sink;
