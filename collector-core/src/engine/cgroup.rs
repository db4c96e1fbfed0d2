//! cgroup: creation, removal, renames and joins of cgroups.

use super::State;
use crate::outcome::Outcome;
use crate::signal::cgroup::Reading;
use crate::view::coverage::CgroupEvent;

pub(super) fn fold(State { view, .. }: State<'_>, time: u64, reading: &Reading) -> Option<Outcome> {
    match reading {
        Reading::Walk => view.workloads.walk(),
        Reading::Walked => view.workloads.walked(time),
        Reading::Given { path, uid } => view.workloads.given(path, *uid),
        Reading::Born { id, path } => {
            if !view.workloads.walking() {
                view.coverage.cgroup_event(CgroupEvent::Born);
            }
            view.workloads.born(*id, path, time, &mut view.coverage);
        }
        Reading::Died { id } => {
            if view.workloads.tracks(*id) {
                view.coverage.cgroup_event(CgroupEvent::Died);
            }
            view.workloads.died(*id, time);
        }
        Reading::Renamed { id, path } => {
            view.coverage.cgroup_event(CgroupEvent::Renamed);
            view.workloads.renamed(*id, path, time, &mut view.coverage);
        }
        Reading::Joined { id, with } => view.workloads.joined(*id, *with, time, &mut view.coverage),
        Reading::Attached { .. } => view.coverage.cgroup_event(CgroupEvent::Attached),
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_joined_cgroup_is_not_counted() {
        use crate::cgroup::Id;
        use crate::engine::test::{ID, engine};
        use crate::sample::{Reading as Any, Sample};
        let mut engine = engine();
        let joined = Id { hierarchy: 77, id: 1 };
        for reading in
            [Reading::Joined { id: joined, with: ID }, Reading::Died { id: joined }, Reading::Died { id: ID }]
        {
            engine.apply(&Sample { time: 20, reading: Any::Cgroup(reading) });
        }
        assert_eq!(engine.view().coverage.cgroup_events[CgroupEvent::Died as usize], 1);
    }
}
