//! How a server is started otherwise: its flags, or the variables of what starts it. Knows flags, and no rule.

use super::Served;
use crate::action::{self, Action, Setting};
use crate::program::{Flags as Given, Program};
use crate::statistic::model::Kind;
use crate::target;

/// A flag of each server that has it, with its value.
#[derive(Clone, Debug, Default)]
pub(super) struct Flags {
    pub vllm: Vec<(&'static str, String)>,
    pub sglang: Vec<(&'static str, String)>,
    pub llama: Vec<(&'static str, String)>,
    /// Ollama's variables; its runners inherit those of llama-server.
    pub ollama: Vec<(&'static str, String)>,
}

/// The change, if this server has a flag for it.
pub(super) fn configure(served: &Served<'_>, flags: &Flags) -> Vec<Action> {
    let (program, settings) = match served.kind {
        Kind::Vllm => (Program::Vllm, &flags.vllm),
        Kind::Sglang => (Program::Sglang, &flags.sglang),
        Kind::LlamaCpp if of_ollama(served) => (Program::Ollama, &flags.ollama),
        Kind::LlamaCpp => (Program::LlamaCpp, &flags.llama),
        _ => return Vec::new(),
    };
    if settings.is_empty() {
        return Vec::new();
    }
    let settings: Vec<Setting> = settings.iter().map(|(name, value)| Setting::new(name, value)).collect();
    let given = match program {
        // Nobody may read its variables.
        Program::Ollama => &Given::new(),
        _ => &*served.told.server.flags,
    };
    let target = served.workload.and_then(|workload| target::of(served.given.view, &workload.name));
    let action = match target {
        Some(target) => target.configure(program, &settings, given),
        None => action::configure(served.object(), None, program, &settings, given),
    };
    action.into_iter().collect()
}

/// Whether Ollama started it.
pub(super) fn of_ollama(served: &Served<'_>) -> bool {
    let parent = served.told.server.parent.as_ref();
    let parent = parent.and_then(|name| served.given.view.models.servers.get(name));
    parent.is_some_and(|parent| parent.server.kind == Some(Kind::Ollama))
}
