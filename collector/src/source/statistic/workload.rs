//! One workload: its cgroups in all hierarchies, and which of their files are read when.

use std::sync::Arc;

use collector_core::sample::{Reading, Statistics, Usage};
use collector_core::signal::cgroup;
use collector_core::statistic::workload::Statistic;

use super::attention::{Attention, nearness};
use super::handle::Descriptors;
use super::join::{self, Processes};
use super::place::Places;
use super::row::Rows;
use super::sampled::{Memory, Sampled};
use super::tree::{Due, Failures, Part, Read, Tree};
use crate::source::cgroup::Controller;
use crate::source::kernel::pass::Row;

/// Absent files are tried again every eighth turn.
pub const RETRY_ABSENT_TURNS: u64 = 8;
/// Where nothing happens, all files are read every tenth turn.
pub const STILL_TURNS: u64 = 10;

/// Turns after a process entered at which cgroups of other hierarchies are searched.
const SEARCHES: u8 = 3;

/// At most this many hierarchies are read: one a controller, and that of names where it is none of them.
const TREES: usize = Controller::ALL.len() + 1;

#[derive(Debug)]
pub struct Workload {
    pub path: Arc<str>,
    /// Who makes the cgroups here, if it is not the host itself.
    pub owner: Option<Arc<str>>,
    /// Its cgroups, each with the index of its tree; the memory controller's comes first.
    pub parts: Vec<(usize, Part)>,
    /// Read at least the files of a turn at the next tick.
    pub new: bool,
    /// The least memory limit at its cgroup and above it, as of its last turn.
    pub limit: Option<u64>,
    /// When all its files of every tick were last read, nothing in them had changed.
    pub settled: bool,
    /// Processes entered it, which may reveal its cgroups in other hierarchies.
    pub entered: bool,
    /// At so many turns since then they were searched, and not all were found.
    searched: u8,
    /// Nothing happened in it since the last turn at which all its files were read, nor had anything changed in them then.
    pub still: bool,
    /// It need not be looked at while its rows of the passes over all cgroups do not change, except at its turn.
    pub idle: bool,
    /// It held neither a process nor memory when it was last read.
    pub empty: bool,
    /// It is one of those that are read every tick, from when it holds something until it holds nothing.
    pub placed: bool,
    /// The last walk that found it.
    pub walk: u64,
}

/// Where its cgroups are, and what the last passes over all cgroups have of them.
#[derive(Clone, Copy)]
pub struct Own<'a> {
    pub trees: &'a [Tree],
    pub rows: &'a Rows,
    pub index: usize,
}

impl<'a> Own<'a> {
    fn of(self, tree: &Tree) -> Option<&'a Row> {
        self.rows.of(tree.hierarchy.id, self.index)
    }
}

/// What a tick's first reading of a workload says.
struct Pulse {
    /// Memory charged to it before, in bytes.
    before: Option<u64>,
    /// The outcome for each cgroup, by the index of its tree.
    reads: [Read; TREES],
}

impl Workload {
    /// One that has not been read yet.
    pub fn new(
        path: Arc<str>,
        owner: Option<Arc<str>>,
        parts: Vec<(usize, Part)>,
        walk: u64,
        placed: bool,
    ) -> Workload {
        Workload {
            path,
            owner,
            parts,
            new: true,
            limit: None,
            settled: false,
            still: false,
            idle: false,
            entered: true,
            searched: 0,
            empty: false,
            placed,
            walk,
        }
    }

    /// Which of its files to read now. Of one that holds nothing or has no place, only the memory in use is read.
    pub fn due(&self, turn: u64, period: u64) -> Option<Due> {
        let (is_turn, number) = (turn.is_multiple_of(period), turn / period);
        if self.new || is_turn && self.placed {
            return Some(match self.still && !self.new {
                true if !number.is_multiple_of(STILL_TURNS) => Due::Still,
                false if !number.is_multiple_of(RETRY_ABSENT_TURNS) => Due::Turn,
                _ => Due::All,
            });
        }
        match (self.placed, is_turn || self.entered) {
            (true, _) => Some(Due::Tick),
            (false, true) => Some(Due::Check),
            (false, false) => self.empty.then_some(Due::Glance),
        }
    }

    /// Whether to search its cgroups in other hierarchies now. Who makes one lets processes enter it soon after, so where some turns
    /// have not found it there is none, most likely: it is searched seldom then.
    pub fn searches(&mut self, due: Option<Due>, hierarchies: usize) -> bool {
        if self.entered {
            self.searched = 0;
        } else if due < Some(Due::Turn) || due < Some(Due::All) && self.searched >= SEARCHES {
            return false;
        }
        let wanted = self.parts.len() < hierarchies;
        self.searched = self.searched.saturating_add(u8::from(wanted));
        wanted
    }

    /// Searches its cgroups in other hierarchies; `true` if any was found.
    pub fn find_parts(&mut self, trees: &[Tree], processes: &Processes, descriptors: &mut Descriptors) -> bool {
        let (before, mut hints) = (self.parts.len(), None);
        for (index, tree) in trees.iter().enumerate().skip(1) {
            if self.parts.iter().any(|(other, _)| *other == index) {
                continue;
            }
            let Some((_, own)) = self.parts.first() else { continue };
            let (id, location) = (own.id, own.location());
            let found = tree.find(&self.path).or_else(|| {
                let hints = *hints.get_or_insert_with(|| join::hints(trees, id, location, processes, descriptors));
                let find = || join::find([&trees[0], tree], (&self.path, id, location), processes, descriptors);
                (hints & 1 << index != 0).then(find).flatten()
            });
            if let Some((id, location)) = found {
                self.parts.push((index, Part::new(tree, id, location)));
                self.new = true;
            }
        }
        self.parts.len() > before
    }

    /// Emits which cgroups of other hierarchies belong to it, unless their path implies it.
    pub fn emit_joined(&self, trees: &[Tree], emit_reading: &mut dyn FnMut(Reading)) {
        let [(_, own), others @ ..] = self.parts.as_slice() else { return };
        for (tree, part) in others {
            let implied = trees[*tree].has_events && trees[*tree].is_at(&self.path, part.location());
            if !implied {
                emit_reading(Reading::Cgroup(cgroup::Reading::Joined { id: part.id, with: own.id }));
            }
        }
    }

    /// Whether there is nothing to do at a tick unless a row of it changes, or something else wakes it.
    pub fn rests(&self) -> bool {
        self.idle && !self.new && !self.entered
    }

    /// Reads the files that are due, and returns which were.
    pub fn read(
        &mut self,
        own: Own<'_>,
        due: Due,
        attention: &mut Attention,
        descriptors: &mut Descriptors,
        failures: &mut Failures,
        emit_reading: &mut dyn FnMut(Reading),
    ) -> Due {
        let trees = own.trees;
        let due = if self.new { due.max(Due::Turn) } else { due };
        self.idle = false;
        let mut due = match due < Due::Tick {
            true if !self.glance(own, due, descriptors, failures, emit_reading) => return due,
            true => Due::Turn,
            false => due,
        };
        let pulse = (due < Due::Turn).then(|| self.pulse(own, descriptors, failures));
        if let Some(pulse) = &pulse {
            due = self.due_after(pulse, trees, due, attention);
        }
        let (mut gone, mut changed) = (None, false);
        for (tree, part) in &mut self.parts {
            let first = pulse.as_ref().map_or(Read::Same, |pulse| pulse.reads[*tree]);
            let done = pulse.as_ref().map(|_| Due::Pulse);
            let read = match first {
                Read::Gone => first,
                _ if done == Some(due) => first,
                _ => first.max(part.read(&trees[*tree], own.of(&trees[*tree]), done, due, descriptors, failures)),
            };
            changed |= read != Read::Same;
            match read {
                Read::Gone => gone = Some(*tree),
                // Unchanged values are emitted once per turn: a recording may have started since. Of one in which nothing happens,
                // those of the memory are.
                Read::Same if due <= Due::Tick || due == Due::Still && *tree > 0 => {}
                Read::Same | Read::Changed => emit_reading(Reading::Statistics(Statistics {
                    cgroup: part.id,
                    values: part.values.clone(),
                    turn: due >= Due::Turn,
                })),
            }
        }
        // The kernel source reports deaths of memory cgroups; here only those of hierarchies without events are
        // reported.
        let gone = gone.and_then(|gone| self.parts.iter().skip(1).position(|(tree, _)| *tree == gone));
        if let Some(at) = gone {
            let (tree, part) = self.parts.remove(at + 1);
            if !trees[tree].has_events {
                emit_reading(Reading::Cgroup(cgroup::Reading::Died { id: part.id }));
            }
        }
        match due {
            Due::Turn | Due::All => self.still = !changed,
            Due::Tick => self.still = false,
            _ => self.still &= !changed,
        }
        if due < Due::Turn && !changed {
            let now = self.memory();
            let most = if due == Due::Tick { due } else { Due::Pulse };
            self.idle = self.placed && !attention.matters(self.limit, now, now) && self.is_all_in(own, most);
        }
        if due >= Due::Tick {
            self.settled = !changed;
        }
        if due >= Due::Turn {
            self.empty = self.parts.first().is_some_and(|(_, part)| part.is_empty());
        }
        due
    }

    /// Reads of all its cgroups what says whether anything happened.
    fn pulse(&mut self, own: Own<'_>, descriptors: &mut Descriptors, failures: &mut Failures) -> Pulse {
        let (before, trees) = (self.memory(), own.trees);
        let mut reads = [Read::Same; TREES];
        for (tree, part) in &mut self.parts {
            reads[*tree] = part.read(&trees[*tree], own.of(&trees[*tree]), None, Due::Pulse, descriptors, failures);
        }
        Pulse { before, reads }
    }

    /// Which of its files to read now that its memory and CPU time are known: none if neither changed, nor anything when the files
    /// were last read, unless it is near a limit. A process has to run before it waits, and while it waits its pressure grows.
    fn due_after(&self, pulse: &Pulse, trees: &[Tree], due: Due, attention: &mut Attention) -> Due {
        let now = self.memory();
        if attention.wants(self.limit, pulse.before, now) {
            return Due::Turn;
        }
        let calm = self.settled
            && !self.entered
            && pulse.reads.iter().all(|read| *read == Read::Same)
            && now.is_some_and(|now| nearness(self.limit, now).is_none())
            && self.parts.iter().any(|(tree, part)| part.has_pulse(&trees[*tree]));
        match (due, calm) {
            (Due::Still, true) => Due::Still,
            (Due::Still, false) => Due::Turn,
            (_, true) => Due::Pulse,
            (_, false) => Due::Tick,
        }
    }

    fn is_all_in(&self, own: Own<'_>, most: Due) -> bool {
        let trees = own.trees;
        self.parts.iter().all(|(tree, part)| part.is_all_in(&trees[*tree], own.of(&trees[*tree]), most))
    }

    /// After a reading: whether its memory is read between ticks from now on, and what was read since the last.
    pub fn sample(&self, tree: &Tree, before: Option<u64>, sampled: &mut Sampled) -> Option<Usage> {
        let (_, part) = self.parts.first()?;
        let memory = Memory { limit: self.limit, before, now: self.memory() };
        sampled.tick(part.id, &self.owner, memory, || part.open(tree, Statistic::MemoryCurrent))
    }

    /// Memory charged to it, in bytes.
    pub fn memory(&self) -> Option<u64> {
        self.parts.first()?.1.values.get(Statistic::MemoryCurrent)
    }

    /// Reads only its memory, and whether a process is in it; `true` if it held nothing before and does now.
    fn glance(
        &mut self,
        own: Own<'_>,
        due: Due,
        descriptors: &mut Descriptors,
        failures: &mut Failures,
        emit_reading: &mut dyn FnMut(Reading),
    ) -> bool {
        let (trees, Some((tree, part))) = (own.trees, self.parts.first_mut()) else { return false };
        let row = own.of(&trees[*tree]);
        let read = part.read(&trees[*tree], row, None, due, descriptors, failures);
        if read == Read::Changed && due == Due::Glance {
            part.read(&trees[*tree], row, None, Due::Check, descriptors, failures);
        }
        if self.empty && !part.is_empty() && read != Read::Gone {
            return true;
        }
        if read != Read::Gone {
            self.empty = part.is_empty();
            self.idle = self.empty && part.is_all_in(&trees[*tree], row, Due::Check);
        }
        // Unchanged values are emitted once per turn, as all are. In other hierarchies nothing changes while it holds nothing.
        let emitted = match (read, due) {
            (Read::Gone, _) | (Read::Same, Due::Glance) => 0,
            (_, Due::Check) if !self.empty => self.parts.len(),
            _ => 1,
        };
        for (_, part) in self.parts.iter().take(emitted) {
            let (cgroup, values) = (part.id, part.values.clone());
            emit_reading(Reading::Statistics(Statistics { cgroup, values, turn: false }));
        }
        false
    }

    /// After a reading: it gives up its place if it holds nothing, and takes one if it holds something and there is one; `true`
    /// if it took one.
    pub fn settle(&mut self, places: &mut Places) -> bool {
        if self.placed && self.empty {
            places.leave(&self.owner);
            self.placed = false;
            return false;
        }
        let takes = !self.placed && !self.empty && places.take(&self.owner);
        self.placed = self.placed || takes;
        takes
    }

    /// Closes its files but that of its memory. What is not read any more and may change is unknown.
    pub fn rest(&mut self, trees: &[Tree], descriptors: &mut Descriptors) {
        for (tree, part) in &mut self.parts {
            part.rest(&trees[*tree], descriptors);
            if !self.empty {
                part.forget();
            }
        }
    }

    /// The least of its own memory limits.
    pub fn own_limit(&self) -> Option<u64> {
        let (_, memory) = self.parts.first()?;
        [Statistic::MemoryLimit, Statistic::MemoryHigh].into_iter().filter_map(|limit| memory.values.get(limit)).min()
    }
}

/// The paths above a path, without the root.
pub fn above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at]).filter(|path| !path.is_empty())
}
