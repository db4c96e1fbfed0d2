//! GPUs: links that are full or lower than they could be, clocks that are held back, errors, memory that others hold or nobody any more, and
//! work that is far from its GPU.

mod copy;
mod health;
mod held;
mod link;
mod node;
#[cfg(test)]
mod tests;

use super::draft::draft;
use super::{Given, Judged, Rule};
use crate::action::{Action, Object, Risk, by_hand};
use crate::advice::{Advice, Confidence, Lacking};
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
];

/// In seconds: nothing is said before it was seen for so long, and from these on more is sure.
const ENOUGH: f64 = 3600.0;
const SOME: f64 = 6.0 * 3600.0;
const MUCH: f64 = 20.0 * 3600.0;
/// Facts of so many of the last nanoseconds: as far back as steps are kept.
const LATELY_NS: u64 = 180_000_000_000;

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
        draft(rule, self.object(), actions, title, why)
    }

    /// What no command does.
    fn by_hand(&self, what: &str, risk: Risk) -> Vec<Action> {
        vec![by_hand(self.object(), what.to_owned(), risk)]
    }

    /// Whether so many seconds of it are known; if not, that is what is lacking.
    fn seen(&self, rule: &'static str, seconds: f64, judged: &mut Judged) -> bool {
        if seconds < ENOUGH {
            let minutes = (seconds / 60.0).floor();
            lacks(judged, rule, self.object(), format!("an hour of its numbers: there are {minutes} minutes"));
        }
        seconds >= ENOUGH
    }
}

fn lacks(judged: &mut Judged, rule: &'static str, object: Object, missing: String) {
    judged.lacking.push(Lacking { rule: rule.to_owned(), object, missing });
}

/// By how long something was seen, and no surer than `most`; with why.
fn sure(seconds: f64, most: Confidence) -> (Confidence, String) {
    let hours = crate::amount::fixed(seconds / 3600.0, if seconds < SOME { 1 } else { 0 });
    match seconds {
        seconds if seconds < SOME => (Confidence::Low, format!("it was seen for {hours} hours only")),
        seconds if seconds < MUCH => {
            (most.min(Confidence::Medium), format!("it was seen for {hours} hours, less than a day"))
        }
        _ => (most, format!("it was seen for {hours} hours of the last day")),
    }
}

/// Names of the workloads that hold its memory, those with most first.
fn holders<'a>(given: &Given<'a>, gpu: &Gpu) -> Vec<(&'a str, Option<u64>)> {
    let held = gpu.holders(&given.view.workloads);
    let mut held: Vec<_> = held.into_iter().map(|(name, (_, bytes))| (name, bytes)).collect();
    held.sort_by_key(|one| std::cmp::Reverse(one.1));
    held
}
