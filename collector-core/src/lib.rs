//! Everything that decides. Samples are folded into the [`view`] by [`engine::Engine::apply`]; [`metric`]s, [`rule`]s and
//! [`incident`]s read it, and what is to be told or done leaves as an [`outcome::Outcome`].
//!
//! Pure: no IO, no clock, no runtime. Whatever happens here can be recorded, replayed and tested without root and GPU.

pub mod alert;
pub mod amount;
pub mod api;
pub mod cgroup;
pub mod count;
pub mod engine;
pub mod identity;
pub mod incident;
pub mod metric;
pub mod outcome;
pub mod pressure;
pub mod recording;
pub mod rule;
pub mod sample;
pub mod series;
pub mod signal;
pub mod spelling;
pub mod stage;
pub mod statistic;
pub mod view;
pub mod xid;
