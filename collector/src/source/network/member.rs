//! The cgroups that may have a network namespace of their own, and when each is looked at next. Follows the kernel's events; reads no file.

use std::collections::BTreeMap;

use collector_core::cgroup::Id;
use collector_core::signal::cgroup::Reading;

/// Cgroups that are followed, and those of one user's slice.
const CGROUPS: usize = 8192;
const OF_A_USER: usize = 512;
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

pub struct Members {
    hierarchy: u64,
    cgroups: BTreeMap<Id, Cgroup>,
    /// Of each user, by the name of the slice.
    users: BTreeMap<String, usize>,
    /// Removed since the last round.
    gone: Vec<Id>,
    /// The last that was looked at.
    last: Option<Id>,
    on: bool,
    lost: u64,
}

struct Cgroup {
    path: String,
    /// By the walk that goes on.
    seen: bool,
    due: u64,
    pause: u64,
    found: Option<Look>,
}

impl Members {
    /// Of the hierarchy that names workloads; nothing is followed unless it is `on`.
    pub fn new(hierarchy: u64, on: bool) -> Members {
        let (cgroups, users) = Default::default();
        Members { hierarchy, cgroups, users, gone: Vec::new(), last: None, on, lost: 0 }
    }

    pub fn follow(&mut self, change: &Reading) {
        match change {
            _ if !self.on => {}
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
        let user = user(path);
        let of_user = user.map_or(0, |user| self.users.get(user).copied().unwrap_or(0));
        if self.cgroups.len() >= CGROUPS || of_user >= OF_A_USER {
            self.lost += 1;
            return;
        }
        if let Some(user) = user {
            *self.users.entry(user.to_owned()).or_default() += 1;
        }
        let cgroup = Cgroup { path: path.to_owned(), seen: true, due: 0, pause: 0, found: None };
        self.cgroups.insert(id, cgroup);
    }

    fn remove(&mut self, id: Id) {
        let Some(gone) = self.cgroups.remove(&id) else { return };
        if let Some(user) = user(&gone.path)
            && let Some(count) = self.users.get_mut(user)
        {
            *count -= 1;
            if *count == 0 {
                self.users.remove(user);
            }
        }
        if matches!(gone.found, Some(Look::Own(_))) {
            self.gone.push(id);
        }
    }

    /// Those that are to be looked at in this round, with their paths.
    pub fn due(&mut self, round: u64) -> Vec<(Id, String)> {
        let after = |id: &&Id| self.last.is_none_or(|last| **id > last);
        let (later, earlier): (Vec<_>, Vec<_>) = self.cgroups.iter().partition(|(id, _)| after(id));
        let due = later.into_iter().chain(earlier).filter(|(_, cgroup)| cgroup.due <= round);
        let due: Vec<_> = due.take(LOOKS).map(|(id, cgroup)| (*id, cgroup.path.clone())).collect();
        self.last = due.last().map(|(id, _)| *id);
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

/// The slice of the user who makes the cgroup at this path.
fn user(path: &str) -> Option<&str> {
    let slice = path.strip_prefix("/user.slice/")?.split('/').next()?;
    slice.starts_with("user-").then_some(slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(id: u64) -> Id {
        Id { hierarchy: 3, id }
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
            for (id, path) in members.due(round) {
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
        assert_eq!(members.due(0), [(id(2), "/b".to_owned())]);
        members.follow(&Reading::Renamed { id: id(2), path: "/c".into() });
        assert_eq!(members.due(0), [(id(2), "/c".to_owned())]);
        let mut off = Members::new(3, false);
        born(&mut off, 1, "/a");
        assert_eq!(off.due(0), []);
    }

    #[test]
    fn cgroups_are_bounded_for_each_user_and_all_have_their_turn() {
        let mut members = Members::new(3, true);
        for number in 0..OF_A_USER as u64 + 7 {
            born(&mut members, number, &format!("/user.slice/user-7.slice/{number}"));
        }
        assert_eq!(members.take_lost(), 7);
        for number in 10_000..10_000 + CGROUPS as u64 {
            born(&mut members, number, &format!("/a/{number}"));
        }
        assert_eq!((members.cgroups.len(), members.take_lost()), (CGROUPS, OF_A_USER as u64));
        let mut seen = std::collections::BTreeSet::new();
        for round in 0..(CGROUPS / LOOKS) as u64 {
            for (id, _) in members.due(round) {
                seen.insert(id);
                // As if something changed at every look.
                members.looked(id, round, if round % 2 == 0 { Look::Host } else { Look::Nothing });
            }
        }
        assert_eq!(seen.len(), CGROUPS);
        (0..OF_A_USER as u64).for_each(|number| members.follow(&Reading::Died { id: id(number) }));
        assert!(members.users.is_empty());
    }
}
