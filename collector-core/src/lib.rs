//! Everything that decides. [`engine::Engine::apply`] folds samples into the [`view`]; [`metric`]s, [`rule`]s and [`incident`]s
//! read it. What must be reported or done is returned as an [`outcome::Outcome`].
//!
//! Pure: no IO, no clock, no runtime. Everything here can be recorded, replayed and tested without root and without a GPU.

pub mod act;
pub mod action;
pub mod admission;
pub mod advice;
pub mod advise;
pub mod alert;
pub mod amount;
pub mod api;
pub mod breaker;
pub mod btf;
pub mod cgroup;
pub mod circuit;
pub mod count;
pub mod decode;
pub mod digest;
pub mod engine;
pub mod forecast;
pub mod identity;
pub mod incident;
pub mod latency;
pub mod learn;
pub mod lease;
pub mod level;
pub mod metric;
pub mod model;
pub mod model_file;
pub mod need;
pub mod outcome;
pub mod past;
pub mod pattern;
pub mod pressure;
pub mod program;
pub mod rate;
pub mod recording;
pub mod rule;
pub mod sample;
pub mod scaling;
pub mod schedule;
pub mod series;
pub mod signal;
pub mod spelling;
pub mod stage;
pub mod standing;
pub mod starved;
pub mod statistic;
pub mod target;
pub mod text;
pub mod tier;
pub mod trend;
pub mod view;
pub mod what_if;
pub mod xid;
pub mod zone;
