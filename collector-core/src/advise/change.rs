//! Changes of a workload's memory limits and of its server's settings, as actions. Knows no rule, and not what is typed.

use crate::action::{Action, Owner, Setting, Target};
use crate::program::{Flags, Program};
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

/// A weight of CPUs that is more or less than usual, to be set unless it has more or less already: that is not known. `None` for pods,
/// whose weight follows from their request for CPUs.
pub(super) fn cpu_weight(target: &Target, weight: u64) -> Option<Action> {
    let mut action = target.cpu_weight(weight).filter(|_| !matches!(target.owner, Owner::Kubernetes { .. }))?;
    let already = if weight > 100 { "more" } else { "less" };
    for command in &mut action.commands {
        let note = format!("Leave it as it is if it has {already} already.");
        command.note = Some(command.note.take().map_or(note.clone(), |known| format!("{known} {note}")));
    }
    Some(action)
}

/// Each of these alone, of a server that was `given` these flags.
pub(super) fn configure(
    view: &View,
    workload: &str,
    program: Program,
    settings: &[Setting],
    given: &Flags,
) -> Vec<Action> {
    let Some(target) = target::of(view, workload) else { return Vec::new() };
    let each = settings.iter().filter_map(|setting| target.configure(program, std::slice::from_ref(setting), given));
    each.collect()
}
