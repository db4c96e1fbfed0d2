//! Model servers that answer more slowly than usual, as incidents: one for each model, from when it is known until it is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Incidents, evidence, labels, slow};
use crate::incident::{Incident, Kind, Slowdown, Slower, duration};
use crate::latency::State;
use crate::statistic::model::{Kind as Program, Reading};
use crate::view::View;
use crate::view::model::{Line, Told};

/// An incident is reported as it is after this long, in nanoseconds.
const LONGEST_NS: u64 = 600_000_000_000;
/// A server that is gone, or does not answer, for this long in nanoseconds is slow no more: it has another incident.
const GONE_NS: u64 = 60_000_000_000;

/// Models whose slowness was reported: the id of the incident, by server and model.
#[derive(Clone, Debug, Default)]
pub(super) struct Slowdowns(BTreeMap<(Arc<str>, Arc<str>), Reported>);

#[derive(Clone, Debug)]
struct Reported {
    id: String,
    /// When the model was last there.
    seen: u64,
    workload: String,
}

/// A server answered: what is slow now, and what is no more.
pub(super) fn answered(incidents: &mut Incidents, view: &mut View, time: u64, reading: &Reading) -> Vec<Incident> {
    let server = &reading.server.name;
    let Some(told) = view.models.servers.get(server).cloned() else { return Vec::new() };
    let mut reported = Vec::new();
    for (model, served) in &told.models {
        let key = (server.clone(), model.clone());
        let known = incidents.slowdowns.0.get_mut(&key);
        match (served.standing.state(), known) {
            // What is not yet seen to be well, as after a restart that may be the cure, begins nothing: a slow window that ends here does.
            (State::Worse, None) if served.standing.worse().any(|line| line.over && line.time == time) => {
                reported.extend(begin(incidents, view, &told, model, time));
            }
            (State::Worse, None) => {}
            (State::Worse, Some(known)) => {
                known.seen = time;
                let id = known.id.clone();
                let open = incidents.open.iter_mut().find(|open| open.incident.id == id);
                if let Some(slowdown) = open.and_then(|open| open.incident.evidence.latency.as_mut()) {
                    slowdown.add(&told, model);
                }
            }
            (State::Ok | State::Learning, Some(_)) => reported.extend(end(incidents, view, &key)),
            (State::Ok | State::Learning, None) => {}
        }
    }
    reported
}

/// At a tick: completes what has lasted for long, and what is gone.
pub(super) fn tick(incidents: &mut Incidents, view: &mut View, time: u64) -> Vec<Incident> {
    if incidents.slowdowns.0.is_empty() {
        return Vec::new();
    }
    let there = |(server, model): &(Arc<str>, Arc<str>)| {
        view.models.servers.get(server).is_some_and(|told| told.models.contains_key(model))
    };
    let mut gone = Vec::new();
    for (key, known) in &mut incidents.slowdowns.0 {
        if there(key) || time < known.seen {
            known.seen = time;
        }
        if time - known.seen > GONE_NS {
            gone.push(key.clone());
        }
    }
    let mut reported: Vec<Incident> = gone.iter().flat_map(|key| end(incidents, view, key)).collect();
    let long = |open: &super::Open| {
        open.incident.kind == Kind::Latency && time.saturating_sub(open.incident.time) >= LONGEST_NS
    };
    reported.extend(super::complete(incidents, view, long));
    reported
}

fn begin(incidents: &mut Incidents, view: &mut View, told: &Told, model: &Arc<str>, time: u64) -> Vec<Incident> {
    let mut incident = Incident::new(Kind::Latency, incidents.id(time), time);
    let workload = told.workload(&view.workloads);
    incident.labels = labels(workload);
    if let Some(name) = told.server.workload.as_ref().filter(|_| workload.is_none()) {
        incident.labels.insert("workload".to_owned(), name.to_string());
    }
    let server = &told.server.name;
    for (label, value) in [("server", server), ("model", model)] {
        if !value.is_empty() {
            incident.labels.insert(label.to_owned(), value.to_string());
        }
    }
    let mut slowdown = Slowdown {
        server: server.to_string(),
        kind: told.server.kind.map(|kind| Program::label(kind).to_owned()),
        model: model.to_string(),
        since: u64::MAX,
        ..Slowdown::default()
    };
    slowdown.add(told, model);
    incident.evidence.latency = Some(slowdown);
    gather(view, &mut incident);
    let workload = incident.labels.get("workload").cloned().unwrap_or_default();
    view.slow.hold(&workload, true);
    let reported = Reported { id: incident.id.clone(), seen: time, workload };
    incidents.slowdowns.0.insert((server.clone(), model.clone()), reported);
    super::open(incidents, view, incident, time, None)
}

/// A model is slow no more: as usual again, or gone.
fn end(incidents: &mut Incidents, view: &mut View, key: &(Arc<str>, Arc<str>)) -> Vec<Incident> {
    let Some(known) = incidents.slowdowns.0.remove(key) else { return Vec::new() };
    let open = incidents.open.iter_mut().find(|open| open.incident.id == known.id);
    if let Some(slowdown) = open.and_then(|open| open.incident.evidence.latency.as_mut()) {
        slowdown.over = true;
    }
    let reported = super::complete(incidents, view, |open| open.incident.id == known.id);
    // Only now: what it was compared with is in what is held.
    let low = incidents.low.iter().any(|low| low.concerns(&known.workload));
    if !low && !incidents.slowdowns.concern(&known.workload) {
        view.slow.hold(&known.workload, false);
    }
    reported
}

impl Slowdowns {
    /// Whether a model of this workload is slow.
    pub(super) fn concern(&self, workload: &str) -> bool {
        self.0.values().any(|known| known.workload == workload)
    }
}

impl Slowdown {
    /// Takes what is worse now; of each number the worst window.
    fn add(&mut self, told: &Told, model: &str) {
        let Some(served) = told.models.get(model) else { return };
        for line in served.standing.worse() {
            let slower =
                |slower: &&mut Slower| slower.timed == line.measure.timed && slower.quantile == line.measure.quantile;
            self.since = self.since.min(line.since.unwrap_or(u64::MAX));
            self.until = self.until.max(line.time);
            let Some(now) = slower_than_usual(line) else { continue };
            match self.measures.iter_mut().find(slower) {
                Some(known) if known.ratio() >= now.ratio() => {}
                Some(known) => *known = now,
                None => self.measures.push(now),
            }
        }
        self.measures.sort_by(|one, two| two.ratio().total_cmp(&one.ratio()));
        let load = &served.standing.load;
        (self.running, self.waiting) = (load.running.map(round), load.waiting.map(round));
        (self.prompt_tokens, self.output_tokens) = (load.prompt.map(round), load.output.map(round));
    }
}

fn slower_than_usual(line: &Line) -> Option<Slower> {
    let measure = line.measure;
    Some(Slower {
        timed: measure.timed,
        quantile: measure.quantile,
        now_seconds: line.now,
        usual_seconds: line.usual?,
        windows: line.like,
    })
}

fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// What else was different while it was slow. When it is over, that was until a while ago.
fn gather(view: &View, incident: &mut Incident) {
    let Some(slowdown) = &incident.evidence.latency else { return };
    let until = if incident.complete { slowdown.until } else { view.time };
    let name = incident.labels.get("workload").cloned().unwrap_or_default();
    let server = Some((&*slowdown.server, &*slowdown.model));
    let subject = slow::Subject { workload: &name, server, since: slowdown.since.min(until) };
    let mut found = slow::evidence(view, subject, until);
    let window = view.history.window(until);
    let evidence = &mut incident.evidence;
    if let Some(before) = evidence.slow.take() {
        found.keep(before);
    }
    evidence.slow = Some(found);
    evidence.host = evidence::host(view);
    evidence.history.ago = evidence::ago(&window, incident.time);
    evidence.history.host = window.lines(&view.history.host);
    if let Some(workload) = view.workloads.find(&name) {
        evidence.history.workload = window.lines(&workload.track);
        evidence.workload = Some(evidence::figures(view, workload, &window));
    }
    evidence.changes = evidence::changes(view, until, std::slice::from_ref(&&*name), None);
}

pub(super) fn complete(view: &View, incident: &mut Incident) {
    gather(view, incident);
}

pub(super) fn title(incident: &Incident) -> String {
    let Some(slowdown) = &incident.evidence.latency else { return slow::title(incident) };
    let Some(worst) = slowdown.measures.first() else { return slow::title(incident) };
    let (is, was) = if slowdown.over { ("was", "usual is") } else { ("is", "was") };
    format!(
        "{}: {} {is} {}, {was} {} at like load",
        slowdown.server,
        worst.what(),
        duration(worst.now_seconds),
        duration(worst.usual_seconds)
    )
}

#[cfg(test)]
impl Slowdowns {
    /// With one model of this workload, which was last there then.
    pub(super) fn of(workload: &str, seen: u64) -> Slowdowns {
        let known = Reported { id: String::new(), seen, workload: workload.to_owned() };
        Slowdowns(BTreeMap::from([(("s".into(), "m".into()), known)]))
    }
}
