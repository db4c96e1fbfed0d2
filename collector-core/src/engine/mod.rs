//! [`Engine::apply`]: the one pure fold. All decisions are made behind it; no IO, no clock, no await. It folds into the view,
//! which others read; rules, open incidents and kills that wait for a name are internal.

mod advice;
mod alert;
mod audit;
mod block;
mod cgroup;
mod compaction;
mod fault;
mod held;
mod incident;
mod kill;
#[cfg(test)]
mod known;
mod kswapd;
mod latency;
mod leak;
mod lease;
mod level;
mod oom;
mod past;
mod pressure;
mod reclaim;
mod scaling;
mod start;
mod starved;
#[cfg(test)]
pub(crate) mod test;
mod transfer;
mod victim;

use std::sync::Arc;

use crate::cgroup::Id;
use crate::incident::Incident;
use crate::outcome::{Named, Outcome};
use crate::rule::Rules;
use crate::sample::{Reading, Sample};
use crate::signal::counted::Count;
use crate::signal::table::signals;
use crate::view::View;
use crate::view::incident::{Culprit, IncidentLine, Kept};
use alert::Alerts;
use held::Held;
use incident::Incidents;
use kill::Senders;
use victim::Victims;

/// The state, and the only way to change it.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    view: Arc<View>,
    /// Rules, and the series for which they hold.
    alerts: Alerts,
    /// Incidents that are not complete yet.
    incidents: Incidents,
    /// Kills that wait for a name.
    held: Held,
    /// Processes that the OOM killer marked recently.
    victims: Victims,
    /// Who sent signals recently.
    senders: Senders,
    /// Levels over time.
    level: level::Fold,
    /// What workloads hold over time.
    leaks: leak::Leaks,
    /// Latencies of model servers over time.
    latency: latency::Fold,
    /// Advice over time.
    advice: advice::Fold,
    /// Parts of what is new of the last days.
    past: past::Parts,
}

/// What a signal's fold may change.
struct State<'a> {
    view: &'a mut View,
    held: &'a mut Held,
    victims: &'a mut Victims,
    senders: &'a mut Senders,
}

impl Engine {
    /// An empty engine without rules.
    pub fn new() -> Engine {
        Engine::default()
    }

    /// An empty engine that evaluates these rules.
    pub fn with(rules: Arc<Rules>) -> Engine {
        let alerts = Alerts::new(rules);
        let view = View { firing: alerts.none_fires(), ..View::default() };
        Engine { view: Arc::new(view), alerts, ..Engine::default() }
    }

    /// Folds one sample into the view. Returns what must be reported at once, facts before the alerts that follow from them;
    /// usually nothing.
    pub fn apply(&mut self, sample: &Sample) -> Vec<Outcome> {
        let time = sample.time;
        let mut outcomes = self.fold(time, &sample.reading);
        let Engine { view, alerts, incidents, .. } = self;
        let view = Arc::make_mut(view);
        let explained = incident::fold(incidents, view, time, &sample.reading, &outcomes);
        explained.iter().for_each(|incident| view.incidents.keep(kept(incident)));
        outcomes.extend(explained.into_iter().map(Outcome::from));
        alert::apply(alerts, view, time, &sample.reading, &mut outcomes);
        if matches!(sample.reading, Reading::Tick) {
            view.workloads.seen();
        }
        outcomes
    }

    /// Evaluates these rules from now on. Returns the alerts that end because no rule has them any more.
    pub fn replace_rules(&mut self, rules: Arc<Rules>) -> Vec<Outcome> {
        let view = Arc::make_mut(&mut self.view);
        let time = view.time;
        self.alerts.replace(rules, view, time)
    }

    /// The source restarted: its counters start at zero again, and so does everything derived from them.
    fn restart(&mut self, time: u64) {
        let alerts = self.alerts.cleared();
        let view = View { time, firing: alerts.none_fires(), ..View::default() };
        *self = Engine { view: Arc::new(view), alerts, ..Engine::default() };
    }

    /// Returns what was still held back, after the last sample.
    pub fn finish(&mut self) -> Vec<Outcome> {
        let Engine { view, alerts, incidents, held, .. } = self;
        let view = Arc::make_mut(view);
        let mut outcomes = oom::release_all(view, held);
        let explained = incident::finish(incidents, view, &outcomes);
        explained.iter().for_each(|incident| view.incidents.keep(kept(incident)));
        outcomes.extend(explained.into_iter().map(Outcome::from));
        alert::end(alerts, view, &mut outcomes);
        outcomes
    }

    /// Adds incidents from before the source started, unless they were reported again since.
    pub fn remember(&mut self, past: &[Incident]) {
        let view = Arc::make_mut(&mut self.view);
        for incident in past.iter().filter(|incident| view.incidents.find(&incident.id).is_none()).collect::<Vec<_>>() {
            view.incidents.keep(kept(incident));
        }
    }

    /// The current state. While a clone of it is held, the next [`Engine::apply`] copies the state.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }
}

macro_rules! fold {
    (
        folded { $(
            $signal:ident: $Reading:ident from $Origin:ident, record [$($Kind:ident)?], maps [$($map:literal => $counters:ident),*];
        )* }
        counted { $($counted:ident: $Counted:ident, $counted_map:literal;)* }
    ) => {
        impl Engine {
            fn fold(&mut self, time: u64, reading: &Reading) -> Vec<Outcome> {
                if matches!(reading, Reading::Start(_)) && self.view.build.is_some() {
                    self.restart(time);
                }
                let Engine { view, held, victims, senders, level, leaks, latency, advice, past, .. } = self;
                // Copies only while a reader still holds the previous state.
                let view = Arc::make_mut(view);
                view.observe(time, reading);
                let mut outcomes = Vec::new();
                match reading {
                    Reading::Start(start) => {
                        view.start(time, start);
                        leaks.start(start.leak);
                    }
                    Reading::Tick => {
                        let history = view.tick(time);
                        view.step(time);
                        outcomes = oom::release(view, held);
                        leak::tick(leaks, view, time);
                        let changes = level::tick(level, view, time);
                        outcomes.extend(changes.into_iter().map(|change| Outcome::Level(Box::new(change))));
                        outcomes.extend(history.map(|quarter| Outcome::History(Box::new(quarter))));
                        let leases = lease::tick(view, time);
                        start::count(view, None, &leases);
                        outcomes.extend(leases);
                        scaling::tick(view, time);
                        view.starts.tick(time, view.level.host.level, view.leases.held.values());
                        outcomes.extend(advice::tick(advice, view, time));
                        audit::tick(view, time);
                    }
                    Reading::Probe(probe) => view.coverage.probe(probe),
                    Reading::Lost(lost) => view.coverage.lose(lost.stage, lost.count),
                    Reading::Program(program) => view.coverage.program(time, program),
                    Reading::Process(process) => view.coverage.process = Some(process.clone()),
                    Reading::Source(source) => view.coverage.source(source),
                    Reading::Delivery(delivery) => view.coverage.delivery(delivery),
                    Reading::Endpoint(endpoint) => view.coverage.endpoint(endpoint),
                    Reading::Name(name) => {
                        view.workloads.named(name.cgroup, &name.names);
                        outcomes = oom::release(view, held);
                    }
                    Reading::Statistics(statistics) => {
                        view.workloads.measured(time, statistics.cgroup, &statistics.values, statistics.turn);
                    }
                    Reading::Usage(usage) => view.workloads.used(usage),
                    Reading::Host(values) => {
                        let swap = view.host.swap();
                        view.host.measure(time, values);
                        view.workloads.swap(swap, view.host.swap());
                        outcomes.extend(pressure::missed(&mut view.host, time).into_iter().map(Outcome::Pressure));
                    }
                    Reading::Disk(reading) => view.host.disk(time, reading, &mut view.coverage),
                    Reading::Filesystem(reading) => match &reading.owner {
                        Some(owner) => view.host.volume(reading, owner, &view.workloads, &mut view.coverage),
                        None => view.host.filesystem(reading, &mut view.coverage),
                    },
                    Reading::Network(reading) => {
                        let crate::view::View { host, workloads, coverage, .. } = view;
                        host.network.fold(time, reading, workloads, coverage);
                    }
                    Reading::Gpu(reading) => view.gpus.fold(time, reading, &mut view.coverage),
                    Reading::Model(reading) => {
                        view.models.fold(time, reading, &mut view.coverage);
                        latency.fold(&mut view.models, time, reading);
                    }
                    Reading::Contention(reading) => {
                        if let Some(workload) = view.workloads.name(reading.cgroup) {
                            view.slow.fold(&workload, reading);
                        }
                    }
                    Reading::Member(reading) => {
                        if let Some(workload) = view.workloads.name(reading.cgroup) {
                            view.rising.fold(time, &workload, reading);
                        }
                    }
                    Reading::ModelFile(reading) => view.model_files.fold(time, reading, &mut view.coverage),
                    Reading::Pressure(reading) => {
                        outcomes.extend(pressure::fold(&mut view.host, time, reading).map(Outcome::Pressure));
                    }
                    $(Reading::$Reading(reading) => {
                        outcomes.extend($signal::fold(State { view, held, victims, senders }, time, reading));
                    })*
                    $(Reading::$Counted(reading) => {
                        view.workloads.charge(reading.cgroup).counted.$counted.add(&reading.counts);
                    })*
                    Reading::Request(request) => {
                        outcomes = lease::request(view, time, request);
                        start::count(view, Some(request), &outcomes);
                    }
                    Reading::Lease(kept) => {
                        outcomes = lease::kept(view, time, kept);
                        start::count(view, None, &outcomes);
                    }
                    Reading::Level(limits) => view.level.limit(limits),
                    Reading::Scaling(limits) => view.scaling.limits = limits.clone(),
                    Reading::Schedule(schedule) => view.schedule.replace(schedule),
                    Reading::Latency(limits) => latency.limit(limits, &mut view.models),
                    Reading::Past(change) => {
                        advice.restore(&change.standing, time);
                        past.add(view, change);
                    }
                    // Handled with the alerts.
                    Reading::Restored(_) => {}
                }
                outcomes
            }
        }
    };
}
signals!(fold);

fn kept(incident: &Incident) -> Kept {
    // Strings and numbers only: serialization cannot fail.
    let json = serde_json::to_string(incident).unwrap_or_default().into();
    Kept { line: IncidentLine::of(incident), culprit: Culprit::of(incident), json }
}

/// Adds the name of the workload to a fact.
fn named<T>(view: &View, time: u64, cgroup: Option<Id>, fact: T) -> Named<T> {
    Named { time, workload: cgroup.and_then(|id| view.workloads.name(id)), fact }
}

#[cfg(test)]
mod tests {
    use super::test::{ID, engine, start};
    use super::*;
    use crate::pressure;
    use crate::signal::fault;

    #[test]
    fn a_view_that_is_held_does_not_change() {
        let mut engine = engine();
        let before = engine.view().clone();
        engine.apply(&Sample { time: 99, reading: Reading::Tick });
        assert_eq!((before.time, engine.view().time), (10, 99));
    }

    #[test]
    fn stalls_of_an_infinite_window_are_folded() {
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
    fn a_second_start_resets_the_state() {
        let mut engine = engine();
        let counts = fault::Reading::Counts { cgroup: Some(ID), counts: [1; 8] };
        engine.apply(&Sample { time: 20, reading: Reading::Fault(counts) });
        engine.apply(&Sample { time: 30, reading: Reading::Start(start()) });
        assert_eq!(engine.view().workloads.iter().count(), 1);
        assert_eq!(engine.view().started, 30);
    }
}
