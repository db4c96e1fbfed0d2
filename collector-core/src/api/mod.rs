//! The types of the API's answers: built from the view, parsed by clients.

pub mod alerts;
pub mod coverage;
mod document;
pub mod gpus;
pub mod history;
pub mod incidents;
pub mod parameter;
pub mod problem;
pub mod read;
pub mod report;
pub mod status;
pub mod window;
pub mod workloads;

pub use document::document;
