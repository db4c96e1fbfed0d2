//! Reads the counter maps once a tick, and emits the growth of each row since the last time.
//!
//! Every value is a row of words ([`collector_common::Counters`]), so one reader serves all signals; the signals know the
//! meaning of the words. In steady state nothing is allocated.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData};
use collector_common::block::DeviceOperation;
use collector_common::{Counters, Key, SIGNALS, lost, slot};
use zerocopy::{FromBytes, IntoBytes};

use collector_core::cgroup::Id;
use collector_core::decode;
use collector_core::sample::Reading;
use collector_core::signal::{Context, RowKey};

use super::bpf::Rows;
use super::row::CgroupRows;
use super::slot::{Keep, Slots};

/// Maximum number of rows per system call: bounds the buffers on hosts with many CPUs.
const CHUNK: usize = 128;
/// A slot is read whether it is marked or not once in this many ticks. A program that was interrupted between counting and
/// marking leaves a count without a mark, and so does a processor that reorders the two.
const ROUND: usize = 64;

/// All counter maps, and the owner of each slot.
pub struct CounterMaps {
    tables: Vec<Table>,
    rows: CgroupRows,
    /// The first word of each part of a row, and what it counts.
    sections: Vec<(usize, &'static Counters)>,
    slots: Slots,
    tick: usize,
}

impl CounterMaps {
    /// Takes the maps out of the loaded object.
    pub fn new(ebpf: &mut aya::Ebpf, slots: u32) -> Result<CounterMaps> {
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        let specs = SIGNALS.iter().flat_map(|signal| signal.counters).chain([&lost::COUNTERS]);
        let tables = specs.filter(|spec| spec.key != Key::Slot).map(|spec| Table::new(ebpf, *spec, cpus));
        Ok(CounterMaps {
            tables: tables.collect::<Result<_>>()?,
            rows: CgroupRows::new(ebpf, slots)?,
            sections: slot::sections().collect(),
            slots: Slots::new(ebpf, slots)?,
            tick: 0,
        })
    }

    /// Emits a reading for each row that has grown since the last call.
    pub fn read(&mut self, context: &Context, emit: &mut dyn FnMut(Reading)) -> Result<()> {
        let CounterMaps { tables, rows, sections, slots, tick } = self;
        slots.refresh()?;
        for table in tables {
            table.read(&mut |map, key, growth| decode::counters(map, key, growth, context, emit))?;
        }
        *tick = tick.wrapping_add(1);
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
        Ok(())
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
    map: MapData,
    /// Rows that a value consists of: one per CPU, or one.
    parts: usize,
    rows: Rows,
    /// By key.
    seen: HashMap<[u8; 8], Vec<u64>>,
    /// Growth of the shards of a row together.
    grown: HashMap<[u8; 8], Vec<u64>>,
    sum: Vec<u64>,
}

impl Table {
    fn new(ebpf: &mut aya::Ebpf, spec: Counters, cpus: usize) -> Result<Table> {
        let map = ebpf.take_map(spec.map).with_context(|| format!("the object has no map {}", spec.map))?;
        let (map, key_size, parts) = match map {
            Map::PerCpuArray(map) => (map, 4, cpus),
            Map::HashMap(map) => (map, 8, 1),
            _ => anyhow::bail!("map {} is not a per-CPU array or a hash", spec.map),
        };
        let entries = map.info().with_context(|| format!("describe map {}", spec.map))?.max_entries() as usize;
        Ok(Table {
            spec,
            map,
            parts,
            rows: Rows::new(key_size, parts * spec.words * 8, CHUNK.min(entries)),
            seen: HashMap::new(),
            grown: HashMap::new(),
            sum: vec![0; spec.words],
        })
    }

    fn read(&mut self, emit: &mut dyn FnMut(&str, RowKey, &[u64])) -> Result<()> {
        let Table { spec, map, parts, rows, seen, grown, sum } = self;
        rows.each(map.fd().as_fd(), |key, value| {
            sum.fill(0);
            for part in value.chunks_exact(value.len() / *parts) {
                for (sum, word) in sum.iter_mut().zip(part.chunks_exact(8)) {
                    *sum = sum.wrapping_add(u64::read_from_bytes(word).unwrap_or_default());
                }
            }
            let (mut own, mut whole) = ([0; 8], [0; 8]);
            own[..key.len()].copy_from_slice(key);
            match DeviceOperation::read_from_bytes(key) {
                Ok(device) if spec.key == Key::Hash => whole.copy_from_slice(device.whole().as_bytes()),
                _ => whole = own,
            }
            let before = seen.entry(own).or_insert_with(|| vec![0; spec.words]);
            if sum[..] == before[..] {
                return;
            }
            let grown = grown.entry(whole).or_insert_with(|| vec![0; spec.words]);
            for ((grown, before), now) in grown.iter_mut().zip(before).zip(sum.iter()) {
                *grown = grown.wrapping_add(now.wrapping_sub(*before));
                *before = *now;
            }
        })
        .with_context(|| format!("read map {}", spec.map))?;
        for (key, growth) in grown.iter_mut().filter(|(_, growth)| growth.iter().any(|word| *word != 0)) {
            let key = match spec.key {
                Key::Hash => RowKey::Hash(*key),
                _ => RowKey::Index(u32::read_from_prefix(key).map_or(0, |(index, _)| index)),
            };
            emit(spec.map, key, growth);
            growth.fill(0);
        }
        Ok(())
    }
}
