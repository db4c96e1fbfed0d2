//! The types of the API's answers: built from the view, parsed by clients.

pub mod alerts;
mod answer;
pub mod change;
pub mod circuits;
pub mod coverage;
mod document;
pub mod forecast;
pub mod gpus;
pub mod history;
pub mod incidents;
pub mod level;
pub mod lookup;
pub mod model_file;
mod model_next;
pub mod models;
pub mod openapi;
pub mod parameter;
pub mod problem;
pub mod process;
pub mod read;
pub mod report;
pub mod reservations;
pub mod schema;
pub mod status;
pub mod suggestions;
pub mod window;
pub mod workloads;

pub use document::document;
