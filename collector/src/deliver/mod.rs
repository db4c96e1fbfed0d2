//! Alerts on their way out: the outbox that the agent fills without ever waiting, a queue for each receiver, webhooks and
//! Alertmanagers. Depends on `sink` for the journal; nothing in `sink` knows of it.

pub mod alertmanager;
pub mod allowance;
pub mod outbox;
pub mod post;
pub mod queue;
pub mod receiver;
pub mod target;
pub mod thread;
pub mod webhook;
