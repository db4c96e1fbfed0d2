//! Protection of memory acts only as far as the cgroups above protect as much (`effective_protection` of mm/page_counter.c): what must be set
//! there first.

use super::{cgroup, systemd};
use crate::action::{Above, Change, Known, Owner, Target};

/// Commands for the cgroups above, the outermost first, and what to know of it.
pub(super) fn first(target: &Target, change: &Change) -> (Vec<String>, Option<String>) {
    let (more, has): (u64, fn(&Above) -> Option<u64>) = match change {
        Change::MemoryLow(bytes) => {
            (bytes.saturating_sub(target.known.memory_low.unwrap_or(0)), |above| above.memory_low)
        }
        Change::MemoryMin(bytes) => {
            (bytes.saturating_sub(target.known.memory_min.unwrap_or(0)), |above| above.memory_min)
        }
        _ => return (Vec::new(), None),
    };
    if more == 0 || matches!(target.owner, Owner::Kubernetes { .. } | Owner::Below(_)) {
        return (Vec::new(), None);
    }
    let mut commands = Vec::new();
    let mut unknown = false;
    for above in &target.above {
        // What is protected there already may be somebody else's.
        let wanted = has(above).map(|protected| protected.saturating_add(more));
        let change = match (change, wanted) {
            (Change::MemoryLow(_), Some(wanted)) => Change::MemoryLow(wanted),
            (_, Some(wanted)) => Change::MemoryMin(wanted),
            (_, None) => {
                unknown = true;
                continue;
            }
        };
        let command = match &above.owner {
            Owner::Unit { unit, transient, user } => systemd::of_unit(unit, *transient, *user, &change, target.unified),
            Owner::Cgroup => cgroup::of(&whole(target, above), &change),
            _ => None,
        };
        unknown |= command.is_none();
        commands.extend(command.map(|command| command.text));
    }
    let note = match (unknown, commands.is_empty()) {
        (true, _) => {
            Some("The cgroups above must protect as much, or it does nothing: not all of them are known here.")
        }
        (false, false) => Some("What is above it must protect as much, or it does nothing: so that comes first."),
        (false, true) => None,
    };
    (commands, note.map(str::to_owned))
}

fn whole(target: &Target, above: &Above) -> Target {
    let (owner, path) = (above.owner.clone(), above.path.clone());
    Target { name: path.clone(), owner, path, unified: target.unified, known: Known::default(), above: Vec::new() }
}
