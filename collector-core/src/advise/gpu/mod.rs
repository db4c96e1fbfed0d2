//! GPUs: links that are full or lower than they could be, clocks that are held back, errors, memory that others hold or nobody any more,
//! work that is far from its GPU, and work that could use more of it.

mod batch;
mod copy;
mod health;
mod held;
mod link;
mod node;
#[cfg(test)]
mod tests;

use super::draft;
use super::{Given, Judged, Rule};
use crate::action::{Action, Object, Risk, by_hand};
use crate::advice::Advice;
use crate::view::gpu::Gpu;
use crate::view::slow::GpuHours;

pub(super) const RULES: &[Rule] = &[
    link::FULL,
    link::DEGRADED,
    link::SLOT,
    copy::PAGEABLE,
    health::THROTTLED_CLOCKS,
    health::POWER_CAPPED_CLOCKS,
    health::ERRORS,
    held::SHARED,
    held::LEFT,
    node::REMOTE,
    batch::SIZE,
];

/// A whole GPU, and its last day.
struct Card<'a> {
    given: &'a Given<'a>,
    gpu: &'a Gpu,
    number: u32,
    day: GpuHours,
}

/// All GPUs, without the parts of divided ones.
fn cards<'a>(given: &'a Given<'a>) -> impl Iterator<Item = Card<'a>> {
    given.view.gpus.iter().filter(|gpu| gpu.device.parent.is_none()).filter_map(move |gpu| {
        let number = gpu.device.gpu.parse().ok()?;
        let day = given.view.slow.day_of_gpu(&gpu.device.uuid).unwrap_or_default();
        Some(Card { given, gpu, number, day })
    })
}

impl Card<'_> {
    fn object(&self) -> Object {
        Object::Gpu(self.number)
    }

    /// `GPU 0 (H100)`.
    fn name(&self) -> String {
        match self.gpu.device.model.is_empty() {
            true => format!("GPU {}", self.number),
            false => format!("GPU {} ({})", self.number, self.gpu.device.model),
        }
    }

    fn draft(&self, rule: &'static str, actions: Vec<Action>, title: String, why: String) -> Advice {
        draft::draft(rule, self.object(), actions, title, why)
    }

    /// What no command does.
    fn by_hand(&self, what: &str, risk: Risk) -> Vec<Action> {
        vec![by_hand(self.object(), what.to_owned(), risk)]
    }

    /// Whether so many seconds of it are known; if not, that is what is lacking.
    fn seen(&self, rule: &'static str, seconds: f64, judged: &mut Judged) -> bool {
        draft::seen(judged, rule, self.object(), seconds)
    }
}

/// Names of the workloads that hold memory of any GPU, each once.
fn names<'a>(given: &Given<'a>) -> Vec<&'a str> {
    let mut names: Vec<&str> = cards(given).flat_map(|card| holders(given, card.gpu)).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Names of the workloads that hold its memory, those with most first.
fn holders<'a>(given: &Given<'a>, gpu: &Gpu) -> Vec<(&'a str, Option<u64>)> {
    let held = gpu.holders(&given.view.workloads);
    let mut held: Vec<_> = held.into_iter().map(|(name, (_, bytes))| (name, bytes)).collect();
    held.sort_by_key(|one| std::cmp::Reverse(one.1));
    held
}
