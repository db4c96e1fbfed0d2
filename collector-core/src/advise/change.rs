//! Changes of a workload's memory limits and of its server's settings, as actions. Knows no rule, and not what is typed.

use crate::action::{Action, Program, Setting};
use crate::target;
use crate::view::View;

/// `memory.max`; `None` is no limit.
pub(super) fn memory_max(view: &View, workload: &str, bytes: Option<u64>) -> Vec<Action> {
    target::of(view, workload).and_then(|target| target.memory_max(bytes)).into_iter().collect()
}

pub(super) fn memory_high(view: &View, workload: &str, bytes: Option<u64>) -> Vec<Action> {
    target::of(view, workload).and_then(|target| target.memory_high(bytes)).into_iter().collect()
}

/// And as much for the cgroups above it.
pub(super) fn memory_low(view: &View, workload: &str, bytes: u64) -> Vec<Action> {
    target::of(view, workload).and_then(|target| target.memory_low(bytes)).into_iter().collect()
}

/// Each of these alone.
pub(super) fn configure(view: &View, workload: &str, program: Program, settings: &[Setting]) -> Vec<Action> {
    let Some(target) = target::of(view, workload) else { return Vec::new() };
    let each = settings.iter().filter_map(|setting| target.configure(program, std::slice::from_ref(setting)));
    each.collect()
}
