//! Runs the passes over all cgroups, and finds whose their rows are, and which have changed.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use collector_common::pass::word;
use collector_core::cgroup::Id;

use super::file::File;
use super::given::Given;
use crate::source::kernel::pass::{Pass, Row};

/// The rows of the last pass over each hierarchy.
#[derive(Debug, Default)]
pub struct Rows {
    pass: Option<Pass>,
    /// In the order of the pass's hierarchies.
    hierarchies: Vec<Walked>,
    /// By the index of the workload: whether it is to be looked at, because a row of it changed, came or went, for example.
    moved: Vec<bool>,
    /// Passes that failed since the last one that did not.
    failures: u32,
}

/// The rows of one hierarchy.
#[derive(Debug, Default)]
struct Walked {
    hierarchy: u64,
    /// Number of passes.
    pass: u64,
    /// Ids in the order of the last pass, each with the index of its workload: the order seldom changes.
    order: Vec<(u64, Option<usize>)>,
    /// By the index of the workload: the last row, and in which pass.
    rows: Vec<(u64, Row)>,
    /// Number of workloads with a row.
    found: usize,
}

/// So many failures in a row, and the pass is given up: it may fail for a while for want of memory or descriptors.
const FAILURES: u32 = 60;

impl Rows {
    pub fn new(pass: Option<Pass>) -> Rows {
        let hierarchies = pass.iter().flat_map(Pass::hierarchies);
        let hierarchies = hierarchies.map(|hierarchy| Walked { hierarchy, ..Walked::default() }).collect();
        Rows { pass, hierarchies, ..Rows::default() }
    }

    /// What a pass over this hierarchy gives of a file.
    pub fn given(&self, hierarchy: u64, file: &File) -> Option<&'static Given> {
        let pass = self.pass.as_ref()?;
        self.hierarchies.iter().any(|it| it.hierarchy == hierarchy).then(|| Given::of(file, pass)).flatten()
    }

    /// Workloads, or cgroups of theirs, have come or gone.
    pub fn forget(&mut self) {
        self.hierarchies.iter_mut().for_each(|it| it.order.clear());
    }

    /// Whether there are rows of CPU time that a flush makes current (v2).
    pub fn wants_flush(&self) -> bool {
        self.hierarchies.iter().any(|it| it.hierarchy == 0)
            && self.pass.as_ref().is_some_and(|pass| pass.has(word::TIME))
    }

    /// Runs the passes; `index` knows the workloads. Without rows, files are read. `false` if there will be none any more.
    pub fn run(&mut self, workloads: usize, index: impl Fn(Id) -> Option<usize>) -> bool {
        if self.pass.is_none() {
            return true;
        }
        self.moved.resize(workloads, true);
        match self.walk(index) {
            Ok(()) => self.failures = 0,
            Err(error) => {
                self.moved.fill(true);
                self.hierarchies.iter_mut().for_each(|it| (it.pass, it.found) = (it.pass + 1, 0));
                self.failures += 1;
                if self.failures == 1 {
                    tracing::warn!("the numbers of cgroups come from their files while this lasts: {error:#}");
                }
                if self.failures >= FAILURES {
                    *self = Rows::default();
                }
            }
        }
        self.pass.is_some()
    }

    fn walk(&mut self, index: impl Fn(Id) -> Option<usize>) -> Result<()> {
        let Rows { pass: Some(pass), hierarchies, moved, .. } = self else { return Ok(()) };
        for (number, walked) in hierarchies.iter_mut().enumerate() {
            pass.run(number)?;
            walked.take(pass.rows(), &index, moved);
        }
        Ok(())
    }

    /// Number of workloads with a row.
    pub fn count(&self) -> usize {
        self.hierarchies.first().map_or(0, |memory| memory.found)
    }

    /// The row of a workload's cgroup in a hierarchy, if the last pass found it.
    pub fn of(&self, hierarchy: u64, workload: usize) -> Option<&Row> {
        let walked = self.hierarchies.iter().find(|it| it.hierarchy == hierarchy)?;
        walked.rows.get(workload).filter(|(pass, _)| *pass == walked.pass && *pass > 0).map(|(_, row)| row)
    }

    /// Whether a row of a workload changed, came or went since the last call, or it is to be looked at for another reason; without a
    /// pass it is.
    pub fn take_moved(&mut self, workload: usize) -> bool {
        self.moved.get_mut(workload).is_none_or(std::mem::take)
    }

    /// It is to be looked at.
    pub fn wake(&mut self, workload: usize) {
        if let Some(moved) = self.moved.get_mut(workload) {
            *moved = true;
        }
    }
}

impl Walked {
    fn take<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a [AtomicU64]>,
        index: impl Fn(Id) -> Option<usize>,
        moved: &mut [bool],
    ) {
        let Walked { hierarchy, pass, order, rows: last, found } = self;
        let before = std::mem::take(found);
        *pass += 1;
        last.resize(moved.len(), (0, Row::default()));
        for (at, words) in rows.enumerate() {
            let id = words[word::ID].load(Relaxed);
            let workload = match order.get(at) {
                Some((other, workload)) if *other == id => *workload,
                _ => {
                    let workload = index(Id { hierarchy: *hierarchy, id });
                    match order.get_mut(at) {
                        Some(other) => *other = (id, workload),
                        None => order.push((id, workload)),
                    }
                    workload
                }
            };
            let Some((moved, (seen, row))) = workload.and_then(|it| Some((moved.get_mut(it)?, last.get_mut(it)?)))
            else {
                continue;
            };
            let changed = row.take(words);
            *moved |= changed || *seen + 1 != *pass;
            *seen = *pass;
            *found += 1;
        }
        if *found < before {
            let gone = last.iter().zip(moved).filter(|((seen, _), _)| *seen + 1 == *pass);
            gone.for_each(|(_, moved)| *moved = true);
        }
    }
}

#[cfg(test)]
mod tests {
    use collector_common::pass::has;

    use super::*;

    /// A pass that finds cgroups with these ids and this much memory; workload N's cgroup has the id 10 + N.
    fn pass(walked: &mut Walked, cgroups: &[(u64, u64)]) -> Vec<bool> {
        let row = |(id, usage): &(u64, u64)| {
            let mut words: [AtomicU64; word::COUNT] = Default::default();
            words[word::HAS] = has::MEMORY.into();
            words[word::ID] = (*id).into();
            words[word::USAGE] = (*usage).into();
            words
        };
        let rows: Vec<_> = cgroups.iter().map(row).collect();
        let mut moved = vec![false; 3];
        let index = |id: Id| usize::try_from(id.id.checked_sub(10)?).ok();
        walked.take(rows.iter().map(|words| &words[..]), index, &mut moved);
        moved
    }

    #[test]
    fn what_changed_came_or_went_has_moved() {
        let mut walked = Walked::default();
        assert_eq!(pass(&mut walked, &[(1, 9), (10, 5), (11, 6), (12, 7)]), [true; 3], "they came");
        assert_eq!(pass(&mut walked, &[(1, 8), (10, 5), (11, 6), (12, 7)]), [false; 3], "another cgroup changed");
        assert_eq!(pass(&mut walked, &[(1, 8), (10, 5), (11, 0), (12, 7)]), [false, true, false]);
        assert_eq!(pass(&mut walked, &[(10, 5), (11, 0), (12, 7)]), [false; 3], "in another place");
        assert_eq!(pass(&mut walked, &[(2, 1), (10, 5), (3, 1), (12, 7)]), [false, true, false], "it went");
        assert_eq!(pass(&mut walked, &[(10, 5), (12, 7)]), [false; 3], "it stays away");
        assert_eq!(walked.found, 2);
        assert_eq!(pass(&mut walked, &[(12, 7), (11, 0), (10, 5)]), [false, true, false], "it is back");
        pass(&mut walked, &[(11, 4), (10, 5)]);
        let rows = Rows { hierarchies: vec![walked], ..Rows::default() };
        let usage = |workload| rows.of(0, workload).and_then(|row| row.get(word::USAGE));
        assert_eq!([0, 1, 2].map(usage), [Some(5), Some(4), None], "a row that is not of the last pass is none");
    }
}
