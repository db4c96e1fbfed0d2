//! Headroom's collector: all IO in user space. The logic is in [`collector_core`].
//!
//! Data flows one way: a [`source`] produces samples, the core's engine folds them into the view, and metrics, API and alerts
//! read the view. [`agent`] connects these.

pub mod act;
pub mod agent;
pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod confine;
pub mod dashboard;
pub mod deliver;
pub mod docs;
pub mod event;
pub mod exit;
pub mod exposition;
pub mod exposure;
pub mod http;
mod mutex;
pub mod private;
pub mod privilege;
pub mod review;
pub mod service;
pub mod sink;
pub mod source;
pub mod zone;
