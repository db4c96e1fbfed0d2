//! How short of memory the host was in its last days. Knows no rule.

use super::Given;
use super::need::recent;
use crate::past::{Day, Past};

/// A day on which this share of the memory was in use at some time was short of it.
const SHORT: f64 = 0.9;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Shortage {
    /// Memory of the host, in bytes, and what of it could be had when it was last read.
    pub total: f64,
    pub available: f64,
    /// The most in use, as a share of the memory; absent if there is no history.
    pub peak: Option<f64>,
    /// Days on which it was short.
    pub days: u32,
    /// On these days: processes that were killed because the host had run out of memory, and seconds in which tasks waited for memory.
    pub kills: u32,
    pub waited: f64,
    /// For how many seconds of all days anything is known.
    pub seconds: u64,
}

/// Whether so much of the host's memory was in use on a day.
fn is_short(day: &Day, total: f64) -> bool {
    day.memory.is_some_and(|[.., most]| most / day.limit.unwrap_or(total).max(1.0) >= SHORT)
}

impl Shortage {
    /// `None` where the host's memory is not known.
    pub(super) fn of(given: &Given<'_>) -> Option<Shortage> {
        let memory = given.view.host.memory()?;
        let total = memory.total as f64;
        let known = Shortage {
            total,
            available: memory.available as f64,
            peak: None,
            days: 0,
            kills: 0,
            waited: 0.0,
            seconds: 0,
        };
        Some(recent(given.past, &given.past.host.days).fold(known, |sum, (day, _)| {
            let seconds = sum.seconds + u64::from(day.seconds);
            let Some([.., most]) = day.memory else { return Shortage { seconds, ..sum } };
            let share = most / day.limit.unwrap_or(total).max(1.0);
            let short = is_short(day, total);
            Shortage {
                peak: Some(sum.peak.unwrap_or(0.0).max(share)),
                days: sum.days + u32::from(short),
                kills: sum.kills + day.kills_here.filter(|_| short).unwrap_or(0),
                waited: sum.waited + day.memory_waiting.filter(|_| short).unwrap_or(0.0),
                seconds,
                ..sum
            }
        }))
    }

    /// Whether a workload grew by this share of the host's memory on a day on which the host was short of it.
    pub(super) fn grew(&self, past: &Past, workload: &str, share: f64) -> bool {
        let days = past.workloads.get(workload).map_or(&[][..], |span| &span.days);
        let short = |time| past.host.days.iter().any(|host| host.time == time && is_short(host, self.total));
        recent(past, days).any(|(day, _)| {
            let grew = day.memory.is_some_and(|[least, _, most]| most - least >= share * self.total);
            grew && short(day.time)
        })
    }

    /// Whether somebody suffered from it: killed, or waiting for more than a thousandth of the time.
    pub(super) fn hurt(&self) -> bool {
        self.kills > 0 || self.days > 0 && self.waited >= self.seconds as f64 / 1000.0
    }
}
