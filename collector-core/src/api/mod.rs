//! The types of every answer: built from the view, and parsed by clients.

pub mod workloads;
