//! [`Engine::apply`]: the one pure fold. Everything that decides anything is behind it; no IO, no clock, no await.

use std::sync::Arc;

use serde::Serialize;

use crate::alert::Alert;
use crate::incident::Incident;
use crate::pressure;
use crate::rule::Rules;
use crate::sample::{Reading, Sample};
use crate::signal::{Named, block, cgroup, compaction, fault, kswapd, oom, reclaim, transfer};
use crate::view::alert::{self, Alerts};
use crate::view::{View, incident};

/// A fact worth telling somebody about at once, with the workloads in it named.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A process was killed because memory was out.
    OomKill(Box<oom::Named>),
    /// A task waited long for memory to be reclaimed.
    ReclaimStall(Box<Named<reclaim::Stall>>),
    /// A task waited long for memory to be compacted.
    CompactionStall(Box<Named<compaction::Stall>>),
    /// A block IO took long.
    SlowIo(Box<Named<block::OnDevice>>),
    /// A block IO failed.
    FailedIo(Box<Named<block::OnDevice>>),
    /// The CUDA driver refused an allocation.
    AllocationRefused(Box<Named<transfer::Refusal>>),
    /// Tasks of the host waited for longer than a trigger allows.
    Pressure(pressure::Stall),
    /// Something that needs explaining, with its evidence.
    Incident(Box<Incident>),
    /// A rule holds, or no longer holds.
    Alert(Box<Alert>),
}

impl From<Incident> for Outcome {
    fn from(incident: Incident) -> Outcome {
        Outcome::Incident(Box::new(incident))
    }
}

/// The state, and the only way to change it.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    view: Arc<View>,
    version: u64,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new() -> Engine {
        Engine::default()
    }

    /// An engine that has seen nothing, and looks at these rules.
    pub fn with(rules: Arc<Rules>) -> Engine {
        let view = View { alerts: Alerts::new(rules), ..View::default() };
        Engine { view: Arc::new(view), version: 0 }
    }

    /// Folds one sample into the view. What comes back is worth telling at once, facts before the alerts that come of them;
    /// mostly nothing.
    pub fn apply(&mut self, sample: &Sample) -> Vec<Outcome> {
        self.version += 1;
        // Copies only while somebody still reads the previous state.
        let view = Arc::make_mut(&mut self.view);
        let mut outcomes = Engine::fold(view, sample);
        alert::apply(view, sample.time, &sample.reading, &mut outcomes);
        outcomes
    }

    fn fold(view: &mut View, sample: &Sample) -> Vec<Outcome> {
        let time = sample.time;
        view.observe(time, &sample.reading);
        let mut outcomes = Vec::new();
        let outcome = match &sample.reading {
            Reading::Start(start) => {
                view.start(time, start);
                None
            }
            Reading::Tick => {
                view.tick(time);
                outcomes = oom::release(view);
                None
            }
            Reading::Probe(probe) => {
                view.coverage.probe(probe);
                None
            }
            Reading::Lost(lost) => {
                view.coverage.lose(&lost.stage, lost.count);
                None
            }
            Reading::Program(program) => {
                view.coverage.program(time, program);
                None
            }
            Reading::Process(process) => {
                view.coverage.process = Some(process.clone());
                None
            }
            Reading::Source(source) => {
                view.coverage.source(source);
                None
            }
            Reading::Delivery(delivery) => {
                view.coverage.delivery(delivery);
                None
            }
            Reading::Name(name) => {
                view.workloads.named(name.cgroup, &name.names);
                outcomes = oom::release(view);
                None
            }
            Reading::Statistics(statistics) => {
                view.workloads.measured(time, statistics.cgroup, &statistics.values, statistics.turn);
                None
            }
            Reading::Host(values) => {
                view.host.statistics.advance(values);
                outcomes.extend(view.host.missed(time).into_iter().map(Outcome::Pressure));
                None
            }
            Reading::Disk(reading) => {
                view.host.disk(reading, &mut view.coverage);
                None
            }
            Reading::Filesystem(reading) => {
                view.host.filesystem(reading, &mut view.coverage);
                None
            }
            Reading::Gpu(reading) => {
                view.gpus.fold(time, reading, &mut view.coverage);
                None
            }
            Reading::Pressure(reading) => view.host.pressure(time, reading).map(Outcome::Pressure),
            Reading::Cgroup(reading) => cgroup::fold(view, time, reading),
            Reading::Oom(reading) => oom::fold(view, time, reading),
            Reading::Reclaim(reading) => reclaim::fold(view, time, reading),
            Reading::Kswapd(reading) => kswapd::fold(view, time, reading),
            Reading::Compaction(reading) => compaction::fold(view, time, reading),
            Reading::Fault(reading) => fault::fold(view, time, reading),
            Reading::Block(reading) => block::fold(view, time, reading),
            Reading::Transfer(reading) => transfer::fold(view, time, reading),
            // The alerts' own.
            Reading::Restored(_) => None,
        };
        outcomes.extend(outcome);
        let incidents = incident::fold(view, time, &sample.reading, &outcomes);
        outcomes.extend(incidents.into_iter().map(Outcome::from));
        outcomes
    }

    /// What was still held back, at the end of all samples.
    pub fn finish(&mut self) -> Vec<Outcome> {
        let view = Arc::make_mut(&mut self.view);
        let mut outcomes = oom::release_all(view);
        let incidents = incident::finish(view, &outcomes);
        outcomes.extend(incidents.into_iter().map(Outcome::from));
        alert::end(view, &mut outcomes);
        outcomes
    }

    /// The state so far. Holding on to a clone of it makes the next [`Engine::apply`] copy the state.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    #[cfg(test)]
    pub(crate) fn view_mut(&mut self) -> &mut View {
        Arc::make_mut(&mut self.view)
    }

    /// Moves with each sample: equal versions, equal views.
    pub fn version(&self) -> u64 {
        self.version
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::test::{ID, engine, start};

    #[test]
    fn the_version_moves_with_each_sample_and_an_older_view_stays_as_it_was() {
        let mut engine = engine();
        let (before, version) = (engine.view().clone(), engine.version());
        engine.apply(&Sample { time: 99, reading: Reading::Tick });
        assert_eq!(engine.version(), version + 1);
        assert_eq!((before.time, engine.view().time), (10, 99));
    }

    #[test]
    fn stalls_of_an_endless_window_are_folded() {
        let mut engine = engine();
        let (resource, kind) = (pressure::Resource::Memory, pressure::Kind::Stalled);
        let trigger = pressure::Trigger { resource, kind, threshold_ns: 0, window_ns: u64::MAX };
        for time in [20, u64::MAX] {
            let stall = pressure::Stall { trigger, total_ns: None };
            let outcomes = engine.apply(&Sample { time, reading: Reading::Pressure(pressure::Reading::Stall(stall)) });
            assert!(matches!(outcomes[..], [Outcome::Pressure(_), ..]), "{outcomes:?}");
            engine.apply(&Sample { time, reading: Reading::Tick });
        }
    }

    #[test]
    fn a_second_start_begins_anew() {
        let mut engine = engine();
        let counts = fault::Reading::Counts { cgroup: Some(ID), counts: [1; 8] };
        engine.apply(&Sample { time: 20, reading: Reading::Fault(counts) });
        engine.apply(&Sample { time: 30, reading: Reading::Start(start()) });
        assert_eq!(engine.view().workloads.iter().count(), 1);
        assert_eq!(engine.view().started, 30);
    }
}
