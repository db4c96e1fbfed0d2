//! The places of workloads, and which of the workloads moved since the last tick: all those that anybody may have changed.

use std::ops::{Deref, Index, IndexMut};

use super::{OTHER_SLOT, Workload, Workloads};

/// Whoever takes a workload from here to change it marks it as moved, except by [`Slots::unmarked`].
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    all: Vec<Workload>,
    /// A bit for each slot.
    moved: Vec<u64>,
}

impl Slots {
    pub fn new(first: Workload) -> Slots {
        let mut slots = Slots::default();
        slots.push(first);
        slots
    }

    pub fn push(&mut self, workload: Workload) {
        self.all.push(workload);
        self.moved.resize(self.all.len().div_ceil(64), 0);
        self.mark(self.all.len() - 1);
    }

    pub fn mark(&mut self, slot: usize) {
        self.moved[slot / 64] |= 1 << (slot % 64);
    }

    /// To change what no series shows, or to mark it only if a number of a series changed.
    pub fn unmarked(&mut self, slot: usize) -> &mut Workload {
        &mut self.all[slot]
    }

    pub fn all_unmarked(&mut self) -> &mut [Workload] {
        &mut self.all
    }

    pub fn has_moved(&self, slot: usize) -> bool {
        self.moved.get(slot / 64).is_some_and(|word| word & 1 << (slot % 64) != 0)
    }

    /// The next slot from this one on that moved.
    pub fn next_moved(&self, slot: usize) -> Option<usize> {
        let first = slot / 64;
        let words = self.moved.iter().enumerate().skip(first);
        let from = |index: usize| if index == first { !0 << (slot % 64) } else { !0 };
        let mut left = words.map(|(index, word)| (index, word & from(index)));
        left.find(|(_, word)| *word != 0).map(|(index, word)| index * 64 + word.trailing_zeros() as usize)
    }

    /// From now on, none has moved.
    pub fn settle(&mut self) {
        self.moved.fill(0);
    }
}

impl Deref for Slots {
    type Target = [Workload];

    fn deref(&self) -> &[Workload] {
        &self.all
    }
}

impl Index<usize> for Slots {
    type Output = Workload;

    fn index(&self, slot: usize) -> &Workload {
        &self.all[slot]
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, slot: usize) -> &mut Workload {
        self.mark(slot);
        &mut self.all[slot]
    }
}

impl Workloads {
    /// Every workload, including those in their grace: `other`, then the rest by name.
    pub fn iter(&self) -> impl Iterator<Item = &Workload> {
        std::iter::once(&OTHER_SLOT).chain(self.by_name.values()).map(|&slot| &self.slots[slot])
    }

    /// The workloads that have series: without those that hold neither a process nor memory.
    pub fn shown(&self) -> impl Iterator<Item = &Workload> {
        self.shown_slots(false).map(|(_, workload)| workload)
    }

    /// The same with their slots; or only those that moved since the last tick, by slot.
    pub(crate) fn shown_slots(&self, moved: bool) -> impl Iterator<Item = (usize, &Workload)> {
        let (mut other, mut names, mut next) = (Some(OTHER_SLOT), self.by_name.values(), Some(0));
        let slots = std::iter::from_fn(move || {
            if !moved {
                return other.take().or_else(|| names.next().copied());
            }
            let slot = self.slots.next_moved(next?);
            next = slot.map(|slot| slot + 1);
            slot
        });
        let shown = slots.map(|slot| (slot, &self.slots[slot]));
        // A free slot has no name.
        shown.filter(|(_, workload)| workload.is_shown() && !workload.name.is_empty())
    }

    /// Whether anything about the workload in this slot may have changed since the last tick.
    pub(crate) fn has_moved(&self, slot: usize) -> bool {
        self.slots.has_moved(slot)
    }

    /// Everybody who follows what moves has seen it.
    pub(crate) fn seen(&mut self) {
        self.slots.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(slots: &Slots) -> Vec<usize> {
        let mut next = slots.next_moved(0);
        let moved = std::iter::from_fn(|| {
            let slot = next?;
            next = slots.next_moved(slot + 1);
            Some(slot)
        });
        moved.collect()
    }

    #[test]
    fn whoever_takes_a_workload_to_change_it_marks_it() {
        let mut slots = Slots::new(Workload::default());
        (1..200).for_each(|_| slots.push(Workload::default()));
        assert_eq!(moved(&slots), (0..200).collect::<Vec<_>>(), "a new one has moved");
        slots.settle();
        assert!(moved(&slots).is_empty());
        slots.unmarked(5).created = 1;
        assert_eq!(slots[5].created, 1);
        for slot in [0, 63, 64, 127, 199] {
            slots[slot].created = 1;
        }
        assert_eq!(moved(&slots), [0, 63, 64, 127, 199]);
        assert!(slots.has_moved(64) && !slots.has_moved(65) && !slots.has_moved(10_000));
    }
}
