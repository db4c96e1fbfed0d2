//! When `block_rq_issue` is attached. A request stores itself when it was issued, where something on its device needs statistics;
//! while some device completes others, the program sees their issue.

use anyhow::Result;
use aya::Ebpf;
use collector_common::Probe as Row;
use collector_common::block::{ISSUE, SIGNAL};
use collector_common::layout::{ABSENT, Layout};
use collector_common::notice::word;
use collector_core::sample::{Probe, ProbeState, Reading};

use super::attach::{self, Link};
use super::notice::Notice;
use crate::clock;

/// Why it is not attached.
pub const STORED: &str = "requests store when they were issued; attached while those of some device do not";

/// Ticks without such a request until it is detached. Twice as many after each time that it was needed again.
const HOLD: u32 = 60;
const LONGEST: u32 = 64 * HOLD;

/// Whether this program is attached on demand: where requests have the field.
pub fn is_on_demand(probe: &Row, layout: &Layout) -> bool {
    probe.program == ISSUE && layout.request_io_start_time_ns != ABSENT
}

/// Attaches and detaches the program.
pub struct Issue {
    probe: &'static Row,
    demand: Demand,
    link: Option<Link>,
}

impl Issue {
    /// If the program is loaded, and waits until it is needed.
    pub fn new(probes: &[Probe], layout: &Layout) -> Option<Issue> {
        let probe = SIGNAL.probes.iter().find(|probe| is_on_demand(probe, layout))?;
        let waits = probes.iter().any(|it| it.program == ISSUE && it.state == ProbeState::Unneeded);
        waits.then(|| Issue { probe, demand: Demand::default(), link: None })
    }

    /// Attaches or detaches it, if it is time: `unstarted` requests without the time of their issue completed in this tick. Returns the
    /// new state.
    pub fn tick(&mut self, unstarted: u64, ebpf: &mut Ebpf, notice: &Notice) -> Option<Reading> {
        let (state, reason) = match self.demand.tick(unstarted)? {
            true => match self.attach(ebpf, notice) {
                Ok(()) => (ProbeState::Attached, None),
                Err(error) => {
                    tracing::warn!(probe = ISSUE, "probe failed: {error:#}");
                    (ProbeState::Failed, Some(format!("{error:#}")))
                }
            },
            false => {
                // First: from here on a request without a time is not lost.
                notice.set(word::ISSUES_SINCE, 0);
                self.link = None;
                (ProbeState::Unneeded, Some(STORED.to_owned()))
            }
        };
        tracing::debug!(probe = ISSUE, ?state, "probe");
        Some(Reading::Probe(Probe { program: ISSUE.to_owned(), state, reason }))
    }

    fn attach(&mut self, ebpf: &mut Ebpf, notice: &Notice) -> Result<()> {
        self.link = Some(attach::join(ebpf, self.probe)?);
        notice.set(word::ISSUES_SINCE, clock::monotonic_ns());
        Ok(())
    }
}

/// Whether it is wanted.
struct Demand {
    wanted: bool,
    /// Ticks since it was needed.
    quiet: u32,
    hold: u32,
}

impl Default for Demand {
    fn default() -> Demand {
        Demand { wanted: false, quiet: 0, hold: HOLD }
    }
}

impl Demand {
    /// Whether it is to be attached (true) or detached now.
    fn tick(&mut self, unstarted: u64) -> Option<bool> {
        self.quiet = if unstarted > 0 { 0 } else { self.quiet.saturating_add(1) };
        let wanted = unstarted > 0 || (self.wanted && self.quiet < self.hold);
        if wanted == std::mem::replace(&mut self.wanted, wanted) {
            return None;
        }
        if !wanted {
            self.hold = LONGEST.min(2 * self.hold);
        }
        Some(wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_wanted_from_the_first_such_request_until_there_was_none_for_long() {
        let mut demand = Demand::default();
        // Ticks until it is detached.
        let held = |demand: &mut Demand| (1..=2 * LONGEST).find(|_| demand.tick(0) == Some(false));
        assert_eq!([0, 0, 3, 1].map(|unstarted| demand.tick(unstarted)), [None, None, Some(true), None]);
        assert_eq!(held(&mut demand), Some(HOLD));
        assert_eq!(demand.tick(0), None);
        assert_eq!(demand.tick(1), Some(true));
        (1..HOLD).for_each(|_| assert_eq!(demand.tick(0), None));
        assert_eq!(demand.tick(1), None, "it is needed again in time");
        assert_eq!(held(&mut demand), Some(2 * HOLD), "needed again");
        for _ in 0..10 {
            assert_eq!(demand.tick(1), Some(true));
            held(&mut demand);
        }
        assert_eq!((demand.tick(1), held(&mut demand)), (Some(true), Some(LONGEST)));
    }
}
