//! The types of the API's answers: built from the view, parsed by clients.

pub mod workloads;
