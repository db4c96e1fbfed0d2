//! The latency of model servers over time: whether each model takes longer than it did in the last hours at like load. Writes what it
//! finds into the view, and knows nothing of incidents.

mod baseline;
mod judge;
#[cfg(test)]
mod tests;
mod window;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::latency::{Limits, MEASURES, Measure};
use crate::statistic::model::Statistic::{KvTokens, Slots};
use crate::statistic::model::{Kind, MODELS, Model, Reading, Server, State};
use crate::view::model::{Load, Models, SERVERS, Served, Standing};
use baseline::Baseline;
use judge::{FORGET, Judge};
use window::{LONGEST, Point, Window};

/// At most this many models have a baseline.
const TRACKS: usize = 512;
/// At most this many windows are kept of all models: about 6 MiB. The models that have most give way.
const POINTS: usize = 64 * 1024;
/// A window becomes part of the baseline so many windows later: it may be the first of those that are worse.
const PENDING: usize = 3;
/// Without an answer for so many windows, what happened meanwhile is not known well enough.
const GAP: u64 = 2;
/// Windows in which it was worse, for when they become the baseline.
const WORSE: usize = 60;

/// By server and model.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    limits: Limits,
    tracks: BTreeMap<(Arc<str>, Arc<str>), Track>,
    /// Windows in all baselines.
    points: usize,
}

#[derive(Clone, Debug)]
struct Track {
    /// Which program it is and how it is set up: another one has another baseline.
    setup: Setup,
    pid: Option<u32>,
    open: Option<Window>,
    /// Since when requests run and too few have ended to say how long they take: whatever the next window shows began then.
    busy: Option<u64>,
    /// Windows that are not judged, after a start: caches are cold.
    warm: u8,
    baseline: Baseline,
    /// Windows that will be part of it.
    pending: VecDeque<Point>,
    /// Windows in which it was worse.
    worse: VecDeque<Point>,
    judges: [Judge; MEASURES],
    /// The last window.
    load: Load,
    /// When it last answered.
    seen: u64,
}

type Setup = (Option<Kind>, Option<u64>, Option<u64>);

impl Track {
    fn new(setup: Setup, pid: Option<u32>) -> Track {
        Track {
            setup,
            pid,
            open: None,
            busy: None,
            warm: 0,
            baseline: Baseline::default(),
            pending: VecDeque::new(),
            worse: VecDeque::new(),
            judges: [Judge::default(); MEASURES],
            load: Load::default(),
            seen: 0,
        }
    }
}

impl Fold {
    /// Other limits from now on. Windows of another length cannot be compared.
    pub fn limit(&mut self, limits: &Limits, models: &mut Models) {
        if self.limits.window_ns != limits.window_ns || !limits.enabled {
            (self.tracks, self.points) = (BTreeMap::new(), 0);
            for told in models.servers.values_mut() {
                let models = Arc::make_mut(told).models.values_mut();
                models.for_each(|served| served.standing = Standing::default());
            }
        }
        self.limits = limits.clone();
    }

    /// A server answered, after the view has folded it.
    pub fn fold(&mut self, models: &mut Models, time: u64, reading: &Reading) {
        let Some(answer) = reading.answer.as_ref().filter(|_| self.limits.enabled) else { return };
        let name = &reading.server.name;
        match answer.state {
            State::Up => {}
            // A server that is too busy to answer goes on with its requests.
            State::Failed => return,
            State::Loading | State::Asleep | State::Silent | State::Unreachable => {
                let first = (name.clone(), Arc::from(""));
                let of = self.tracks.range_mut(first..).take_while(|((server, _), _)| server == name);
                return of.for_each(|(_, track)| track.interrupted());
            }
        }
        for model in answer.models.iter().take(MODELS) {
            let served = models.servers.get(name).and_then(|told| told.models.get(&model.name));
            let Some(standing) = served.and_then(|served| self.model(time, &reading.server, model, served)) else {
                continue;
            };
            let told = models.servers.get_mut(name).map(Arc::make_mut);
            if let Some(served) = told.and_then(|told| told.models.get_mut(&model.name)) {
                served.standing = standing;
            }
        }
        while self.points > POINTS {
            let Some(largest) = self.tracks.values_mut().max_by_key(|track| track.baseline.len()) else { return };
            largest.baseline.drop_oldest();
            self.points -= 1;
        }
    }

    /// One of its models. Returns what is shown of it from now on, if that changed.
    fn model(&mut self, time: u64, server: &Server, model: &Model, served: &Served) -> Option<Standing> {
        let key = (server.name.clone(), model.name.clone());
        let setup = (server.kind, served.values.get(Slots), served.values.get(KvTokens));
        if !self.tracks.contains_key(&key) && !self.make_room(time, &server.name) {
            return None;
        }
        let track = self.tracks.entry(key).or_insert_with(|| Track::new(setup, server.pid));
        let before = track.baseline.len();
        if track.setup != setup {
            *track = Track::new(setup, server.pid);
        }
        if track.pid != server.pid {
            track.pid = server.pid;
            track.interrupted();
        }
        let changed = track.answered(time, served, &self.limits);
        let standing = Standing { lines: track.judges.iter().filter_map(Judge::line).collect(), load: track.load };
        self.points = (self.points + track.baseline.len()).saturating_sub(before);
        (changed || standing.lines.len() != served.standing.lines.len()).then_some(standing)
    }

    /// Room for one more of this server. If there is none, a server that has more models than one can have at a time, this one first,
    /// loses the one that was silent for longest; else the one of all that was, if it was for longer than any window lasts.
    fn make_room(&mut self, time: u64, server: &Arc<str>) -> bool {
        if self.tracks.len() < TRACKS {
            return true;
        }
        let mut counts: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        self.tracks.keys().for_each(|(server, _)| *counts.entry(server).or_default() += 1);
        let most = counts.iter().max_by_key(|(_, count)| **count).filter(|(_, count)| **count > MODELS);
        let greedy = match counts.get(server) {
            Some(count) if *count >= MODELS => Some(server.clone()),
            _ => most.map(|(server, _)| (*server).clone()),
        };
        let of = self.tracks.iter().filter(|((of, _), _)| greedy.as_ref().is_none_or(|greedy| greedy == of));
        let oldest = of.min_by_key(|(_, track)| track.seen).map(|(key, track)| (key.clone(), track.seen));
        let Some((key, seen)) = oldest else { return true };
        let gives_way = greedy.is_some() || time.saturating_sub(seen) > LONGEST * self.limits.window_ns;
        if gives_way && let Some(track) = self.tracks.remove(&key) {
            self.points = self.points.saturating_sub(track.baseline.len());
        }
        gives_way
    }
}

impl Track {
    /// It started again, sleeps or loads: what was begun says nothing.
    fn interrupted(&mut self) {
        (self.open, self.busy, self.warm) = (None, None, 1);
        self.pending.clear();
        self.judges.iter_mut().for_each(Judge::interrupted);
    }

    /// Returns whether anything that is shown changed.
    fn answered(&mut self, time: u64, model: &Served, limits: &Limits) -> bool {
        let back = time < self.seen;
        self.seen = time;
        let Some(window) = &mut self.open else {
            self.open = Some(Window::begin(time, model));
            return false;
        };
        // The clock was set, or nobody could ask for long.
        let long = time.saturating_sub(window.last()) > GAP.saturating_mul(limits.window_ns);
        if back || long {
            // A server that is too busy to answer works on what ran when it last did.
            let works = !back && window.works();
            self.busy = works.then(|| self.busy.unwrap_or(window.last()));
            self.open = Some(Window::begin(time, model));
            return false;
        }
        if window.add(time, model).is_none() {
            self.interrupted();
            self.open = Some(Window::begin(time, model));
            return false;
        }
        let mut point = window.end(limits, model);
        if point.is_none() && time - window.began < LONGEST * limits.window_ns {
            return false;
        }
        let busy = window.works().then(|| self.busy.unwrap_or(window.began));
        match &mut point {
            // A quiet night of few requests is no request that hangs.
            Some(point) => {
                let oldest = point.began.saturating_sub(FORGET.saturating_mul(limits.window_ns));
                point.since = self.busy.take().map_or(point.since, |busy| busy.max(oldest));
            }
            None => self.busy = busy,
        }
        self.open = Some(Window::begin(time, model));
        match point {
            Some(_) if self.warm > 0 => {
                self.warm -= 1;
                false
            }
            Some(point) => {
                self.ended(point, limits);
                true
            }
            None => {
                // Each of them is told.
                let changed = self.judges.iter_mut().filter_map(|judge| judge.idle(time, limits).then_some(())).count();
                changed > 0
            }
        }
    }

    fn ended(&mut self, point: Point, limits: &Limits) {
        self.load = point.load;
        let mut judged = false;
        for (measure, judge) in Measure::all().zip(&mut self.judges) {
            judged |= judge.judge(measure, &point, &self.baseline, limits);
            judge.idle(point.ended, limits);
        }
        // Nothing like it is known: the next one may show since when.
        self.busy = (!judged && point.since < point.began).then_some(point.since);
        let found = self.judges.iter().filter_map(Judge::found).min();
        let Some(found) = found else {
            self.worse.clear();
            self.pending.push_back(point);
            if self.pending.len() > PENDING
                && let Some(point) = self.pending.pop_front()
            {
                self.baseline.learn(&point, limits.baseline_ns);
            }
            return;
        };
        let ended = point.ended;
        self.worse.extend(self.pending.drain(..));
        self.worse.push_back(point);
        while self.worse.len() > WORSE {
            self.worse.pop_front();
        }
        if ended.saturating_sub(found) > limits.accept_ns {
            self.baseline.clear();
            self.worse.drain(..).for_each(|point| self.baseline.learn(&point, limits.baseline_ns));
            self.judges.iter_mut().for_each(Judge::accept);
        }
    }
}

/// Servers whose models can have a baseline.
const _: () = assert!(TRACKS <= SERVERS * MODELS);
