//! Headroom's collector: everything in user space.
//!
//! Data flows one way: a [`source`] produces [`sample::Sample`]s, [`engine::Engine`] folds them into the [`view`], and
//! [`metric`] reads the view. [`agent::round`] reads the sources once a tick; only [`run`] wires these together.

pub mod agent;
pub mod alert;
pub mod amount;
pub mod cli;
pub mod config;
pub mod dashboard;
pub mod docs;
pub mod engine;
pub mod http;
pub mod identity;
pub mod incident;
pub mod metric;
pub mod pressure;
pub mod privilege;
pub mod rule;
pub mod run;
pub mod sample;
pub mod service;
pub mod signal;
pub mod sink;
pub mod source;
pub mod statistic;
pub mod summary;
pub mod view;
pub mod xid;
