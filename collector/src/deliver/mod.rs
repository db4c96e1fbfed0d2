//! Delivery of alerts: the outbox that the agent fills without waiting, a queue for each receiver, webhooks, Alertmanagers and files.
//! Depends on `sink` for the journal; `sink` does not know this module.

pub mod alertmanager;
pub mod eviction;
pub mod file;
pub mod outbox;
pub mod post;
pub mod queue;
pub mod receiver;
pub mod target;
pub mod thread;
pub mod webhook;
