//! Reads the counter maps once a tick, and emits the growth of each row since the last time.
//!
//! Every value is a row of words that only grow ([`collector_common::Counters`]), so one reader serves all signals; the
//! signals know the meaning of the words. In steady state nothing is allocated.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::AsFd;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData, Stack};
use collector_common::{Counters, Key, SIGNALS, lost};
use zerocopy::{FromBytes, IntoBytes};

use collector_core::cgroup::Id;
use collector_core::decode;
use collector_core::sample::Reading;
use collector_core::signal::{Context, RowKey};

use super::bpf::{self, Rows};

/// Maximum number of rows per system call: bounds the buffers on hosts with many CPUs.
const CHUNK: usize = 128;
/// Number of dead cgroups that are remembered, in case a late IO brings one back.
const MAX_DEAD: usize = 4096;
/// Words of each CPU in the map `CACHE`: the memory and the io controller.
const CACHED: u32 = 2;

/// All counter maps, and the owner of each slot.
pub struct CounterMaps {
    tables: Vec<Table>,
    slots: Slots,
}

impl CounterMaps {
    /// Takes the maps out of the loaded object.
    pub fn new(ebpf: &mut aya::Ebpf, slots: u32) -> Result<CounterMaps> {
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        let specs = SIGNALS.iter().flat_map(|signal| signal.counters).chain([&lost::COUNTERS]);
        let tables = specs.map(|spec| Table::new(ebpf, *spec, cpus)).collect::<Result<_>>()?;
        Ok(CounterMaps { tables, slots: Slots::new(ebpf, slots)? })
    }

    /// Emits a reading for each row that has grown since the last call.
    pub fn read(&mut self, context: &Context, emit: &mut dyn FnMut(Reading)) -> Result<()> {
        self.slots.refresh()?;
        for table in &mut self.tables {
            let slots = &self.slots;
            table.read(slots, &mut |map, key, growth| decode::counters(map, key, growth, context, emit))?;
        }
        Ok(())
    }

    /// Marks a cgroup as dead at `now` (CLOCK_MONOTONIC, in nanoseconds). Its slot becomes free after `quarantine`,
    /// when no IO of it can be in flight and its last counts have been read.
    pub fn retire(&mut self, cgroup: Id, now: u64, quarantine: u64) {
        self.slots.dying.push_back((now.saturating_add(quarantine), cgroup));
    }

    /// Frees the slots whose quarantine is over.
    pub fn release(&mut self, now: u64) -> Result<()> {
        self.slots.release(now)
    }

    /// Retires the owners of slots that are not among the cgroups that exist.
    pub fn retain(&mut self, alive: &HashSet<Id>, now: u64, quarantine: u64) {
        let dead: Vec<_> = self.slots.owners.iter().flatten().filter(|owner| !alive.contains(owner)).copied().collect();
        dead.into_iter().for_each(|cgroup| self.retire(cgroup, now, quarantine));
    }
}

/// One counter map, and its last values.
struct Table {
    spec: Counters,
    map: MapData,
    cpus: usize,
    rows: Rows,
    /// Last values of slots and indices, row after row.
    seen: Vec<u64>,
    /// Last values of hashes.
    seen_by_key: HashMap<[u8; 8], Vec<u64>>,
    sum: Vec<u64>,
}

impl Table {
    fn new(ebpf: &mut aya::Ebpf, spec: Counters, cpus: usize) -> Result<Table> {
        let map = ebpf.take_map(spec.map).with_context(|| format!("the object has no map {}", spec.map))?;
        let (map, key_size) = match map {
            Map::PerCpuArray(map) => (map, 4),
            Map::PerCpuHashMap(map) => (map, 8),
            _ => anyhow::bail!("map {} is not a per-CPU array or hash", spec.map),
        };
        let entries = map.info().with_context(|| format!("describe map {}", spec.map))?.max_entries() as usize;
        let words = if spec.key == Key::Hash { 0 } else { entries * spec.words };
        Ok(Table {
            spec,
            map,
            cpus,
            rows: Rows::new(key_size, cpus * spec.words * 8, CHUNK.min(entries)),
            seen: vec![0; words],
            seen_by_key: HashMap::new(),
            sum: vec![0; spec.words],
        })
    }

    fn read(&mut self, slots: &Slots, grown: &mut dyn FnMut(&str, RowKey, &[u64])) -> Result<()> {
        let Table { spec, map, cpus, rows, seen, seen_by_key, sum } = self;
        let limit = if spec.key == Key::Slot { slots.in_use() } else { usize::MAX };
        rows.first(map.fd().as_fd(), limit, |key, value| {
            sum.fill(0);
            for cpu in value.chunks_exact(value.len() / *cpus) {
                for (sum, word) in sum.iter_mut().zip(cpu.chunks_exact(8)) {
                    *sum = sum.wrapping_add(u64::read_from_bytes(word).unwrap_or_default());
                }
            }
            let (key, before): (RowKey, &mut [u64]) = match spec.key {
                Key::Hash => {
                    let Ok(key) = <[u8; 8]>::try_from(key) else { return };
                    let before = seen_by_key.entry(key).or_insert_with(|| vec![0; spec.words]);
                    (RowKey::Hash(key), before)
                }
                Key::Slot | Key::Index => {
                    let index = u32::read_from_bytes(key).unwrap_or_default() as usize;
                    let key = match spec.key {
                        Key::Slot => match slots.owner(index) {
                            Some(owner) => RowKey::Cgroup(owner),
                            None => return,
                        },
                        _ => RowKey::Index(index as u32),
                    };
                    let Some(before) = seen.get_mut(index * spec.words..(index + 1) * spec.words) else { return };
                    (key, before)
                }
            };
            if sum[..] == *before {
                return;
            }
            for (before, now) in before.iter_mut().zip(sum.iter_mut()) {
                let growth = now.wrapping_sub(*before);
                *before = *now;
                *now = growth;
            }
            grown(spec.map, key, sum);
        })
        .with_context(|| format!("read map {}", spec.map))
    }
}

/// Which cgroup owns which slot.
struct Slots {
    map: MapData,
    free: Stack<MapData, u32>,
    rows: Rows,
    cache: Cache,
    /// Indexed by slot.
    owners: Vec<Option<Id>>,
    /// Slots that lost their owner in the last round. CPUs may still have them in their caches.
    leaving: HashSet<u32>,
    /// Slots that no cache has any more. They are freed once their remaining counts have been read.
    clean: HashSet<u32>,
    /// Dead cgroups, with the time at which their slots become free.
    dying: VecDeque<(u64, Id)>,
    /// Dead cgroups whose slots have been freed, the oldest first.
    dead: VecDeque<Id>,
    is_dead: HashSet<Id>,
}

impl Slots {
    fn new(ebpf: &mut aya::Ebpf, slots: u32) -> Result<Slots> {
        let take = |ebpf: &mut aya::Ebpf, name: &str| {
            ebpf.take_map(name).with_context(|| format!("the object has no map {name}"))
        };
        let Map::HashMap(map) = take(ebpf, "SLOTS")? else { anyhow::bail!("map SLOTS is not a hash") };
        Ok(Slots {
            map,
            free: Stack::try_from(take(ebpf, "FREE")?).context("map FREE")?,
            rows: Rows::new(size_of::<collector_common::cgroup::Id>(), size_of::<u32>(), slots as usize),
            cache: Cache::new(ebpf)?,
            owners: vec![None; slots as usize],
            leaving: HashSet::new(),
            clean: HashSet::new(),
            dying: VecDeque::new(),
            dead: VecDeque::new(),
            is_dead: HashSet::new(),
        })
    }

    /// Number of rows that may be in use: slot 0, and all up to the highest slot with a current or recent owner.
    fn in_use(&self) -> usize {
        let leaving = self.leaving.iter().chain(&self.clean).max().map_or(1, |&highest| highest as usize + 1);
        self.owners.iter().rposition(Option::is_some).map_or(leaving, |highest| leaving.max(highest + 1))
    }

    /// The cgroup to charge a slot's counts to: `Some(None)` for slot 0 and for late IO of dead cgroups; `None` for a
    /// slot that was just taken, whose counts wait until its owner is known.
    fn owner(&self, slot: usize) -> Option<Option<Id>> {
        let owner = self.owners.get(slot).copied().flatten();
        let left = |slots: &HashSet<u32>| slots.contains(&(slot as u32));
        let known = owner.is_some() || slot == 0 || left(&self.leaving) || left(&self.clean);
        known.then_some(owner)
    }

    fn refresh(&mut self) -> Result<()> {
        let Slots { map, rows, owners, .. } = self;
        rows.each(map.fd().as_fd(), |key, value| {
            let id = collector_common::cgroup::Id::read_from_bytes(key);
            let (Ok(id), Ok(slot)) = (id, u32::read_from_bytes(value)) else { return };
            if let Some(owner) = owners.get_mut(slot as usize) {
                *owner = Some(Id { hierarchy: id.hierarchy, id: id.id });
            }
        })
        .context("read map SLOTS")
    }

    /// Takes slots from the cgroups whose quarantine is over. A slot becomes free two rounds later: first programs that had
    /// just looked it up store it in their CPU's cache, then the caches are cleared, then what was counted until then is
    /// read. From there on no program has the slot, so the next owner gets no IO of the last one, however late that comes.
    fn release(&mut self, now: u64) -> Result<()> {
        for slot in self.clean.drain() {
            self.free.push(slot, 0).context("push to map FREE")?;
        }
        if !self.leaving.is_empty() {
            self.cache.clear()?;
            self.clean.extend(self.leaving.drain());
        }
        while let Some((due, id)) = self.dying.front().copied()
            && due <= now
        {
            self.dying.pop_front();
            self.remove_owner(id)?;
            if self.dead.len() == MAX_DEAD
                && let Some(oldest) = self.dead.pop_front()
            {
                self.is_dead.remove(&oldest);
            }
            self.dead.push_back(id);
            self.is_dead.insert(id);
        }
        // A late IO may have taken a slot for a cgroup whose slot was freed already.
        for slot in 1..self.owners.len() {
            if let Some(id) = self.owners[slot]
                && self.is_dead.contains(&id)
            {
                self.remove_owner(id)?;
            }
        }
        Ok(())
    }

    fn remove_owner(&mut self, cgroup: Id) -> Result<()> {
        let key = collector_common::cgroup::Id { id: cgroup.id, hierarchy: cgroup.hierarchy };
        let map = self.map.fd().as_fd();
        let mut slot = 0u32;
        match bpf::lookup(map, key.as_bytes(), slot.as_mut_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.context("read map SLOTS")?,
        }
        bpf::delete(map, key.as_bytes()).context("remove from map SLOTS")?;
        if let Some(owner) = self.owners.get_mut(slot as usize) {
            *owner = None;
        }
        self.leaving.insert(slot);
        Ok(())
    }
}

/// The slot that each CPU looked up last.
struct Cache {
    map: MapData,
    /// A value of zeroes for all CPUs.
    empty: Vec<u8>,
}

impl Cache {
    fn new(ebpf: &mut aya::Ebpf) -> Result<Cache> {
        let Some(Map::PerCpuArray(map)) = ebpf.take_map("CACHE") else { anyhow::bail!("map CACHE is not a per-CPU array") };
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        Ok(Cache { map, empty: vec![0; cpus * size_of::<u64>()] })
    }

    /// Makes every CPU look up its next cgroup. A program that looks one up at this moment may store it after this.
    fn clear(&self) -> Result<()> {
        let clear = |index: u32| bpf::update(self.map.fd().as_fd(), index.as_bytes(), &self.empty);
        (0..CACHED).try_for_each(clear).context("clear map CACHE")
    }
}
