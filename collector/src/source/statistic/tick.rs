//! What the reader does at a tick: it runs the passes over all cgroups, and then looks at each workload in which something may have
//! changed, or whose turn it is.

use collector_core::sample::Reading;

use super::Reader;
use super::tree::{Due, Failures, Tree};
use super::workload::{Own, Workload, above};

impl Reader {
    /// Runs the passes.
    pub(super) fn pass(&mut self) {
        let Reader { rows, flush, trees, descriptors, by_id, joined, workloads, .. } = self;
        if let Some(memory) = trees.first().filter(|_| rows.wants_flush()) {
            flush.run(memory, descriptors);
        }
        if !rows.run(workloads.len(), |id| by_id.get(&id).or_else(|| joined.get(&id)).copied()) {
            self.give();
        }
    }

    /// Reads of all workloads what is due.
    pub(super) fn read_all(
        &mut self,
        emit_joined: bool,
        failures: &mut Failures,
        emit_reading: &mut dyn FnMut(Reading),
    ) {
        // Opening a file costs more than reading it several times, but each open file costs the kernel some 5 KiB.
        let files: usize = self.trees.iter().map(Tree::count).sum();
        let kept = self.places.taken().saturating_mul(files).saturating_add(self.by_id.len());
        self.descriptors.enough_for_all = kept <= self.descriptors.budget();
        for index in 0..self.workloads.len() {
            let turn = self.ticks + index as u64;
            let looked_at = self.rows.take_moved(index) || emit_joined || turn.is_multiple_of(self.limits.period);
            if !looked_at {
                continue;
            }
            // Taken out while it is read, so that others can be looked at.
            let Some(mut workload) = self.workloads[index].take() else { continue };
            self.read_one(&mut workload, index, turn, emit_joined, failures, emit_reading);
            if !workload.rests() {
                self.rows.wake(index);
            }
            self.workloads[index] = Some(workload);
        }
        self.attention.end();
        self.sampler.end();
        self.ticks += 1;
    }

    fn read_one(
        &mut self,
        workload: &mut Workload,
        index: usize,
        turn: u64,
        emit_joined: bool,
        failures: &mut Failures,
        emit_reading: &mut dyn FnMut(Reading),
    ) {
        let Reader {
            rows,
            joined,
            trees,
            processes,
            limits,
            descriptors,
            workloads,
            by_path,
            places,
            attention,
            sampler,
            ..
        } = self;
        let due = workload.due(turn, limits.period);
        let found = workload.searches(due, trees.len()) && workload.find_parts(trees, processes, descriptors);
        if found || emit_joined {
            workload.emit_joined(trees, emit_reading);
        }
        let (own, parts) = (Own { trees, rows, index }, workload.parts.len());
        let before = workload.memory();
        let due = due.map(|due| workload.read(own, due, attention, descriptors, failures, emit_reading));
        let gone = workload.parts.len() < parts;
        if gone {
            joined.retain(|_, other| *other != index);
        }
        if found || gone {
            joined.extend(workload.parts.iter().skip(1).map(|(_, part)| (part.id, index)));
            rows.forget();
        }
        if due >= Some(Due::Still) {
            let above = above(&workload.path).filter_map(|path| workloads[*by_path.get(path)?].as_ref());
            workload.limit = above.chain([&*workload]).filter_map(Workload::own_limit).min();
        }
        if let Some(usage) = sampler.with(|sampled| workload.sample(&trees[0], before, sampled)) {
            emit_reading(Reading::Usage(usage));
        }
        let took_place = workload.settle(places);
        (workload.new, workload.entered) = (took_place && due < Some(Due::Turn), false);
        if due >= Some(Due::Turn) && !workload.placed {
            workload.rest(trees, descriptors);
        }
    }
}
