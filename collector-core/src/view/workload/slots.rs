//! The places of workloads, and which of the workloads moved since the last tick: all those that anybody may have changed.

use std::ops::{Deref, Index, IndexMut};

use super::{Amounts, OTHER_SLOT, Workload, Workloads};

/// Whoever takes a workload from here to change it marks it as moved and renamed, except by [`Slots::unmarked`].
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    all: Vec<Workload>,
    moved: Marks,
    /// Of those that moved: its labels may have changed too.
    renamed: Marks,
    /// Anything of it may have changed since the last tick, shown or not.
    touched: Marks,
    /// Nothing had changed in it at the last tick, nor does anything with time alone.
    still: Marks,
    /// Some workload may have ended, or a cgroup of one.
    pub ended: bool,
}

/// A bit for each slot.
#[derive(Clone, Debug, Default)]
struct Marks(Vec<u64>);

impl Marks {
    fn set(&mut self, slot: usize) {
        self.0[slot / 64] |= 1 << (slot % 64);
    }

    fn put(&mut self, slot: usize, marked: bool) {
        let word = &mut self.0[slot / 64];
        *word = *word & !(1 << (slot % 64)) | u64::from(marked) << (slot % 64);
    }

    fn has(&self, slot: usize) -> bool {
        self.0.get(slot / 64).is_some_and(|word| word & 1 << (slot % 64) != 0)
    }

    /// The next slot from this one on that is marked.
    fn next(&self, slot: usize) -> Option<usize> {
        let first = slot / 64;
        let words = self.0.iter().enumerate().skip(first);
        let from = |index: usize| if index == first { !0 << (slot % 64) } else { !0 };
        let mut left = words.map(|(index, word)| (index, word & from(index)));
        left.find(|(_, word)| *word != 0).map(|(index, word)| index * 64 + word.trailing_zeros() as usize)
    }
}

impl Slots {
    pub fn new(first: Workload) -> Slots {
        let mut slots = Slots::default();
        slots.push(first);
        slots
    }

    pub fn push(&mut self, workload: Workload) {
        self.all.push(workload);
        for marks in [&mut self.moved, &mut self.renamed, &mut self.touched, &mut self.still] {
            marks.0.resize(self.all.len().div_ceil(64), 0);
        }
        for marks in [&mut self.moved, &mut self.renamed, &mut self.touched] {
            marks.set(self.all.len() - 1);
        }
    }

    /// A number of this workload changed, or whether it has series.
    pub fn mark(&mut self, slot: usize) {
        self.moved.set(slot);
        self.touched.set(slot);
    }

    /// To add to them.
    pub fn amounts(&mut self, slot: usize) -> &mut Amounts {
        self.mark(slot);
        &mut self.all[slot].amounts
    }

    /// To change what no series shows, or to mark it only if a number of a series changed.
    pub fn unmarked(&mut self, slot: usize) -> &mut Workload {
        self.touched.set(slot);
        &mut self.all[slot]
    }

    /// At a tick, to follow what changed, or changes with time.
    pub fn visit(&mut self, slot: usize) -> &mut Workload {
        &mut self.all[slot]
    }

    /// The next slot from this one on that a tick looks at: those in which something changed, or may with time; otherwise all.
    pub fn next_visit(&self, slot: usize, all: bool) -> Option<usize> {
        if all {
            return Some(slot).filter(|slot| *slot < self.all.len());
        }
        let words = self.touched.0.iter().zip(&self.still.0).map(|(touched, still)| touched | !still);
        let mut left = words.enumerate().skip(slot / 64);
        let from = |index: usize| if index == slot / 64 { !0 << (slot % 64) } else { !0 };
        let found = left.find_map(|(index, word)| {
            let word = word & from(index);
            (word != 0).then(|| index * 64 + word.trailing_zeros() as usize)
        });
        found.filter(|slot| *slot < self.all.len())
    }

    /// Whether anything of it may have changed since the last tick.
    pub fn is_touched(&self, slot: usize) -> bool {
        self.touched.has(slot)
    }

    /// Whether a tick need not look at it as long as nobody touches it.
    pub fn keep_still(&mut self, slot: usize, still: bool) {
        self.still.put(slot, still);
    }

    /// Whether this holds for any that may have changed since the last tick.
    pub fn any_touched(&self, holds: impl Fn(&Workload) -> bool) -> bool {
        let mut touched = std::iter::successors(self.touched.next(0), |slot| self.touched.next(slot + 1));
        touched.any(|slot| holds(&self.all[slot]))
    }

    /// Whether the labels of any may have changed since the last tick.
    pub fn any_renamed(&self) -> bool {
        self.renamed.next(0).is_some()
    }

    /// Every touched one has been looked at.
    pub fn visited(&mut self) {
        self.touched.0.fill(0);
    }

    /// Those that no tick changes: who follows them finds out itself.
    pub fn all_unmarked(&mut self) -> &mut [Workload] {
        &mut self.all
    }

    /// From now on, none has moved.
    fn settle(&mut self) {
        self.moved.0.fill(0);
        self.renamed.0.fill(0);
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
        self.renamed.set(slot);
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
            let slot = self.slots.moved.next(next?);
            next = slot.map(|slot| slot + 1);
            slot
        });
        let shown = slots.map(|slot| (slot, &self.slots[slot]));
        // A free slot has no name.
        shown.filter(|(_, workload)| workload.is_shown() && !workload.name.is_empty())
    }

    /// The slots of the workloads about which anything may have changed since the last tick.
    pub(crate) fn moved_slots(&self) -> impl Iterator<Item = usize> {
        std::iter::successors(self.slots.moved.next(0), |slot| self.slots.moved.next(slot + 1))
    }

    /// Whether anything about the workload in this slot may have changed since the last tick.
    pub(crate) fn has_moved(&self, slot: usize) -> bool {
        self.slots.moved.has(slot)
    }

    /// Whether the labels of the workload in this slot may have changed since the last tick.
    pub(crate) fn is_renamed(&self, slot: usize) -> bool {
        self.slots.renamed.has(slot)
    }

    /// Everybody who follows what moves has seen it.
    pub(crate) fn seen(&mut self) {
        self.slots.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(marks: &Marks) -> Vec<usize> {
        std::iter::successors(marks.next(0), |slot| marks.next(slot + 1)).collect()
    }

    #[test]
    fn whoever_takes_a_workload_to_change_it_marks_it() {
        let mut slots = Slots::new(Workload::default());
        (1..200).for_each(|_| slots.push(Workload::default()));
        assert_eq!(marked(&slots.moved), (0..200).collect::<Vec<_>>(), "a new one has moved");
        slots.settle();
        assert!(marked(&slots.moved).is_empty());
        slots.unmarked(5).created = 1;
        assert_eq!(slots[5].created, 1);
        for slot in [0, 63, 64, 127, 199] {
            slots[slot].created = 1;
        }
        assert_eq!(marked(&slots.moved), [0, 63, 64, 127, 199]);
        assert!(slots.moved.has(64) && !slots.moved.has(65) && !slots.moved.has(10_000));
        slots.amounts(130).limit_kills = 1;
        assert_eq!(marked(&slots.moved), [0, 63, 64, 127, 130, 199]);
        assert_eq!(marked(&slots.renamed), [0, 63, 64, 127, 199], "counting changes no name");
    }
}
