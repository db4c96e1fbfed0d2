//! The types of the API's answers: built from the view, parsed by clients.

pub mod gpus;
pub mod status;
pub mod workloads;
