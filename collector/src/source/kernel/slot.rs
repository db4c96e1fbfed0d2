//! Which cgroup owns which slot, and when a slot may be given to another cgroup. Does not know what is counted.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::os::fd::AsFd;

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData, Stack};
use collector_common::notice::word;
use collector_common::slot::{CACHE, cache};
use collector_core::cgroup::Id;
use zerocopy::{FromBytes, IntoBytes};

use super::bpf::{self, Rows};
use super::notice::{Notice, Seen};

/// Number of dead cgroups that are remembered, in case a late IO brings one back.
const MAX_DEAD: usize = 4096;

/// How long a dead cgroup keeps its slot, in nanoseconds.
#[derive(Clone, Copy)]
pub struct Keep {
    /// Until nothing was counted for it for so long: its writeback can run for minutes.
    pub quiet: u64,
    /// But no longer than this.
    pub longest: u64,
}

/// A dead cgroup that still has its slot. Times are of CLOCK_MONOTONIC in nanoseconds.
struct Dying {
    id: Id,
    keep: Keep,
    died: u64,
    /// When to look at it again.
    due: u64,
}

/// Which cgroup owns which slot.
pub struct Slots {
    map: MapData,
    free: Stack<MapData, u32>,
    rows: Rows,
    cache: Cache,
    seen: Seen,
    /// Indexed by slot, up to the highest that ever had an owner.
    owners: Vec<Option<Id>>,
    slots: usize,
    /// When something was counted last, indexed by slot.
    counted: Vec<u64>,
    /// Time of the last round.
    now: u64,
    /// Slots that lost their owner in the last round. CPUs may still have them in their caches.
    leaving: HashSet<u32>,
    /// Slots that no cache has any more. They are freed once their remaining counts have been read.
    clean: HashSet<u32>,
    dying: VecDeque<Dying>,
    /// Dead cgroups whose slots have been freed, the oldest first.
    dead: VecDeque<Id>,
    is_dead: HashSet<Id>,
}

impl Slots {
    /// Takes the maps out of the loaded object.
    pub fn new(ebpf: &mut aya::Ebpf, slots: u32) -> Result<Slots> {
        let take = |ebpf: &mut aya::Ebpf, name: &str| {
            ebpf.take_map(name).with_context(|| format!("the object has no map {name}"))
        };
        let Map::HashMap(map) = take(ebpf, "SLOTS")? else { anyhow::bail!("map SLOTS is not a hash") };
        Ok(Slots {
            map,
            free: Stack::try_from(take(ebpf, "FREE")?).context("map FREE")?,
            rows: Rows::new(size_of::<collector_common::cgroup::Id>(), size_of::<u32>(), slots as usize),
            cache: Cache::new(ebpf)?,
            seen: Seen::default(),
            owners: Vec::new(),
            slots: slots as usize,
            counted: vec![0; slots as usize],
            now: 0,
            leaving: HashSet::new(),
            clean: HashSet::new(),
            dying: VecDeque::new(),
            dead: VecDeque::new(),
            is_dead: HashSet::new(),
        })
    }

    /// Number of slots that may be in use: slot 0, and all up to the highest slot with a current or recent owner.
    pub fn in_use(&self) -> usize {
        let leaving = self.leaving.iter().chain(&self.clean).max().map_or(1, |&highest| highest as usize + 1);
        self.owners.iter().rposition(Option::is_some).map_or(leaving, |highest| leaving.max(highest + 1))
    }

    /// The cgroup to charge a slot's counts to: `Some(None)` for slot 0 and for what comes after a dead cgroup lost its slot;
    /// `None` for a slot that was just taken, whose counts wait until its owner is known.
    pub fn owner(&self, slot: usize) -> Option<Option<Id>> {
        let owner = self.owners.get(slot).copied().flatten();
        let known = owner.is_some() || slot == 0 || self.is_leaving(slot);
        known.then_some(owner.filter(|id| !self.is_dead.contains(id)))
    }

    /// Something was counted in this slot.
    pub fn count(&mut self, slot: usize) {
        if let Some(counted) = self.counted.get_mut(slot) {
            *counted = self.now;
        }
    }

    /// Whether its last counts are due: it has no owner any more, and is not free yet.
    pub fn is_leaving(&self, slot: usize) -> bool {
        [&self.leaving, &self.clean].into_iter().any(|slots| slots.contains(&(slot as u32)))
    }

    /// All cgroups that own a slot.
    pub fn owners(&self) -> impl Iterator<Item = Id> {
        self.owners.iter().flatten().copied()
    }

    /// Marks a cgroup as dead at `now`, unless it is marked already: every walk finds it again.
    pub fn retire(&mut self, id: Id, now: u64, keep: Keep) {
        if self.dying.iter().any(|dying| dying.id == id) {
            return;
        }
        self.dying.push_back(Dying { id, keep, died: now, due: now.saturating_add(keep.quiet) });
    }

    /// Learns the owners of slots that programs took.
    pub fn refresh(&mut self, notice: &Notice) -> Result<()> {
        if !self.seen.moved(notice.get(word::SLOTS)) {
            return Ok(());
        }
        let Slots { map, rows, owners, slots, .. } = self;
        rows.each(map.fd().as_fd(), |key, value| {
            let id = collector_common::cgroup::Id::read_from_bytes(key);
            let (Ok(id), Ok(slot)) = (id, u32::read_from_bytes(value)) else { return };
            let slot = slot as usize;
            if slot < *slots {
                owners.resize(owners.len().max(slot + 1), None);
                owners[slot] = Some(Id { hierarchy: id.hierarchy, id: id.id });
            }
        })
        .context("read map SLOTS")
    }

    /// Takes slots from dead cgroups that were quiet for long enough. A slot becomes free two rounds later: first programs that had
    /// just looked it up store it in their CPU's cache, then the caches are cleared, then what was counted until then is
    /// read. From there on no program has the slot, so the next owner gets no IO of the last one, however late that comes.
    pub fn release(&mut self, now: u64) -> Result<()> {
        for slot in self.clean.drain() {
            self.free.push(slot, 0).context("push to map FREE")?;
        }
        if !self.leaving.is_empty() {
            self.cache.clear()?;
            self.clean.extend(self.leaving.drain());
        }
        self.now = now;
        for _ in 0..self.dying.len() {
            let Some(dying) = self.dying.pop_front() else { break };
            match self.due(&dying)? {
                Some(due) => self.dying.push_back(Dying { due, ..dying }),
                None => {
                    self.remove_owner(dying.id)?;
                    self.bury(dying.id);
                }
            }
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

    /// When to look at a dead cgroup again; `None` if it loses its slot now.
    fn due(&self, dying: &Dying) -> Result<Option<u64>> {
        let Dying { id, keep, died, due } = *dying;
        if due > self.now {
            return Ok(Some(due));
        }
        let counted = self.slot(id)?.and_then(|slot| self.counted.get(slot as usize)).copied().unwrap_or(0);
        let due = counted.saturating_add(keep.quiet).min(died.saturating_add(keep.longest));
        Ok((due > self.now).then_some(due))
    }

    /// Remembers a dead cgroup without a slot.
    fn bury(&mut self, id: Id) {
        if !self.is_dead.insert(id) {
            return;
        }
        if self.dead.len() == MAX_DEAD
            && let Some(oldest) = self.dead.pop_front()
        {
            self.is_dead.remove(&oldest);
        }
        self.dead.push_back(id);
    }

    fn slot(&self, cgroup: Id) -> Result<Option<u32>> {
        let mut slot = 0u32;
        match bpf::lookup(self.map.fd().as_fd(), key(cgroup).as_bytes(), slot.as_mut_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(|()| Some(slot)).context("read map SLOTS"),
        }
    }

    fn remove_owner(&mut self, cgroup: Id) -> Result<()> {
        let Some(slot) = self.slot(cgroup)? else { return Ok(()) };
        bpf::delete(self.map.fd().as_fd(), key(cgroup).as_bytes()).context("remove from map SLOTS")?;
        if let Some(owner) = self.owners.get_mut(slot as usize) {
            *owner = None;
        }
        self.leaving.insert(slot);
        Ok(())
    }
}

fn key(cgroup: Id) -> collector_common::cgroup::Id {
    collector_common::cgroup::Id { id: cgroup.id, hierarchy: cgroup.hierarchy }
}

/// The slots that each CPU looked up last.
struct Cache {
    map: MapData,
    /// The value of all CPUs with nothing looked up.
    empty: Vec<u64>,
}

impl Cache {
    fn new(ebpf: &mut aya::Ebpf) -> Result<Cache> {
        let Some(Map::PerCpuArray(map)) = ebpf.take_map(CACHE) else {
            anyhow::bail!("map {CACHE} is not a per-CPU array")
        };
        let cpus = aya::util::nr_cpus().map_err(|(what, error)| anyhow::anyhow!("{what}: {error}"))?;
        let mut empty = vec![0; cpus * cache::COUNT];
        bpf::lookup(map.fd().as_fd(), 0u32.as_bytes(), empty.as_mut_bytes()).context("read map CACHE")?;
        for cpu in empty.chunks_exact_mut(cache::COUNT) {
            (cpu[cache::MEMORY], cpu[cache::IO]) = (0, 0);
        }
        Ok(Cache { map, empty })
    }

    /// Makes every CPU look up its next cgroup. A program that looks one up at this moment may store it after this.
    fn clear(&self) -> Result<()> {
        // The kernel copies word by word (bpf_long_memcpy), so no program sees a part of one.
        bpf::update(self.map.fd().as_fd(), 0u32.as_bytes(), self.empty.as_bytes()).context("clear map CACHE")
    }
}
