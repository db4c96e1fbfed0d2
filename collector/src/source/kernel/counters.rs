//! Reads the counter maps once a tick, in memory that they share with the collector, and emits the growth of each row since the last
//! time.
//!
//! Every value is a row of words ([`collector_common::Counters`]), so one reader serves all signals; the signals know the
//! meaning of the words. In steady state nothing is allocated.

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

use anyhow::Result;
use collector_common::{Counters, Key, SIGNALS, block, lost, slot};

use collector_core::cgroup::Id;
use collector_core::decode;
use collector_core::sample::Reading;
use collector_core::signal::{Context, RowKey};

use super::device::DeviceRows;
use super::mapped::Mapped;
use super::notice::Notice;
use super::row::CgroupRows;
use super::slot::{Keep, Slots};

/// A slot is read whether it is marked or not once in this many ticks. A program that was interrupted between counting and
/// marking leaves a count without a mark, and so does a processor that reorders the two.
const ROUND: usize = 64;

/// All counter maps, and the owner of each slot.
pub struct CounterMaps {
    tables: Vec<Table>,
    devices: DeviceRows,
    rows: CgroupRows,
    /// The first word of each part of a row, and what it counts.
    sections: Vec<(usize, &'static Counters)>,
    slots: Slots,
    tick: usize,
}

impl CounterMaps {
    /// Takes the maps out of the loaded object.
    pub fn new(ebpf: &mut aya::Ebpf, slots: u32) -> Result<CounterMaps> {
        let specs = SIGNALS.iter().flat_map(|signal| signal.counters).chain([&lost::COUNTERS]);
        let tables = specs.filter(|spec| spec.key == Key::Index).map(|spec| Table::new(ebpf, *spec));
        Ok(CounterMaps {
            tables: tables.collect::<Result<_>>()?,
            devices: DeviceRows::new(ebpf)?,
            rows: CgroupRows::new(ebpf, slots)?,
            sections: slot::sections().collect(),
            slots: Slots::new(ebpf, slots)?,
            tick: 0,
        })
    }

    /// Emits a reading for each row that has grown since the last call. Returns how many requests did not store when they were
    /// issued.
    pub fn read(&mut self, notice: &Notice, context: &Context, emit: &mut dyn FnMut(Reading)) -> Result<u64> {
        let CounterMaps { tables, devices, rows, sections, slots, tick } = self;
        slots.refresh(notice)?;
        for table in tables {
            table.read(&mut |map, key, growth| decode::counters(map, key, growth, context, emit));
        }
        let unstarted =
            devices.read(notice, &mut |key, growth| decode::counters(block::DEVICES, key, growth, context, emit))?;
        *tick = tick.wrapping_add(1);
        rows.reach(slots.in_use())?;
        for slot in 0..slots.in_use() {
            let Some(owner) = slots.owner(slot) else { continue };
            let all = slots.is_leaving(slot) || slot % ROUND == *tick % ROUND;
            let Some(grown) = rows.take(slot, all) else { continue };
            slots.count(slot);
            for (first, counters) in sections.iter() {
                let growth = &grown[*first..first + counters.words];
                if growth.iter().any(|word| *word != 0) {
                    decode::counters(counters.map, RowKey::Cgroup(owner), growth, context, emit);
                }
            }
        }
        Ok(unstarted)
    }

    /// Marks a cgroup as dead at `now` (CLOCK_MONOTONIC, in nanoseconds).
    pub fn retire(&mut self, cgroup: Id, now: u64, keep: Keep) {
        self.slots.retire(cgroup, now, keep);
    }

    /// Frees the slots of dead cgroups whose time is over.
    pub fn release(&mut self, now: u64) -> Result<()> {
        self.slots.release(now)
    }

    /// All cgroups that own a slot.
    pub fn owners(&self) -> impl Iterator<Item = Id> {
        self.slots.owners()
    }

    /// Retires the owners of slots that are not among the cgroups that exist.
    pub fn retain(&mut self, alive: &HashSet<Id>, now: u64, keep: Keep) {
        let dead: Vec<_> = self.owners().filter(|owner| !alive.contains(owner)).collect();
        dead.into_iter().for_each(|cgroup| self.retire(cgroup, now, keep));
    }
}

/// One counter map with rows that only grow, and their last values.
struct Table {
    spec: Counters,
    map: Mapped,
    /// By index.
    seen: Vec<Vec<u64>>,
    sum: Vec<u64>,
}

impl Table {
    fn new(ebpf: &mut aya::Ebpf, spec: Counters) -> Result<Table> {
        let map = Mapped::whole(ebpf, spec.map)?;
        let rows = map.length() / spec.words;
        Ok(Table { spec, map, seen: vec![vec![0; spec.words]; rows], sum: vec![0; spec.words] })
    }

    fn read(&mut self, emit: &mut dyn FnMut(&str, RowKey, &[u64])) {
        let Table { spec, map, seen, sum } = self;
        for (index, before) in seen.iter_mut().enumerate() {
            let Some(row) = map.words(index * spec.words..(index + 1) * spec.words) else { continue };
            if before.iter().zip(row).all(|(before, now)| *before == now.load(Relaxed)) {
                continue;
            }
            for ((grown, before), now) in sum.iter_mut().zip(before).zip(row) {
                let now = now.load(Relaxed);
                *grown = now.wrapping_sub(std::mem::replace(before, now));
            }
            emit(spec.map, RowKey::Index(index as u32), sum);
        }
    }
}
