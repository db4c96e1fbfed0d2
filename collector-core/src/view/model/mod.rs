//! Model servers: what each said last. Decides nothing.

mod minute;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::stage::Stage;
use crate::statistic::model::{MODELS, Reading, Server, State, Values};
use crate::view::coverage::Coverage;

pub use minute::{Minute, Span};

/// At most this many servers are kept. More are counted as lost, stage `model`.
pub const SERVERS: usize = 256;

/// By name.
#[derive(Clone, Debug, Default)]
pub struct Models {
    pub servers: BTreeMap<Arc<str>, Told>,
}

/// A server, and what it said last.
#[derive(Clone, Debug)]
pub struct Told {
    pub server: Arc<Server>,
    /// When, in nanoseconds since the Unix epoch.
    pub time: u64,
    pub state: State,
    pub why: Option<Arc<str>>,
    /// Nanoseconds that asking it took.
    pub took: u64,
    /// By name, as it last told them. Empty while it tells none.
    pub models: BTreeMap<Arc<str>, Served>,
}

/// A model of a server.
#[derive(Clone, Debug, Default)]
pub struct Served {
    pub values: Values,
    /// Its last minute.
    pub minute: Minute,
}

impl Models {
    pub(crate) fn fold(&mut self, time: u64, reading: &Reading, coverage: &mut Coverage) {
        let name = &reading.server.name;
        let Some(answer) = &reading.answer else { return drop(self.servers.remove(name)) };
        if !self.servers.contains_key(name) && self.servers.len() >= SERVERS {
            return coverage.lose(Stage::Model, 1);
        }
        let fresh = || Told {
            server: reading.server.clone(),
            time,
            state: answer.state,
            why: None,
            took: 0,
            models: BTreeMap::new(),
        };
        let told = self.servers.entry(name.clone()).or_insert_with(fresh);
        if told.server.pid != reading.server.pid {
            told.models.clear();
        }
        told.server = reading.server.clone();
        (told.time, told.state, told.took) = (time, answer.state, answer.took);
        told.why.clone_from(&answer.why);
        let answered = &answer.models[..answer.models.len().min(MODELS)];
        told.models.retain(|name, _| answered.iter().any(|model| model.name == *name));
        for model in answered {
            let served = told.models.entry(model.name.clone()).or_default();
            served.values.advance(&model.values);
            served.minute.keep(time, &served.values, &model.latency);
        }
    }
}
