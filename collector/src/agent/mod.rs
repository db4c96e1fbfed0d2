//! The running agent.

pub mod round;
