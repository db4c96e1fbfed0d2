//! Headroom's collector: everything in user space.
//!
//! Data flows one way: a [`source`] produces [`sample::Sample`]s, [`engine::Engine`] folds them into the [`view`], and
//! [`metric`] reads the view. [`round`] reads the sources once a tick; only [`run`] wires these together.

pub mod alert;
pub mod amount;
pub mod api;
pub mod cgroup;
pub mod cli;
pub mod config;
pub mod count;
pub mod dashboard;
pub mod docs;
pub mod engine;
pub mod exposition;
pub mod http;
pub mod identity;
pub mod incident;
pub mod metric;
pub mod outcome;
pub mod pressure;
pub mod privilege;
pub mod round;
pub mod rule;
pub mod run;
pub mod sample;
pub mod series;
pub mod service;
pub mod signal;
pub mod sink;
pub mod source;
pub mod spelling;
pub mod statistic;

pub mod view;
pub mod xid;
