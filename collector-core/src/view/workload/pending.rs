//! Amounts charged to cgroups that are not known yet. They wait for a while for the cgroup's creation to be reported.

use super::Amounts;
use crate::cgroup::Id;
use crate::stage::Stage;
use crate::view::coverage::Coverage;

/// Maximum number of unknown cgroups whose amounts wait, and of ticks that they wait.
pub(super) const MAX_WAITING: usize = 256;
pub(super) const MAX_TICKS: u32 = 10;

#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    waiting: Vec<Waiting>,
    /// Amounts for which there was no room, since the last tick.
    overflow: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    id: Id,
    ticks: u32,
    amounts: Amounts,
}

impl Pending {
    /// The amounts of an unknown cgroup; `None` if there is no room for it.
    pub fn amounts(&mut self, id: Id) -> Option<&mut Amounts> {
        let known = self.waiting.iter().position(|waiting| waiting.id == id).unwrap_or(self.waiting.len());
        if known == MAX_WAITING {
            self.overflow += 1;
            return None;
        }
        if known == self.waiting.len() {
            self.waiting.push(Waiting { id, ticks: 0, amounts: Amounts::default() });
        }
        Some(&mut self.waiting[known].amounts)
    }

    /// Removes what a cgroup was charged before it was known, to be charged to its workload.
    pub fn take(&mut self, id: Id) -> Option<Amounts> {
        let known = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.waiting.swap_remove(known).amounts)
    }

    /// Charges amounts that waited too long to `other`. They are lost if the creation of their cgroup may have been missed; else
    /// the cgroup was gone before the first walk, and nobody knows its name.
    pub fn tick(&mut self, other: &mut Amounts, coverage: &mut Coverage) {
        let missed = u64::from(coverage.may_miss_cgroups());
        self.waiting.retain_mut(|waiting| {
            waiting.ticks += 1;
            let waits = waiting.ticks < MAX_TICKS;
            if !waits {
                other.add(&waiting.amounts);
                coverage.lose(Stage::UnknownCgroup, missed);
            }
            waits
        });
        coverage.lose(Stage::UnknownCgroup, std::mem::take(&mut self.overflow));
    }
}
