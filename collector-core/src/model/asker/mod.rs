//! [`Asker`]: one server over all rounds. It decides what to ask next, and makes an [`Answer`] of what came. It never asks what would change
//! the server: see [`super::rest`]. Knows neither sockets nor time: both are given.

mod learnt;
mod llama;
mod round;

use super::get::Get;
use super::identify::Found;
use super::json::{self, ollama, sglang, tgi};
use super::rest::{Rest, Work};
use super::setting::Settings;
use super::table;
use crate::statistic::model::Statistic::Asleep;
use crate::statistic::model::{Answer, Kind, MODELS, Model, State};
use learnt::Learnt;
use round::{Round, cut};

/// How long what a server does not answer is not asked again, in nanoseconds.
const AGAIN_NS: u64 = 600_000_000_000;
/// How long a server that was never known is left alone.
const UNKNOWN_NS: u64 = 60_000_000_000;

/// Asks one server, round after round: [`begin`](Asker::begin), then [`next`](Asker::next) until it is `None`, each followed by
/// [`got`](Asker::got) or [`failed`](Asker::failed), then [`finish`](Asker::finish).
#[derive(Clone, Debug)]
pub struct Asker {
    /// Absent until it was recognised.
    kind: Option<Kind>,
    /// Somebody said the kind: it is not found out again.
    given: bool,
    settings: Settings,
    rest: Rest,
    learnt: Learnt,
    round: Round,
}

impl Asker {
    /// For a server that was found as a process.
    pub fn found(found: &Found) -> Asker {
        let mut asker = Asker::of(Some(found.kind), found.settings.clone());
        asker.learnt.name.clone_from(&found.model);
        asker
    }

    /// For a server of which nothing is known but its address, and perhaps its kind.
    pub fn configured(kind: Option<Kind>) -> Asker {
        Asker::of(kind, Settings::default())
    }

    /// It falls asleep after so many idle nanoseconds.
    pub fn sleeping_after(mut self, sleep: Option<u64>) -> Asker {
        self.settings.sleep = sleep.or(self.settings.sleep);
        self.rest = Rest::new(self.settings.sleep);
        self
    }

    fn of(kind: Option<Kind>, settings: Settings) -> Asker {
        let rest = Rest::new(settings.sleep);
        Asker { kind, given: kind.is_some(), settings, rest, learnt: Learnt::default(), round: Round::new(0) }
    }

    pub fn kind(&self) -> Option<Kind> {
        self.kind
    }

    /// Begins a round at this time, in nanoseconds of a clock that only goes forward.
    pub fn begin(&mut self, now: u64) {
        self.round = Round::new(now);
        self.learnt.lacks.retain(|(_, again)| now < *again);
        let first = match self.kind {
            Some(Kind::LlamaCpp | Kind::LlamaRouter) => vec![Get::Props],
            Some(Kind::Ollama) => vec![Get::Running],
            Some(Kind::Sglang) if self.lacks(Get::Metrics) => vec![Get::Loads],
            Some(Kind::Tgi | Kind::Tei) if self.learnt.name.is_none() && !self.lacks(Get::Info) => {
                vec![Get::Info, Get::Metrics]
            }
            Some(_) if self.settings.silent.is_some() => vec![],
            Some(_) => vec![Get::Metrics],
            // In an order in which none takes another's answer for its own.
            None => vec![Get::Loads, Get::Running, Get::Metrics, Get::Props],
        };
        let unknown = self.kind.is_none();
        self.round.todo = first.into_iter().filter(|get| !unknown || !self.lacks(*get)).collect();
        if let Some(flag) = self.settings.silent {
            self.round.settle(State::Silent, &format!("it was started with {flag}"));
        }
    }

    /// The path to GET next; `None` if there is nothing more to ask.
    #[allow(clippy::should_implement_trait, reason = "a round is no iterator: each answer decides what comes next")]
    pub fn next(&mut self) -> Option<&'static str> {
        self.round.asked = self.round.todo.pop();
        self.round.asked.map(Get::path)
    }

    /// What came of the last GET: the status, and the whole body.
    pub fn got(&mut self, status: u16, body: &[u8]) {
        let Some(get) = self.round.asked.take() else { return };
        match (status, self.kind) {
            (401 | 403, _) => {
                self.round.todo.clear();
                self.settle(State::Silent, "it wants a key: set token_file in a [[model_server]] with its url");
            }
            (503, Some(Kind::LlamaCpp | Kind::LlamaRouter)) => {
                self.round.todo.clear();
                self.settle(State::Loading, "it loads its model");
            }
            (200, kind) => self.answered(get, kind, body),
            (status, None) => self.not_it(get, status),
            (status, Some(kind)) => self.refused(get, kind, status),
        }
    }

    /// The last GET came to nothing; why, for people.
    pub fn failed(&mut self, why: &str) {
        let Some(get) = self.round.asked.take() else { return };
        self.round.todo.clear();
        let why = format!("GET {}: {why}", get.path());
        match self.round.decided {
            // What it said before still holds.
            true => self.round.why = Some(why),
            false => self.round.settle(State::Failed, &why),
        }
    }

    /// What the server answered in this round.
    pub fn finish(&mut self, took: u64) -> Answer {
        if !self.round.decided {
            let why = match self.kind {
                None => "no model server that is known answers there: set its kind",
                Some(_) => "it said nothing that can be understood",
            };
            self.round.settle(State::Failed, why);
            // One that was known once is a model server that has trouble: when that ends is to be seen at once.
            if self.kind.is_none() && self.learnt.lacks.is_empty() && !self.learnt.known {
                let again = self.round.now.saturating_add(UNKNOWN_NS);
                self.learnt.lacks = Get::ALL.into_iter().map(|get| (get, again)).collect();
            }
        }
        let mut models = std::mem::take(&mut self.round.models);
        models.iter_mut().for_each(|model| self.complete(model));
        if matches!(self.round.state, State::Failed | State::Silent) && !self.given {
            // Another server may listen there now.
            if self.kind.take().is_some() {
                self.learnt.lacks.clear();
            }
        }
        let why = self.round.why.take().map(|why| cut(&why));
        Answer { state: self.round.state, why, took, memory: None, models }
    }

    fn lacks(&self, get: Get) -> bool {
        self.learnt.lacks.iter().any(|(lack, _)| *lack == get)
    }

    fn lack(&mut self, get: Get) {
        if !self.lacks(get) {
            self.learnt.lacks.push((get, self.round.now.saturating_add(AGAIN_NS)));
        }
    }

    fn settle(&mut self, state: State, why: &str) {
        self.round.settle(state, why);
    }

    /// It answered with a status that is no success.
    fn refused(&mut self, get: Get, kind: Kind, status: u16) {
        match (get, status) {
            (Get::Metrics, 404 | 501) if kind == Kind::Sglang => {
                self.lack(get);
                self.round.todo.push(Get::Loads);
            }
            (Get::Metrics, 404 | 501) => {
                self.lack(get);
                let why = match kind {
                    Kind::LlamaCpp => llama::NO_METRICS.to_owned(),
                    kind => format!("{} does not answer GET {} ({status})", kind.title(), get.path()),
                };
                match self.round.decided {
                    true => self.round.why = Some(why),
                    false => self.settle(State::Silent, &why),
                }
            }
            (Get::Slots | Get::Info | Get::Models, _) if kind != Kind::LlamaRouter => self.lack(get),
            (Get::Loads, 404) => {
                self.settle(State::Silent, "it was started without --enable-metrics, and does not answer /v1/loads");
            }
            _ => {
                self.round.todo.clear();
                let why = format!("it answered {status} to GET {}", get.path());
                match self.round.decided {
                    true => self.round.why = Some(why),
                    false => self.settle(State::Failed, &why),
                }
            }
        }
    }

    /// Nobody knows what it is, and it is not this.
    fn not_it(&mut self, get: Get, status: u16) {
        if get == Get::Props && status == 503 {
            // Whatever it is: it answers this until it has loaded.
            self.round.todo.clear();
            self.settle(State::Loading, "it answered 503: it loads its model, or is no model server");
        }
    }

    fn answered(&mut self, get: Get, kind: Option<Kind>, body: &[u8]) {
        match get {
            Get::Props => self.props(kind, body),
            Get::Metrics => self.metrics(kind, body),
            Get::Slots => {
                if let Some(model) = self.round.models.first_mut()
                    && json::llama::slots(body, self.settings.shared, &mut model.values).is_none()
                {
                    self.lack(get);
                }
            }
            Get::Models if kind == Some(Kind::LlamaRouter) => match json::llama::loaded(body) {
                Some((models, count)) => self.told(models, count),
                None => self.settle(State::Failed, "it answered no list of models"),
            },
            Get::Models => match json::llama::weights(body) {
                Some(bytes) => self.learnt.weights = Some(bytes),
                None => self.lack(get),
            },
            Get::Running => match ollama::loaded(body) {
                Some((models, count)) => {
                    self.recognise(Kind::Ollama);
                    self.told(models, count);
                }
                None if kind.is_some() => self.settle(State::Failed, "it answered no list of models"),
                None => {}
            },
            Get::Loads => match sglang::loads(body) {
                Some(values) => {
                    self.recognise(Kind::Sglang);
                    self.round
                        .settle(State::Up, "it was started without --enable-metrics: tokens and times are not known");
                    self.round.models = vec![Model { values, ..self.model() }];
                }
                None if kind.is_some() => self.settle(State::Failed, "it answered no loads"),
                None => {}
            },
            Get::Info => {
                self.learnt.name = tgi::model(body);
                if self.learnt.name.is_none() {
                    self.lack(get);
                }
            }
        }
    }

    fn recognise(&mut self, kind: Kind) {
        self.kind = Some(kind);
        self.learnt.known = true;
        self.round.todo.clear();
    }

    /// A server told of its models.
    fn told(&mut self, models: Vec<Model>, count: usize) {
        self.round.decide(State::Up);
        if count > MODELS {
            self.round.why = Some(format!("it has {count} models: only {MODELS} are shown"));
        }
        self.round.models = models;
    }

    /// A model without numbers.
    fn model(&self) -> Model {
        Model { name: self.learnt.name.clone().unwrap_or_default(), ..Model::default() }
    }

    fn metrics(&mut self, kind: Option<Kind>, body: &[u8]) {
        let Some(kind) = kind.or_else(|| table::recognise(body)) else { return };
        self.recognised_by_metrics(kind);
        let table::Told { models: mut told, told: count } = table::read(kind, body);
        if told.is_empty() {
            self.lack(Get::Metrics);
            match kind {
                Kind::Sglang => self.round.todo.push(Get::Loads),
                Kind::LlamaCpp => self.round.why = Some("its /metrics have no numbers of llama-server".to_owned()),
                kind => self.settle(State::Silent, &format!("its /metrics have no numbers of {}", kind.title())),
            }
            return;
        }
        if kind == Kind::LlamaCpp {
            let Some(model) = self.round.models.first_mut() else { return };
            model.values = told.remove(0).values;
            self.rest.worked(self.round.now, Work::of(&model.values));
            self.learnt.last = Some(model.clone());
            return;
        }
        // A name for what has none, if there is but one.
        if let ([model], Some(name)) = (&mut told[..], &self.learnt.name)
            && model.name.is_empty()
        {
            model.name = name.clone();
        }
        let asleep = told.iter().any(|model| model.values.get(Asleep) == Some(1));
        self.told(told, count);
        if asleep {
            self.round.decide(State::Asleep);
        }
    }

    fn recognised_by_metrics(&mut self, kind: Kind) {
        if self.kind.is_some() {
            return;
        }
        self.recognise(kind);
        match kind {
            Kind::Tgi | Kind::Tei => self.round.todo.push(Get::Info),
            // It is asked in another order: from the next round on.
            Kind::LlamaCpp => {
                self.round.decide(State::Up);
                self.round.models = vec![self.model()];
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
