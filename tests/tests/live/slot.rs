//! Slots of cgroups and their rows, in the real maps: what is read when, and when a slot may be given to another cgroup.

use std::os::fd::AsFd;

use aya::maps::{Map, MapData, Stack};
use aya::{Ebpf, EbpfLoader};
use collector::source::kernel::bpf;
use collector::source::kernel::counters::CounterMaps;
use collector::source::kernel::load::OBJECT;
use collector::source::kernel::notice::Notice;
use collector::source::kernel::slot::Keep;
use collector_common::notice::word;
use collector_common::slot;
use collector_core::cgroup::Id;
use collector_core::sample::Reading;
use collector_core::signal::Context;
use collector_tests::needs;
use collector_tests::require::is_root;

fn cpus() -> usize {
    aya::util::nr_cpus().unwrap()
}

/// The maps of slots and rows as the programs see them, with a cgroup that has a slot.
struct Loaded {
    ebpf: Ebpf,
    slots: MapData,
    cache: MapData,
    rows: MapData,
    marks: MapData,
    free: Stack<MapData, u32>,
    notice: Notice,
}

const SLOTS: u32 = 16;
const SHARDS: u32 = 3;
const OWNED: u32 = 5;
const OWNER: Id = Id { id: 7, hierarchy: 1 };
const CONTEXT: Context = Context { page_size: 4096, clock_offset_ns: 0, jiffy_ns: 1 };

impl Loaded {
    fn new() -> Loaded {
        let mut loader = EbpfLoader::new();
        let ebpf = loader.map_max_entries(slot::ROWS, SHARDS * SLOTS).map_max_entries(slot::MARKS, SLOTS);
        let mut ebpf = ebpf.load(OBJECT).unwrap();
        let notice = Notice::new(&mut ebpf).unwrap();
        let open = |name: &str| match ebpf.map(name).unwrap() {
            Map::HashMap(map) | Map::PerCpuArray(map) | Map::Stack(map) | Map::Array(map) => {
                MapData::from_id(map.info().unwrap().id()).unwrap()
            }
            other => panic!("{other:?}"),
        };
        let slots = open("SLOTS");
        bpf::update(slots.fd().as_fd(), &Loaded::key(), &OWNED.to_ne_bytes()).unwrap();
        Loaded {
            slots,
            cache: open(slot::CACHE),
            rows: open(slot::ROWS),
            marks: open(slot::MARKS),
            free: Stack::try_from(Map::Stack(open("FREE"))).unwrap(),
            ebpf,
            notice,
        }
    }

    fn key() -> Vec<u8> {
        [OWNER.id, OWNER.hierarchy].map(u64::to_ne_bytes).concat()
    }

    /// Counts in the owner's row of a shard, in the first word of the section.
    fn count(&self, shard: u32, section: &str, count: u64) {
        let (first, _) = slot::sections().find(|(_, counters)| counters.map == section).unwrap();
        let index = (shard * SLOTS + OWNED).to_ne_bytes();
        let mut row = vec![0; 8 * slot::WORDS];
        bpf::lookup(self.rows.fd().as_fd(), &index, &mut row).unwrap();
        row[8 * first..8 * first + 8].copy_from_slice(&count.to_ne_bytes());
        bpf::update(self.rows.fd().as_fd(), &index, &row).unwrap();
    }

    /// Marks the owner's rows of these shards.
    fn mark(&self, shards: &[usize]) {
        let mut marks = vec![0; slot::SHARDS];
        shards.iter().for_each(|shard| marks[*shard] = 1);
        bpf::update(self.marks.fd().as_fd(), &OWNED.to_ne_bytes(), &marks).unwrap();
    }
}

/// Waits for dirty pages that a read emits, with their cgroups.
fn waits(maps: &mut CounterMaps, notice: &Notice) -> Vec<(Option<Id>, u64)> {
    let mut waits = Vec::new();
    maps.read(notice, &CONTEXT, &mut |reading| match reading {
        Reading::Dirty(dirty) => waits.push((dirty.cgroup, dirty.counts.waits)),
        other => panic!("{other:?}"),
    })
    .unwrap();
    waits
}

#[test]
fn what_is_marked_is_taken_once_and_the_rest_when_the_slot_is_given_back() {
    needs!(is_root(), "maps need root");
    let mut loaded = Loaded::new();
    let mut maps = CounterMaps::new(&mut loaded.ebpf, SLOTS).unwrap();
    assert_eq!(waits(&mut maps, &loaded.notice), []);
    loaded.count(0, "DIRTY", 20);
    loaded.count(1, "DIRTY", 300);
    loaded.count(2, "DIRTY", 4000);
    loaded.mark(&[0, 2]);
    assert_eq!(waits(&mut maps, &loaded.notice), [(Some(OWNER), 4020)]);
    assert_eq!(waits(&mut maps, &loaded.notice), []);
    loaded.count(2, "DIRTY", 7);
    loaded.mark(&[2]);
    assert_eq!(waits(&mut maps, &loaded.notice), [(Some(OWNER), 7)]);
    maps.retire(OWNER, 0, Keep { quiet: 0, longest: 0 });
    maps.release(1).unwrap();
    // Its owner is gone: `other` gets it.
    assert_eq!(waits(&mut maps, &loaded.notice), [(None, 300)]);
    assert_eq!(waits(&mut maps, &loaded.notice), []);
}

#[test]
fn what_is_never_marked_is_taken_within_a_round_of_ticks() {
    needs!(is_root(), "maps need root");
    let mut loaded = Loaded::new();
    let mut maps = CounterMaps::new(&mut loaded.ebpf, SLOTS).unwrap();
    loaded.count(1, "DIRTY", 5);
    let taken: Vec<_> = (0..64).flat_map(|_| waits(&mut maps, &loaded.notice)).collect();
    assert_eq!(taken, [(Some(OWNER), 5)]);
}

/// Whatever a CPU looked up before, it must not have the slot when another cgroup gets it.
#[test]
fn a_slot_is_free_only_after_no_cpu_has_it_in_its_cache() {
    needs!(is_root(), "maps need root");
    let mut loaded = Loaded::new();
    let word = 9u64 << 16 | u64::from(OWNED);
    let value = |words: [u64; 3]| words.map(u64::to_ne_bytes).concat().repeat(cpus());
    let index = 0u32.to_ne_bytes();
    bpf::update(loaded.cache.fd().as_fd(), &index, &value([word, word, 1 << 32])).unwrap();
    let mut maps = CounterMaps::new(&mut loaded.ebpf, SLOTS).unwrap();
    assert_eq!(waits(&mut maps, &loaded.notice), []);
    assert_eq!(maps.owners().collect::<Vec<_>>(), [OWNER]);
    maps.retire(OWNER, 0, Keep { quiet: 10, longest: 10 });
    for now in [9, 10, 11] {
        maps.release(now).unwrap();
        let found = bpf::lookup(loaded.slots.fd().as_fd(), &Loaded::key(), &mut [0; 4]);
        assert_eq!(found.is_ok(), now == 9, "at {now}");
        assert!(loaded.free.pop(0).is_err(), "free at {now}");
    }
    // A round after the cgroup lost its slot. Where a CPU's rows are stays.
    let mut cached = vec![0; value([0; 3]).len()];
    bpf::lookup(loaded.cache.fd().as_fd(), &index, &mut cached).unwrap();
    assert_eq!(cached, value([0, 0, 1 << 32]));
    // And another, in which the last counts were read.
    maps.release(12).unwrap();
    assert_eq!(loaded.free.pop(0).unwrap(), OWNED);
}

#[test]
fn a_dead_cgroup_keeps_its_slot_while_something_is_counted_for_it() {
    needs!(is_root(), "maps need root");
    let mut loaded = Loaded::new();
    let mut maps = CounterMaps::new(&mut loaded.ebpf, SLOTS).unwrap();
    assert_eq!(waits(&mut maps, &loaded.notice), []);
    maps.retire(OWNER, 100, Keep { quiet: 10, longest: 100 });
    let mut tick = |now, count| {
        if count > 0 {
            loaded.count(0, "DIRTY", count);
            loaded.mark(&[0]);
        }
        let waits = waits(&mut maps, &loaded.notice);
        maps.release(now).unwrap();
        (waits, bpf::lookup(loaded.slots.fd().as_fd(), &Loaded::key(), &mut [0; 4]).is_ok())
    };
    // It has IO in each tick, then none, then again.
    for now in [105, 110, 115] {
        assert_eq!(tick(now, 3), (vec![(Some(OWNER), 3)], true), "at {now}");
    }
    assert_eq!(tick(119, 0), (vec![], true));
    assert_eq!(tick(121, 0), (vec![], false));
    assert_eq!(tick(122, 0), (vec![], false));
    assert_eq!(tick(123, 0), (vec![], false));
    bpf::update(loaded.slots.fd().as_fd(), &Loaded::key(), &OWNED.to_ne_bytes()).unwrap();
    // As the program says that it took a slot.
    loaded.notice.set(word::SLOTS, 1);
    assert_eq!(tick(124, 4), (vec![(None, 4)], false), "late, and from nobody that the engine knows");
}

#[test]
fn a_dead_cgroup_does_not_keep_its_slot_for_ever() {
    needs!(is_root(), "maps need root");
    let mut loaded = Loaded::new();
    let mut maps = CounterMaps::new(&mut loaded.ebpf, SLOTS).unwrap();
    maps.retire(OWNER, 100, Keep { quiet: 20, longest: 30 });
    for now in [110, 120, 129, 130] {
        loaded.count(2, "DIRTY", 3);
        loaded.mark(&[2]);
        assert_eq!(waits(&mut maps, &loaded.notice), [(Some(OWNER), 3)], "at {now}");
        maps.release(now).unwrap();
    }
    assert!(bpf::lookup(loaded.slots.fd().as_fd(), &Loaded::key(), &mut [0; 4]).is_err());
}
