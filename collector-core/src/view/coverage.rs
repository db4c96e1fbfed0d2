//! What Headroom can observe on this host, what it lost, and what observing costs.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::count::grow;
use crate::sample::{Delivery, Endpoint, Origin, Probe, ProbeState, Process, Program, Reading, Source};
use crate::signal::cgroup;
use crate::stage::Stage;
use crate::tier::Rare;

/// At most this many names of each kind are kept. Only a foreign recording has more.
const NAMES: usize = 128;

/// Labels of cgroup events, in the order of `CgroupEvent`.
pub const CGROUP_EVENTS: [&str; 4] = ["born", "died", "renamed", "attached"];

#[derive(Clone, Copy, Debug)]
pub(crate) enum CgroupEvent {
    Born,
    Died,
    Renamed,
    Attached,
}

#[derive(Clone, Debug)]
pub struct Coverage {
    /// State of each probe and the reason for it, by program.
    pub probes: BTreeMap<String, (ProbeState, Option<String>)>,
    /// How often one of these states changed.
    changes: u64,
    /// Number of items dropped, in the order of [`Stage::ALL`].
    lost: [u64; Stage::ALL.len()],
    /// How often the agent started.
    starts: u64,
    /// Both of them as far as the history on disk has them.
    counted: ([u64; Stage::ALL.len()], u64),
    /// Cost of each program while the kernel measured it.
    pub programs: BTreeMap<Cow<'static, str>, Cost>,
    /// Last health of each source.
    pub sources: BTreeMap<Cow<'static, str>, Health>,
    /// Deliveries of each receiver of alerts since the start.
    pub sinks: BTreeMap<Arc<str>, Delivery>,
    /// What the agent's own listeners denied since the start, and whether they are open.
    pub endpoint: Option<Endpoint>,
    /// Resource use of the agent itself.
    pub process: Option<Process>,
    /// Number of samples by [`Origin`].
    pub samples: [u64; Origin::ALL.len()],
    /// Number of cgroup events, in the order of [`CGROUP_EVENTS`].
    pub cgroup_events: [u64; CGROUP_EVENTS.len()],
    /// This kernel reports the cgroup whose limit caused a kill: at least one kill had it.
    pub limit_reported: bool,
    /// This kernel reports the cgroup that was reclaimed from: at least one reclaim had it.
    pub target_reported: bool,
}

/// Cost of one program.
#[derive(Clone, Debug, Default)]
pub struct Cost {
    /// When the first measurement came, in nanoseconds since the Unix epoch.
    pub created: u64,
    pub runs: u64,
    /// Run time in nanoseconds.
    pub ns: u64,
}

/// Health of one source.
#[derive(Clone, Debug)]
pub struct Health {
    /// Everything could be read.
    pub up: bool,
    /// Duration of the last reading, in nanoseconds.
    pub ns: u64,
    /// Why something could not be read.
    pub error: Option<String>,
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage {
            probes: BTreeMap::new(),
            changes: 0,
            lost: [0; Stage::ALL.len()],
            starts: 0,
            counted: ([0; Stage::ALL.len()], 0),
            programs: BTreeMap::new(),
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
            endpoint: None,
            process: None,
            samples: Default::default(),
            cgroup_events: Default::default(),
            limit_reported: false,
            target_reported: false,
        }
    }
}

impl Coverage {
    /// Whether all programs of at least one of the alternatives are attached.
    pub fn sees(&self, alternatives: &[&[&str]]) -> bool {
        let attached = |program: &&str| matches!(self.probes.get(*program), Some((ProbeState::Attached, _)));
        alternatives.iter().any(|programs| programs.iter().all(attached))
    }

    /// Differs once another number is known, or a known one no longer.
    pub(crate) fn known(&self) -> (u64, bool, bool) {
        (self.changes, self.limit_reported, self.target_reported)
    }

    /// Whether it is known that none of the alternatives is attached.
    pub(crate) fn misses(&self, alternatives: &[&[&str]]) -> bool {
        let known = alternatives.iter().flat_map(|programs| programs.iter()).all(|it| self.probes.contains_key(*it));
        known && !self.sees(alternatives)
    }

    pub(crate) fn lose(&mut self, stage: Stage, count: u64) {
        grow(&mut self.lost[stage as usize], count);
    }

    /// Number of items dropped at this stage.
    pub fn lost(&self, stage: Stage) -> u64 {
        self.lost[stage as usize]
    }

    pub(crate) fn start(&mut self) {
        grow(&mut self.starts, 1);
    }

    /// What the history on disk does not have yet.
    pub(crate) fn uncounted(&self) -> impl Iterator<Item = (Rare, u64)> {
        let (lost, starts) = &self.counted;
        let lost = Stage::ALL.into_iter().zip(self.lost.iter().zip(lost));
        let lost = lost.map(|(stage, (all, counted))| (Rare::Lost(stage), all.saturating_sub(*counted)));
        let starts = (Rare::Start, self.starts.saturating_sub(*starts));
        std::iter::once(starts).chain(lost).filter(|(_, count)| *count > 0)
    }

    /// It has them from now on.
    pub(crate) fn count(&mut self) {
        self.counted = (self.lost, self.starts);
    }

    /// Whether the creation of a cgroup can have been missed: nothing reports it, or something was lost that may have been such a
    /// report.
    pub(crate) fn may_miss_cgroups(&self) -> bool {
        let hiding = [Stage::RingCritical, Stage::Path, Stage::MissedRun, Stage::Malformed];
        !self.sees(cgroup::EVENTS[0]) || hiding.into_iter().any(|stage| self.lost(stage) > 0)
    }

    pub(crate) fn probe(&mut self, probe: &Probe) {
        if self.probes.len() < NAMES || self.probes.contains_key(&probe.program) {
            let before = self.probes.insert(probe.program.clone(), (probe.state, probe.reason.clone()));
            self.changes += u64::from(before.is_none_or(|(state, _)| state != probe.state));
        } else {
            self.lose(Stage::Malformed, 1);
        }
    }

    pub(crate) fn program(&mut self, time: u64, program: &Program) {
        if !self.programs.contains_key(&program.program) {
            if self.programs.len() >= NAMES {
                return self.lose(Stage::Malformed, 1);
            }
            self.programs.insert(program.program.clone(), Cost { created: time, ..Cost::default() });
        }
        if let Some(cost) = self.programs.get_mut(&program.program) {
            grow(&mut cost.runs, program.runs);
            grow(&mut cost.ns, program.ns);
        }
    }

    pub(crate) fn source(&mut self, source: &Source) {
        let health = Health { up: source.up, ns: source.ns, error: source.error.clone() };
        let room = self.sources.len() < NAMES;
        match self.sources.get_mut(&source.source) {
            Some(known) => *known = health,
            None if room => {
                self.sources.insert(source.source.clone(), health);
            }
            None => self.lose(Stage::Malformed, 1),
        }
    }

    pub(crate) fn delivery(&mut self, delivery: &Delivery) {
        let room = self.sinks.len() < NAMES;
        match self.sinks.get_mut(&delivery.sink) {
            Some(known) => {
                grow(&mut known.delivered, delivery.delivered);
                grow(&mut known.failed, delivery.failed);
                known.queued = delivery.queued;
            }
            None if room => {
                self.sinks.insert(delivery.sink.clone(), delivery.clone());
            }
            None => self.lose(Stage::Malformed, 1),
        }
    }

    pub(crate) fn endpoint(&mut self, endpoint: &Endpoint) {
        let known = self.endpoint.get_or_insert_default();
        grow(&mut known.handshake, endpoint.handshake);
        grow(&mut known.host, endpoint.host);
        grow(&mut known.password, endpoint.password);
        (known.tcp, known.socket) = (endpoint.tcp, endpoint.socket);
    }

    pub(crate) fn sample(&mut self, reading: &Reading) {
        grow(&mut self.samples[reading.origin() as usize], 1);
    }

    pub(crate) fn cgroup_event(&mut self, event: CgroupEvent) {
        grow(&mut self.cgroup_events[event as usize], 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_sees_only_when_both_are_attached() {
        let mut coverage = Coverage::default();
        let alternatives: &[&[&str]] = &[&["exit", "entry"], &["kretprobe", "kprobe"]];
        let mut set = |program: &str, state| {
            coverage.probe(&Probe { program: program.into(), state, reason: None });
            coverage.sees(alternatives)
        };
        assert!(!set("exit", ProbeState::Attached));
        assert!(!set("kprobe", ProbeState::Attached));
        assert!(!set("entry", ProbeState::Failed));
        assert!(set("kretprobe", ProbeState::Attached));
        assert!(!set("kprobe", ProbeState::Disabled));
    }

    #[test]
    fn names_are_bounded_and_the_rest_is_counted() {
        let mut coverage = Coverage::default();
        for name in 0..1000 {
            let name = format!("name{name}");
            coverage.probe(&Probe { program: name.clone(), state: ProbeState::Attached, reason: None });
            coverage.program(1, &Program { program: name.clone().into(), runs: 1, ns: 1 });
            coverage.delivery(&Delivery { sink: name.as_str().into(), delivered: 1, failed: 0, queued: 0 });
            coverage.source(&Source { source: name.into(), up: true, ns: 1, error: None });
        }
        let sizes = [coverage.probes.len(), coverage.programs.len(), coverage.sources.len(), coverage.sinks.len()];
        assert_eq!(sizes, [NAMES; 4]);
        assert_eq!(coverage.lost(Stage::Malformed), 4 * (1000 - NAMES as u64));
    }
}
