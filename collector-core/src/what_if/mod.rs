//! What would have been if something had been otherwise: a limit, swap, a workload that did not run. Judges a recording while an engine
//! replays it: for each kill whether it would have happened, which others would have, who would have waited, and what requests would have
//! been answered. Pure; knows no engine, and changes none.

mod alter;
mod change;
mod domain;
mod kill;
mod point;
mod report;
mod stall;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cgroup::{Id, contains};
use crate::count::sum;
use crate::incident::{Incident, Kind, Source};
use crate::lease::{Answer, Body};
use crate::outcome::Outcome;
use crate::sample::{Reading, Sample};
use crate::signal::cgroup;
use crate::signal::oom::Scope;
use crate::statistic::workload::Statistic::{MemoryActiveFile, MemoryLimit};
use crate::view::View;
use crate::view::number::{Known, Number};
use crate::view::workload::{OTHER, Workload};

pub use change::{Change, FORMS, NoChange};
use domain::Domain;
use kill::{Judged, Shortage};
use point::{Held, Place, Point};
pub use report::{Caused, Fate, Kill, Report, Request, Stall};

/// The host has no name and the path of the root.
const HOST: &str = "/";

/// Judges one change over one recording.
#[derive(Debug)]
pub struct WhatIf {
    change: Change,
    from: u64,
    until: u64,
    /// Path of the changed workload's own cgroup, and its ids by that path.
    path: Option<Arc<str>>,
    id: Option<Id>,
    held: Held,
    seen: bool,
    /// Bytes that were taken from it, when last counted; and those while it held no more than what would have been left to it.
    taken: Option<u64>,
    kept: u64,
    /// Memory is accounted on cgroup v1.
    v1: bool,
    /// By the path of the cgroup that has the limit.
    domains: BTreeMap<Arc<str>, Domain>,
    /// When parts of memory were last read, and stalls counted, by workload.
    parts: BTreeMap<Arc<str>, u64>,
    stalled: BTreeMap<Arc<str>, u64>,
    kills: Vec<Kill>,
    /// What was asked and not yet answered: by number, when.
    asked: BTreeMap<u64, u64>,
    requests: Vec<Request>,
}

impl WhatIf {
    pub fn new(change: Change) -> WhatIf {
        WhatIf {
            change,
            from: 0,
            until: 0,
            path: None,
            id: None,
            held: Held::default(),
            seen: false,
            taken: None,
            kept: 0,
            v1: false,
            domains: BTreeMap::new(),
            parts: BTreeMap::new(),
            stalled: BTreeMap::new(),
            kills: Vec::new(),
            asked: BTreeMap::new(),
            requests: Vec::new(),
        }
    }

    /// What a second engine is to be given in place of a sample, before this one is given to [`WhatIf::see`].
    pub fn alter(&self, sample: &Sample) -> Option<Sample> {
        let subject = alter::Subject { id: self.id, path: self.path.as_deref(), held: self.held };
        alter::alter(&self.change, &subject, sample)
    }

    /// A sample, what an engine made of it, and what that engine and a second one, which got the altered sample, told.
    pub fn see(&mut self, sample: &Sample, view: &View, told: &[Outcome], otherwise: &[Outcome]) {
        self.from = if self.from == 0 { sample.time } else { self.from };
        self.until = self.until.max(sample.time);
        match &sample.reading {
            Reading::Cgroup(cgroup::Reading::Born { id, path }) if self.path.as_deref() == Some(path.as_str()) => {
                self.id = Some(*id).filter(|id| id.hierarchy == view.workloads.memory_hierarchy()).or(self.id);
            }
            Reading::Statistics(statistics) => {
                let hierarchy = view.workloads.memory_hierarchy();
                let own = |workload: &Workload| Some(&*workload.name) == self.change.workload();
                if statistics.cgroup.hierarchy == hierarchy && view.workloads.of(statistics.cgroup).is_some_and(own) {
                    self.id = Some(statistics.cgroup);
                }
            }
            Reading::Tick => self.tick(sample.time, view),
            _ => {}
        }
        if let Some(number) = alter::asked(sample) {
            self.asked.insert(number, sample.time);
        }
        self.answers(told, otherwise);
        self.told(view, told);
    }

    /// What an engine told, also after the last sample.
    pub fn told(&mut self, view: &View, told: &[Outcome]) {
        for outcome in told {
            if let Outcome::Incident(incident) = outcome {
                self.incident(incident, view);
            }
        }
    }

    fn tick(&mut self, time: u64, view: &View) {
        let known = Known::of(&view.coverage);
        let subject = self.change.workload().and_then(|name| view.workloads.find(name));
        if let Some(workload) = subject {
            self.path = Some(workload.identity.top.clone());
            self.seen = true;
        }
        let fresh = subject.is_some_and(|it| self.is_fresh(it));
        let before = self.own().and_then(|domain| domain.points.back()).map(|point| point.held);
        self.held = subject.and_then(|it| point::held(it, before, fresh)).unwrap_or_default();
        if let (Some(workload), Change::Low { bytes, .. }) = (subject, &self.change) {
            let taken = sum(workload.amounts.reclaim.iter().map(|reclaim| reclaim.target_bytes));
            let more = taken.saturating_sub(self.taken.replace(taken).unwrap_or(taken));
            self.kept += if self.held.total <= *bytes { more } else { 0 };
        }
        self.v1 = view.workloads.memory_hierarchy() != 0;
        let mut deeper: Vec<(Arc<str>, Arc<str>, u64)> = Vec::new();
        for workload in view.workloads.iter().filter(|it| it.is_shown() && &*it.name != OTHER) {
            let ns = Number::Stall.of(workload, known).unwrap_or(0);
            let before = self.stalled.insert(workload.name.clone(), ns).unwrap_or(ns);
            if ns > before {
                deeper.push((workload.name.clone(), workload.identity.top.clone(), ns - before));
            }
            self.read(time, workload);
        }
        if let Some((held, total)) = point::host(view) {
            let place = self.place(HOST);
            let point = Point { time, held, limit: Some(total), subject: self.held, fresh: true };
            self.put(HOST.into(), None, place, point, 0);
        }
        // At the nearest limit that was reached.
        for (name, top, ns) in deeper {
            let full = |(path, domain): &(&Arc<str>, &mut Domain)| {
                contains(path, &top) && domain.points.back().is_some_and(|point| point.time == time && point.is_full())
            };
            let nearest = self.domains.iter_mut().filter(full).max_by_key(|(path, _)| path.len());
            if let Some((_, domain)) = nearest {
                *domain.stalls.entry(name).or_default() += ns;
            }
        }
    }

    fn own(&self) -> Option<&Domain> {
        self.domains.get(self.path.as_ref()?)
    }

    fn is_fresh(&self, workload: &Workload) -> bool {
        workload.recent.parts_read.is_some_and(|read| self.parts.get(&workload.name) != Some(&read))
    }

    fn place(&self, path: &str) -> Place {
        match (&self.change, &self.path) {
            // Below the host only.
            (Change::Start { within: None, .. }, _) if path == HOST => Place::Own,
            (Change::Swap { .. }, _) => Place::Elsewhere,
            (_, subject) => Place::of(subject.as_deref(), path),
        }
    }

    /// What one workload holds, if the change concerns its limit.
    fn read(&mut self, time: u64, workload: &Workload) {
        let top = workload.identity.top.clone();
        let place = self.place(&top);
        let limit = workload.statistics.get(MemoryLimit);
        let concerns = match self.change {
            Change::Swap { .. } => limit.is_some(),
            _ => place != Place::Elsewhere,
        };
        if !concerns {
            return;
        }
        let fresh = self.is_fresh(workload);
        if let Some(read) = workload.recent.parts_read {
            self.parts.insert(workload.name.clone(), read);
        }
        let before = self.domains.get(&top).and_then(|domain| domain.points.back()).map(|point| point.held);
        let Some(held) = point::held(workload, before, fresh) else { return };
        let active = workload.statistics.get(MemoryActiveFile).unwrap_or(0);
        let point = Point { time, held, limit, subject: self.held, fresh };
        self.put(top, Some(workload.name.clone()), place, point, active);
    }

    fn put(&mut self, path: Arc<str>, name: Option<Arc<str>>, place: Place, point: Point, active: u64) {
        let gone = self.own().is_some_and(|domain| domain.dead);
        let domain = self.domains.entry(path).or_insert_with(|| Domain::new(name, place));
        domain.place = place;
        domain.read(&self.change, point, active, gone);
    }

    fn incident(&mut self, incident: &Incident, view: &View) {
        if incident.kind != Kind::Oom || incident.evidence.requested {
            return;
        }
        // Of an incident the last report counts.
        if let Some(known) = self.kills.iter_mut().find(|kill| kill.id == incident.id) {
            known.killed = incident.evidence.killed.max(1);
            return;
        }
        if !incident.complete {
            return;
        }
        let judged = self.judge(incident, view);
        self.kills.push(Kill {
            time: incident.time,
            id: incident.id.clone(),
            workload: incident.labels.get("workload").cloned(),
            process: incident.evidence.kills.first().map(|victim| victim.comm.clone()),
            killed: incident.evidence.killed.max(1),
            fate: judged.fate,
            later_seconds: judged.later_seconds,
            why: judged.why,
        });
    }

    fn judge(&mut self, incident: &Incident, view: &View) -> Judged {
        let evidence = &incident.evidence;
        let gone = self.own().is_some_and(|domain| domain.was_dead(incident.time));
        let limit = evidence.limit.as_ref().filter(|limit| limit.source != Source::Unknown);
        let domain = match (evidence.scope, limit) {
            (Some(Scope::Host), _) => self.domains.get_mut(HOST),
            (_, Some(limit)) => {
                let name = limit.workload.as_deref();
                self.domains.values_mut().find(|domain| domain.name.as_deref() == name && name.is_some())
            }
            _ => return Judged::new(Fate::NotKnown, "Which limit was reached is not in the recording.".to_owned()),
        };
        let inside = |name: &str| is_inside(&self.change, self.path.as_deref(), view, name);
        let first = evidence.kills.first();
        let asker = first.and_then(|victim| victim.trigger.workload.as_deref().or(victim.workload.as_deref()));
        let Some(domain) = domain else {
            let whose = limit.and_then(|limit| limit.workload.as_deref()).unwrap_or("the host");
            return Judged::new(
                Fate::Same,
                format!("It was at the limit of {whose}, which the change does not concern."),
            );
        };
        let shortage = Shortage {
            time: incident.time,
            limit: limit.and_then(|limit| limit.bytes),
            by_subject: asker.is_some_and(inside),
            gone,
        };
        kill::judge(&self.change, domain, &shortage)
    }

    fn answers(&mut self, told: &[Outcome], otherwise: &[Outcome]) {
        let answers = |outcomes: &[Outcome]| -> Vec<Answer> {
            let answer = |outcome: &Outcome| match outcome {
                Outcome::Answer(answer) => Some((**answer).clone()),
                _ => None,
            };
            outcomes.iter().filter_map(answer).collect()
        };
        let others = answers(otherwise);
        for answer in answers(told) {
            let Some(time) = self.asked.remove(&answer.number) else { continue };
            // A claim may wait in one of both.
            let other = others.iter().find(|other| other.number == answer.number);
            let (was, _) = said(&answer.body);
            let (would, why) = other.map_or(("waiting".to_owned(), String::new()), |other| said(&other.body));
            if was != would {
                self.requests.push(Request { time, number: answer.number, was, would, why });
            }
        }
    }

    /// After the last sample.
    pub fn finish(self, view: &View) -> Report {
        let inside = |name: &str| is_inside(&self.change, self.path.as_deref(), view, name);
        let mut stalls: Vec<Stall> =
            self.domains.values().flat_map(|domain| stall::judge(&self.change, domain, inside)).collect();
        stalls.sort_by(|one, two| two.seconds.total_cmp(&one.seconds));
        let mut caused: Vec<Caused> = self.domains.values().flat_map(|domain| domain.caused.iter().cloned()).collect();
        caused.sort_by_key(|caused| caused.time);
        let mut not_known = Vec::new();
        if let Some(name) = self.change.workload().filter(|_| !self.seen) {
            not_known.push(format!("The recording has no workload {name}: nothing follows from it."));
        }
        if !self.kills.is_empty() && self.kills.iter().any(|kill| kill.fate == Fate::Later) {
            not_known.push(
                "How much memory would have been asked for in the end: a kill ends the recording of that.".to_owned(),
            );
        }
        if self.v1 && matches!(self.change, Change::Low { .. }) {
            not_known.push("This host accounts memory on cgroup v1, which has no memory.low.".to_owned());
        }
        let above = || {
            let named = self.domains.iter().filter(|(_, domain)| domain.place == Place::Below && domain.name.is_some());
            named.max_by_key(|(path, _)| path.len()).map(|(_, domain)| domain)
        };
        let measured = if matches!(self.change, Change::Without { .. }) { above() } else { self.own() };
        let peak = measured.map(|domain| domain.peak).filter(|peak| *peak > 0);
        Report {
            from: self.from,
            until: self.until,
            kills: self.kills,
            caused,
            stalls,
            requests: self.requests,
            peak,
            kept: matches!(self.change, Change::Low { .. }).then_some(self.kept),
            assumptions: assumptions(&self.change),
            not_known,
            change: self.change,
        }
    }
}

/// Whether a workload is the changed one, or below it.
fn is_inside(change: &Change, subject: Option<&str>, view: &View, name: &str) -> bool {
    let path = view.workloads.find(name).map(|workload| &*workload.identity.top);
    Some(name) == change.workload() || path.zip(subject).is_some_and(|(path, subject)| contains(subject, path))
}

/// What an answer says, and why.
fn said(body: &Body) -> (String, String) {
    match body {
        Body::Verdict(verdict) => (verdict.verdict.label().to_owned(), verdict.reason.clone()),
        Body::Granted(granted) => ("granted".to_owned(), granted.verdict.reason.clone()),
        Body::Refused { detail, .. } => ("refused".to_owned(), detail.clone()),
        _ => ("answered".to_owned(), String::new()),
    }
}

fn assumptions(change: &Change) -> Vec<String> {
    let mut all = vec!["Everybody else asks for the same memory at the same time.".to_owned()];
    all.extend(match change {
        Change::Limit { .. } => vec![
            "At a limit the kernel drops page cache first, and kills when the rest has no room.".to_owned(),
            "What it would have done after a kill is not known: one kill is counted for each rise.".to_owned(),
        ],
        Change::Swap { .. } => {
            vec!["What is swapped out is not needed again soon: else there would be waits.".to_owned()]
        }
        Change::Low { .. } => {
            vec!["memory.low changes whose memory is taken first. It prevents no OOM kill at a limit.".to_owned()]
        }
        Change::Without { .. } => vec!["Nobody needs what it does.".to_owned()],
        Change::Start { .. } => {
            vec!["What it holds is there from the start on, and none of it can be reclaimed.".to_owned()]
        }
    });
    all
}
