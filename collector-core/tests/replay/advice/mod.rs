//! What is advised about hosts that are made up: what must be, and nothing else of medium or high confidence.

mod any;
mod busy;
mod host;
mod limit;
mod model;
mod protect;
mod swap;

use collector_core::past::Day;

use crate::made::Host;

/// A day on which so much was charged, so much of it anonymous, at most.
fn day(memory: u64, anon: u64, limit: Option<u64>) -> Day {
    let [memory, anon] = [memory, anon].map(|most| [most as f64 / 2.0, most as f64 / 1.5, most as f64]);
    Day {
        memory: Some(memory),
        anon: Some(anon),
        limit: limit.map(|limit| limit as f64),
        memory_waiting: Some(0.0),
        kills: Some(0),
        kills_here: Some(0),
        ..Day::default()
    }
}

/// Days on which the host used so much at most, and waited and killed.
fn host_days(host: &mut Host, total: u64, used: f64, (waited, kills): (f64, u32)) {
    host.days(None, 8, |_| Day {
        memory: Some([total as f64 * used / 2.0, total as f64 * used / 1.5, total as f64 * used]),
        limit: Some(total as f64),
        memory_waiting: Some(waited),
        kills: Some(kills),
        kills_here: Some(kills),
        ..Day::default()
    });
}
