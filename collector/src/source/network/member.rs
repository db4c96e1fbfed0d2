//! The cgroups that may have a network namespace of their own, and when each is looked at next. Follows the kernel's events; reads no file.

use std::collections::BTreeMap;
use std::sync::Arc;

use collector_core::cgroup::Id;
use collector_core::identity::{Grants, Shares};
use collector_core::signal::cgroup::Reading;

/// Cgroups that are followed; those of one owner are a quarter of them at most.
const CGROUPS: usize = 8192;
/// Cgroups that are looked at in one round.
const LOOKS: usize = 512;
/// Rounds between two looks at a cgroup in which nothing changes, at most.
const LONGEST: u64 = 60;

/// What a look at a cgroup found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// No process, or none that could be read.
    Nothing,
    /// The host's namespace.
    Host,
    /// Another one, by its number.
    Own(u64),
}

/// Who decides how many cgroups there are: a user, whatever the uids of its processes; a container, or another workload, with cgroups
/// of its own.
pub type Owner = Option<Arc<str>>;

pub struct Members {
    hierarchy: u64,
    cgroups: BTreeMap<Id, Cgroup>,
    owners: Shares,
    grants: Grants,
    /// Removed since the last round.
    gone: Vec<Id>,
    /// The last that was looked at.
    last: Option<Id>,
    on: bool,
    lost: u64,
}

struct Cgroup {
    path: String,
    owner: Owner,
    /// By the walk that goes on.
    seen: bool,
    due: u64,
    pause: u64,
    found: Option<Look>,
}

impl Members {
    /// Of the hierarchy that names workloads; nothing is followed unless it is `on`.
    pub fn new(hierarchy: u64, on: bool) -> Members {
        let (cgroups, owners, grants) = Default::default();
        Members { hierarchy, cgroups, owners, grants, gone: Vec::new(), last: None, on, lost: 0 }
    }

    pub fn follow(&mut self, change: &Reading) {
        match change {
            _ if !self.on => {}
            Reading::Given { path, uid } => self.grants.set(path, *uid),
            Reading::Walk => self.cgroups.values_mut().for_each(|cgroup| cgroup.seen = false),
            Reading::Walked => {
                let unseen = self.cgroups.iter().filter(|(_, cgroup)| !cgroup.seen).map(|(id, _)| *id);
                unseen.collect::<Vec<_>>().into_iter().for_each(|id| self.remove(id));
            }
            Reading::Born { id, path } if id.hierarchy == self.hierarchy => self.add(*id, path),
            Reading::Renamed { id, path } if self.cgroups.contains_key(id) => {
                self.remove(*id);
                self.add(*id, path);
            }
            Reading::Died { id } => self.remove(*id),
            // Whoever moved in may be of another namespace.
            Reading::Attached { id, .. } => {
                if let Some(cgroup) = self.cgroups.get_mut(id) {
                    (cgroup.due, cgroup.pause) = (0, 0);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, id: Id, path: &str) {
        if let Some(known) = self.cgroups.get_mut(&id) {
            known.seen = true;
            return;
        }
        let identity = self.grants.identity(path);
        let owner = Some(identity.owner.unwrap_or(identity.name));
        if self.cgroups.len() >= CGROUPS || !self.owners.has_room(&owner, CGROUPS) {
            self.lost += 1;
            return;
        }
        self.owners.take(&owner);
        let cgroup = Cgroup { path: path.to_owned(), owner, seen: true, due: 0, pause: 0, found: None };
        self.cgroups.insert(id, cgroup);
    }

    fn remove(&mut self, id: Id) {
        let Some(gone) = self.cgroups.remove(&id) else { return };
        self.owners.leave(&gone.owner);
        if matches!(gone.found, Some(Look::Own(_))) {
            self.gone.push(id);
        }
    }

    /// Those that are to be looked at in this round, with their paths and owners.
    pub fn due(&mut self, round: u64) -> Vec<(Id, String, Owner)> {
        let after = |id: &&Id| self.last.is_none_or(|last| **id > last);
        let (later, earlier): (Vec<_>, Vec<_>) = self.cgroups.iter().partition(|(id, _)| after(id));
        let due = later.into_iter().chain(earlier).filter(|(_, cgroup)| cgroup.due <= round);
        let due: Vec<_> = due.take(LOOKS).map(|(id, it)| (*id, it.path.clone(), it.owner.clone())).collect();
        self.last = due.last().map(|(id, ..)| *id);
        due
    }

    /// What a look found: whoever stays the same is looked at less and less often.
    pub fn looked(&mut self, id: Id, round: u64, found: Look) {
        let Some(cgroup) = self.cgroups.get_mut(&id) else {
            // It went meanwhile.
            self.gone.push(id);
            return;
        };
        cgroup.pause = if cgroup.found == Some(found) { (2 * cgroup.pause).clamp(1, LONGEST) } else { 1 };
        (cgroup.found, cgroup.due) = (Some(found), round + cgroup.pause);
    }

    /// Those that went since the last call.
    pub fn take_gone(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.gone)
    }

    /// Those that there was no room for, since the last call.
    pub fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u64) -> Id {
        Id { hierarchy: 3, id }
    }

    fn paths(members: &mut Members) -> Vec<String> {
        members.due(0).into_iter().map(|(_, path, _)| path).collect()
    }

    fn born(members: &mut Members, number: u64, path: &str) {
        members.follow(&Reading::Born { id: id(number), path: path.to_owned() });
    }

    #[test]
    fn who_stays_the_same_is_looked_at_less_often_and_who_gets_a_process_at_once() {
        let mut members = Members::new(3, true);
        born(&mut members, 1, "/a");
        members.follow(&Reading::Born { id: Id { hierarchy: 4, id: 9 }, path: "/other".into() });
        let mut looks = Vec::new();
        for round in 0..200 {
            for (id, path, _) in members.due(round) {
                assert_eq!(path, "/a");
                looks.push(round);
                members.looked(id, round, Look::Host);
            }
        }
        assert_eq!(looks, [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        members.follow(&Reading::Attached { id: id(1), pid: 7 });
        assert_eq!(members.due(200).len(), 1);
        members.looked(id(1), 200, Look::Own(5));
        assert_eq!((members.due(200).len(), members.due(201).len()), (0, 1));
        members.follow(&Reading::Died { id: id(1) });
        assert_eq!((members.due(999).len(), members.take_gone()), (0, vec![id(1)]));
    }

    #[test]
    fn a_walk_removes_what_it_does_not_find() {
        let mut members = Members::new(3, true);
        born(&mut members, 1, "/a");
        born(&mut members, 2, "/b");
        members.follow(&Reading::Walk);
        born(&mut members, 2, "/b");
        members.follow(&Reading::Walked);
        assert_eq!(paths(&mut members), ["/b"]);
        members.follow(&Reading::Renamed { id: id(2), path: "/c".into() });
        assert_eq!(paths(&mut members), ["/c"]);
        let mut off = Members::new(3, false);
        born(&mut off, 1, "/a");
        assert!(paths(&mut off).is_empty());
    }

    #[test]
    fn cgroups_are_bounded_for_each_owner_and_all_have_their_turn() {
        const MANAGER: &str = "/user.slice/user-7.slice/user@7.service";
        let share = CGROUPS as u64 / 4;
        let mut members = Members::new(3, true);
        members.follow(&Reading::Given { path: "/jobs/ann".into(), uid: 1000 });
        for number in 0..share + 7 {
            let below = ["app.slice", "x/y"][number as usize % 2];
            born(&mut members, number, &format!("{MANAGER}/{below}/{number}"));
            born(&mut members, 100_000 + number, &format!("/jobs/ann/{number}"));
        }
        assert_eq!((members.cgroups.len() as u64, members.take_lost()), (2 * share, 2 * 7));
        for number in 10_000..10_000 + 2 * share + 5 {
            born(&mut members, number, &format!("/a/{number}"));
        }
        assert_eq!((members.cgroups.len(), members.take_lost()), (CGROUPS, 5), "root's have no bound of their own");
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..(CGROUPS / LOOKS) as u64 {
            for (id, ..) in members.due(round) {
                seen.insert(id);
                // As if something changed at every look.
                members.looked(id, round, if round % 2 == 0 { Look::Host } else { Look::Nothing });
            }
        }
        assert_eq!(seen.len(), CGROUPS);
        let all: Vec<Id> = members.cgroups.keys().copied().collect();
        all.into_iter().for_each(|id| members.follow(&Reading::Died { id }));
        assert!(members.cgroups.is_empty() && !members.owners.any_is_full(4), "nothing is kept of who has none");
    }
}
