//! What is known of model servers: which process is one ([`identify`]), what it may be asked without changing it, and what its answers mean
//! ([`Asker`]). Bytes in, statistics out; everything that servers and their users write is untrusted. Knows neither sockets nor /proc.

mod asker;
mod document;
mod exposition;
mod gather;
mod get;
mod identify;
mod json;
mod name;
mod rest;
mod setting;
mod table;

pub use asker::Asker;
pub use document::document;
pub use get::Get;
pub use identify::{Found, Process, identify, may_serve};
pub use setting::{PromptCache, Settings};
