//! What cgroups are charged that nobody has heard of yet: the amounts wait for the birth, a while.

use super::Amounts;
use crate::cgroup::Id;
use crate::stage::Stage;
use crate::view::coverage::Coverage;

/// Unknown cgroups whose amounts are kept apart, and for how many ticks, until their birth is heard of.
pub(super) const KEPT: usize = 256;
pub(super) const TICKS: u32 = 10;

/// The amounts that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    waiting: Vec<Waiting>,
    /// Amounts that found no room, since the last tick.
    overflow: u64,
}

#[derive(Clone, Debug)]
struct Waiting {
    id: Id,
    ticks: u32,
    amounts: Amounts,
}

impl Pending {
    /// What an unknown cgroup is charged; `None` if there is no room for it.
    pub fn amounts(&mut self, id: Id) -> Option<&mut Amounts> {
        let known = self.waiting.iter().position(|waiting| waiting.id == id).unwrap_or(self.waiting.len());
        if known == KEPT {
            self.overflow += 1;
            return None;
        }
        if known == self.waiting.len() {
            self.waiting.push(Waiting { id, ticks: 0, amounts: Amounts::default() });
        }
        Some(&mut self.waiting[known].amounts)
    }

    /// What a cgroup was charged before its birth, to be charged to its workload.
    pub fn take(&mut self, id: Id) -> Option<Amounts> {
        let known = self.waiting.iter().position(|waiting| waiting.id == id)?;
        Some(self.waiting.swap_remove(known).amounts)
    }

    /// Gives up on what waited for too long: it goes to `other`, and is counted.
    pub fn tick(&mut self, other: &mut Amounts, coverage: &mut Coverage) {
        self.waiting.retain_mut(|waiting| {
            waiting.ticks += 1;
            let waits = waiting.ticks < TICKS;
            if !waits {
                other.add(&waiting.amounts);
                coverage.lose(Stage::UnknownCgroup, 1);
            }
            waits
        });
        coverage.lose(Stage::UnknownCgroup, std::mem::take(&mut self.overflow));
    }
}
