//! Model servers: prompt caches, KV cache in host memory, context and slots against GPU memory, requests at once. What a server did in the
//! last day is known since the agent began; a rule that rests on it says how long that is.

mod change;
mod host;
mod pace;
mod prompt;
mod room;
#[cfg(test)]
mod tests;

use super::draft::{self, ENOUGH, MUCH};
use super::{Given, Judged, Rule};
use crate::action::{Action, Object, Risk, by_hand};
use crate::advice::{Advice, Confidence};
use crate::statistic::model::{Kind, State, Statistic, Values};
use crate::view::gpu::Gpu;
use crate::view::model::Told;
use crate::view::slow::{ModelHours, holds};
use crate::view::workload::Workload;
pub(super) use pace::AIM;

pub(super) const RULES: &[Rule] = &[
    prompt::PROMPT_CACHE_LOWER,
    host::KV_OFFLOAD_LOWER,
    host::KV_OFFLOAD_RAISE,
    host::KV_OFFLOAD_OVER,
    host::WEIGHT_OFFLOAD_OVER,
    host::SWAP_SPACE,
    room::KV_CACHE_RAISE,
    room::KV_CACHE_LOWER,
    pace::CONCURRENCY_LOWER,
    pace::SLOTS_RAISE,
];

/// A model of a server that answers.
struct Served<'a> {
    given: &'a Given<'a>,
    told: &'a Told,
    kind: Kind,
    model: &'a str,
    values: &'a Values,
    workload: Option<&'a Workload>,
    day: ModelHours,
}

/// Of servers of these kinds, one model after the other.
fn each<'a>(given: &'a Given<'a>, kinds: &'a [Kind]) -> impl Iterator<Item = Served<'a>> {
    let of = move |told: &'a std::sync::Arc<Told>| {
        let kind = told.server.kind.filter(|kind| kinds.contains(kind));
        let up = kind.filter(|_| told.state == State::Up);
        up.into_iter().flat_map(move |kind| {
            told.models.iter().map(move |(model, served)| Served {
                given,
                told,
                kind,
                model,
                values: &served.values,
                workload: told.workload(&given.view.workloads),
                day: given.view.slow.day_of_model(&told.server.name, model).unwrap_or_default(),
            })
        })
    };
    given.view.models.servers.values().flat_map(of)
}

impl<'a> Served<'a> {
    fn get(&self, statistic: Statistic) -> Option<f64> {
        self.values.get(statistic).map(|value| value as f64)
    }

    fn object(&self) -> Object {
        Object::Server(self.told.server.name.to_string())
    }

    /// As sentences name it: `llama.cpp (llama_cpp:8080)`.
    fn name(&self) -> String {
        format!("{} ({})", self.kind.title(), self.told.server.name)
    }

    /// GPUs that its workload holds memory of.
    fn gpus(&self) -> Vec<&'a Gpu> {
        let Some(workload) = self.workload else { return Vec::new() };
        let view = self.given.view;
        view.gpus.iter().filter(|gpu| holds(view, gpu, workload)).collect()
    }

    /// Whether it was seen for long enough; if not, that is what is lacking.
    fn seen(&self, rule: &'static str, judged: &mut Judged) -> bool {
        draft::seen(judged, rule, self.object(), self.day.seconds)
    }

    fn lacks(&self, rule: &'static str, judged: &mut Judged, missing: &str) {
        judged.lacks(rule, self.object(), missing);
    }

    /// By how long it was seen, and no surer than `most`; with why.
    fn sure(&self, most: Confidence) -> (Confidence, String) {
        draft::sure(self.day.seconds, most)
    }

    /// Where no flag is known for it, the change is still one that restarts the server.
    fn draft(&self, rule: &'static str, mut actions: Vec<Action>, title: String, why: String) -> Advice {
        if actions.is_empty() {
            let what = "what its own configuration has for it, and a restart".to_owned();
            actions.push(by_hand(self.object(), what, Risk::High));
        }
        draft::draft(rule, self.object(), actions, title, why)
    }

    fn over(&self) -> u64 {
        self.day.seconds.round() as u64
    }
}

/// One advice of a rule for a server: that of its first model that has it.
fn give(judged: &mut Judged, advice: Advice) {
    if !judged.advice.iter().any(|other| other.id == advice.id) {
        judged.advice.push(advice);
    }
}

/// Servers whose KV cache is too small and whose GPUs have nothing left: the name, its workload, and how short it is.
pub(super) fn contended(given: &Given<'_>) -> Vec<(String, std::sync::Arc<str>, String)> {
    let of = |served: Served<'_>| {
        let (said, _) = room::short(&served).filter(|_| served.day.seconds >= ENOUGH)?;
        room::spare(&served).filter(|spare| spare.shared && spare.bytes < room::WORTH * spare.total)?;
        Some((served.name(), served.workload?.name.clone(), said))
    };
    each(given, room::KINDS).filter_map(of).collect()
}
