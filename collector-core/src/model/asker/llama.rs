//! What `/props` of llama-server says decides what else it is asked.

use super::Asker;
use crate::model::get::Get;
use crate::model::json::llama;
use crate::model::name;
use crate::model::rest::Work;
use crate::statistic::model::Statistic::{
    self, DecodeSteps, GeneratedTokens, KvTokens, KvUsed, PromptTokens, RequestsRunning, RequestsWaiting, Slots,
};
use crate::statistic::model::{Kind, State, Values};
use crate::statistic::{Kind as Nature, Statistic as _};

/// What is said of one without `--metrics`.
pub(super) const NO_METRICS: &str =
    "it was started without --metrics: tokens, times and waiting requests are not known";

impl Asker {
    pub(super) fn props(&mut self, kind: Option<Kind>, body: &[u8]) {
        let Some(props) = llama::props(body) else {
            if kind.is_some() {
                self.settle(State::Failed, "it does not answer as llama-server does");
            }
            return;
        };
        if props.router {
            self.recognise(Kind::LlamaRouter);
            self.round.todo.push(Get::Models);
            return;
        }
        self.recognise(Kind::LlamaCpp);
        self.learnt.name = props.model.as_deref().map(name::base).or(self.learnt.name.take());
        (self.learnt.slots, self.learnt.caches_prompts) = (props.slots, props.asleep.is_some());
        let asleep = props.asleep.unwrap_or(false);
        let asks = self.rest.round(self.round.now, asleep);
        if asleep || !asks {
            let state = if asleep { State::Asleep } else { State::Up };
            self.round.decide(state);
            if !asleep {
                self.round.why =
                    Some("it is idle and may fall asleep soon: it is not asked for numbers, because that would keep it awake".to_owned());
            }
            let mut model = self.model();
            model.values = self.learnt.last.as_ref().map(|last| kept(&last.values, asleep)).unwrap_or_default();
            self.round.models = vec![model];
            return;
        }
        self.round.decide(State::Up);
        self.round.models = vec![self.model()];
        let wanted = [
            (Get::Models, self.learnt.weights.is_none()),
            // To ask it of who fell asleep just now would wake it.
            (Get::Slots, props.slots_shown != Some(false) && !self.rest.sleeps()),
            (Get::Metrics, props.metrics != Some(false)),
        ];
        self.round.todo =
            wanted.into_iter().filter(|(get, wanted)| *wanted && !self.lacks(*get)).map(|(get, _)| get).collect();
        if props.metrics == Some(false) || self.lacks(Get::Metrics) {
            self.round.why = Some(NO_METRICS.to_owned());
        }
    }
}

/// What still holds of what a server told before: counters do not fall, and who sleeps does not work.
fn kept(values: &Values, asleep: bool) -> Values {
    let stays = |statistic: Statistic| statistic.kind() == Nature::Counter || [Slots, KvTokens].contains(&statistic);
    let mut kept: Values = values.iter().filter(|(statistic, _)| stays(*statistic)).collect();
    if asleep {
        [RequestsRunning, RequestsWaiting].into_iter().for_each(|none| kept.set(none, 0));
        kept.put(KvUsed, None);
    }
    kept
}

impl Work {
    pub(super) fn of(values: &Values) -> Work {
        let busy = |statistic| values.get(statistic).is_some_and(|number| number > 0);
        let moved = [DecodeSteps, PromptTokens, GeneratedTokens].map(|statistic| values.get(statistic).unwrap_or(0));
        Work { busy: busy(RequestsRunning) || busy(RequestsWaiting), moved }
    }
}
