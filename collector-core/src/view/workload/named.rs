//! Workloads that get another name or owner, and two that become one.

use super::{OTHER_SLOT, Workloads};
use crate::cgroup::Id;
use crate::identity::{Identity, Names};

impl Workloads {
    /// Sets the host's names for the workload that a cgroup belongs to. Its counters continue under the new name; if a workload
    /// of that name and owner exists already (a container that was restarted), the two are merged.
    pub(crate) fn named(&mut self, id: Id, names: &Names) {
        let Some(member) = self.cgroups.get_mut(&id) else { return };
        let names = names.fit();
        member.names = Some(Box::new(names.clone()));
        let slot = member.slot;
        if slot == OTHER_SLOT {
            return;
        }
        let workload = &mut self.slots[slot];
        let (new, old) = (workload.identity.named(&names), workload.name.clone());
        workload.names = workload.identity.accept(names);
        if new == old {
            return;
        }
        let owner = workload.identity.owner.clone();
        match self.by_name.get(&new) {
            // It keeps its name: one owner does not speak for another.
            Some(&taken) if self.slots[taken].identity.owner != owner => {}
            Some(&taken) => {
                self.by_name.remove(&old);
                self.merge(slot, taken);
            }
            None => {
                self.by_name.remove(&old);
                self.by_name.insert(new.clone(), slot);
                self.slots[slot].name = new;
            }
        }
    }

    /// A workload has another identity from now on.
    pub(super) fn owned(&mut self, slot: usize, identity: Identity) {
        self.owners.take(&identity.owner);
        let before = std::mem::replace(&mut self.slots[slot].identity, identity);
        self.owners.leave(&before.owner);
    }

    /// Merges two workloads, under the name of `into`.
    pub(super) fn merge(&mut self, from: usize, into: usize) {
        let mut newer = std::mem::take(&mut self.slots[from]);
        newer.track.catch_up(self.written);
        self.slots[into].track.catch_up(self.written);
        // Both are the same owner's.
        self.owners.leave(&newer.identity.owner);
        self.slots[into].absorb(newer);
        self.free.push(from);
        for slot in self.tops.values_mut().map(|top| &mut top.slot).filter(|slot| **slot == from) {
            *slot = into;
        }
        for slot in self.cgroups.values_mut().map(|member| &mut member.slot).filter(|slot| **slot == from) {
            *slot = into;
        }
    }
}
