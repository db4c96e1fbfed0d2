//! Reading real maps in batches and key by key, and running a program with BPF_PROG_TEST_RUN.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{Map, MapData, Stack};
use aya::programs::RawTracePoint;
use aya::{Ebpf, EbpfLoader};
use aya_obj::generated::bpf_map_type::{
    BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH,
};
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_map_type};
use collector::source::kernel::bpf::{self, Rows};
use collector::source::kernel::counters::CounterMaps;
use collector::source::kernel::load::OBJECT;
use collector_common::ring::Ring;
use collector_common::slot;
use collector_core::cgroup::Id;
use collector_core::sample::Reading;
use collector_core::signal::Context;
use collector_tests::agent::Agent;
use collector_tests::bpf::map_memory;
use collector_tests::needs;
use collector_tests::require::is_root;

/// Key → first word of the value on every CPU (or the value, if the map is not per CPU).
type Content = BTreeMap<u64, Vec<u64>>;

/// A filled map of one of the four types.
struct Filled {
    map: MapData,
    key_size: usize,
    value_size: usize,
    content: Content,
}

fn cpus() -> usize {
    aya::util::nr_cpus().unwrap()
}

impl Filled {
    /// With `rows` of `capacity` rows, or all if it is an array, which has no absent rows.
    fn new(kind: bpf_map_type, capacity: u32, rows: u32) -> Filled {
        let (array, per_cpu) = match kind {
            BPF_MAP_TYPE_ARRAY => (true, false),
            BPF_MAP_TYPE_PERCPU_ARRAY => (true, true),
            BPF_MAP_TYPE_HASH => (false, false),
            _ => (false, true),
        };
        let key_size = if array { 4 } else { 8 };
        let words = if per_cpu { cpus() } else { 1 };
        let object = aya_obj::Map::new_from_params(kind as u32, key_size as u32, 8, capacity, 0);
        let map = MapData::create(object, "headroom_test", None).unwrap();
        let mut filled = Filled { map, key_size, value_size: 8 * words, content: Content::new() };
        for key in 0..u64::from(rows) {
            let values: Vec<u64> = (0..words as u64).map(|cpu| key * 1000 + cpu + 1).collect();
            filled.write(key, &values);
        }
        if array {
            (rows..capacity).for_each(|key| drop(filled.content.insert(key.into(), vec![0; words])));
        }
        filled
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.map.fd().as_fd()
    }

    fn write(&mut self, key: u64, values: &[u64]) {
        // SAFETY: a union of C structs of numbers, for which zero is a value.
        let mut attr: bpf_attr = unsafe { std::mem::zeroed() };
        // SAFETY: this member is about to be the one in use.
        let element = unsafe { &mut attr.__bindgen_anon_2 };
        element.map_fd = std::os::fd::AsRawFd::as_raw_fd(&self.fd()) as u32;
        element.key = &raw const key as u64;
        element.__bindgen_anon_1.value = values.as_ptr() as u64;
        // SAFETY: key and value live, and are as long as the map was made for.
        let result =
            unsafe { libc::syscall(libc::SYS_bpf, bpf_cmd::BPF_MAP_UPDATE_ELEM, &attr, size_of::<bpf_attr>()) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
        self.content.insert(key, values.to_vec());
    }

    /// Every row, read `chunk` at a time. No row may be returned twice.
    fn read(&self, rows: &mut Rows) -> Content {
        let mut content = Content::new();
        rows.each(self.fd(), |key, value| {
            let (key, values) = parse(key, value);
            assert!(content.insert(key, values).is_none(), "row {key} came twice");
        })
        .unwrap();
        content
    }

    fn rows(&self, chunk: usize) -> Rows {
        Rows::new(self.key_size, self.value_size, chunk)
    }
}

fn parse(key: &[u8], value: &[u8]) -> (u64, Vec<u64>) {
    let mut bytes = [0; 8];
    bytes[..key.len()].copy_from_slice(key);
    let words = value.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
    (u64::from_ne_bytes(bytes), words.collect())
}

const KINDS: [bpf_map_type; 4] =
    [BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_HASH];

#[test]
fn every_row_of_every_map_type_is_read_once_in_batches_of_any_size_and_key_by_key() {
    needs!(is_root(), "maps need root");
    for kind in KINDS {
        let filled = Filled::new(kind, 1000, 700);
        // One at a time is less than a bucket with two keys: the kernel returns ENOSPC, and the buffers grow.
        for chunk in [1, 7, 128, 1000, 5000] {
            let mut rows = filled.rows(chunk);
            assert_eq!(filled.read(&mut rows), filled.content, "{kind:?} by {chunk}");
            assert_eq!(filled.read(&mut rows), filled.content, "{kind:?} by {chunk}, again");
        }
        let mut by_key = Content::new();
        for key in filled.content.keys() {
            let mut value = vec![0; filled.value_size];
            bpf::lookup(filled.fd(), &key.to_ne_bytes()[..filled.key_size], &mut value).unwrap();
            by_key.insert(*key, parse(&[], &value).1);
        }
        assert_eq!(by_key, filled.content, "{kind:?} by key");
    }
}

#[test]
fn a_map_type_without_batches_is_read_key_by_key() {
    needs!(is_root(), "maps need root");
    for kind in KINDS {
        let filled = Filled::new(kind, 300, 200);
        // With a buffer for many rows, and one for a single row.
        for chunk in [128, 1] {
            assert_eq!(filled.read(&mut filled.rows(chunk).without_batches()), filled.content, "{kind:?} by {chunk}");
        }
    }
}

#[test]
fn only_the_requested_number_of_rows_is_read() {
    needs!(is_root(), "maps need root");
    for kind in [BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PERCPU_ARRAY] {
        let filled = Filled::new(kind, 1000, 1000);
        for (limit, batched) in [(0, true), (1, true), (128, true), (129, true), (5000, true), (129, false)] {
            let mut rows = if batched { filled.rows(128) } else { filled.rows(128).without_batches() };
            let mut keys = Vec::new();
            rows.first(filled.fd(), limit, |key, value| keys.push(parse(key, value).0)).unwrap();
            let expected: Vec<u64> = (0..limit.min(1000) as u64).collect();
            assert_eq!(keys, expected, "{kind:?}, {limit} rows");
        }
    }
}

#[test]
fn an_empty_map_has_no_rows() {
    needs!(is_root(), "maps need root");
    for kind in [BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_HASH] {
        let filled = Filled::new(kind, 100, 0);
        assert_eq!(filled.read(&mut filled.rows(128)), Content::new());
        assert_eq!(filled.read(&mut filled.rows(128).without_batches()), Content::new());
    }
}

#[test]
fn a_deleted_key_is_gone_and_a_descriptor_that_is_not_a_map_is_an_error() {
    needs!(is_root(), "maps need root");
    let mut filled = Filled::new(BPF_MAP_TYPE_HASH, 10, 3);
    let key = 1u64.to_ne_bytes();
    bpf::delete(filled.fd(), &key).unwrap();
    filled.content.remove(&1);
    assert_eq!(filled.read(&mut filled.rows(8)), filled.content);
    let mut value = [0; 8];
    assert_eq!(bpf::lookup(filled.fd(), &key, &mut value).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    assert_eq!(bpf::delete(filled.fd(), &key).unwrap_err().kind(), std::io::ErrorKind::NotFound);

    let file = File::open("/dev/null").unwrap();
    for mut rows in [filled.rows(8), filled.rows(8).without_batches()] {
        rows.each(file.as_fd(), |_, _| panic!("a row of something that is not a map")).unwrap_err();
    }
    bpf::lookup(file.as_fd(), &key, &mut value).unwrap_err();
    bpf::delete(file.as_fd(), &key).unwrap_err();
    bpf::statistics(file.as_fd()).unwrap_err();
    bpf::test_run(file.as_fd(), &[0]).unwrap_err();
}

#[test]
fn the_memory_of_the_maps_is_the_kernels() {
    needs!(is_root(), "programs need root");
    let agent = Agent::start("");
    let bytes = agent.scrape().sum("headroom_map_memory_bytes", &[]);
    eprintln!("{bytes} bytes");
    assert_eq!(bytes, map_memory(agent.pid()) as f64);
}

/// The maps of slots and rows as the programs see them, with a cgroup that has a slot.
struct Loaded {
    ebpf: Ebpf,
    slots: MapData,
    cache: MapData,
    rows: MapData,
    marks: MapData,
    free: Stack<MapData, u32>,
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
        let ebpf = ebpf.load(OBJECT).unwrap();
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
fn waits(maps: &mut CounterMaps) -> Vec<(Option<Id>, u64)> {
    let mut waits = Vec::new();
    maps.read(&CONTEXT, &mut |reading| match reading {
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
    assert_eq!(waits(&mut maps), []);
    loaded.count(0, "DIRTY", 20);
    loaded.count(1, "DIRTY", 300);
    loaded.count(2, "DIRTY", 4000);
    loaded.mark(&[0, 2]);
    assert_eq!(waits(&mut maps), [(Some(OWNER), 4020)]);
    assert_eq!(waits(&mut maps), []);
    loaded.count(2, "DIRTY", 7);
    loaded.mark(&[2]);
    assert_eq!(waits(&mut maps), [(Some(OWNER), 7)]);
    maps.retire(OWNER, 0, 0);
    maps.release(1).unwrap();
    // Its owner is gone: `other` gets it.
    assert_eq!(waits(&mut maps), [(None, 300)]);
    assert_eq!(waits(&mut maps), []);
}

#[test]
fn what_is_never_marked_is_taken_within_a_round_of_ticks() {
    needs!(is_root(), "maps need root");
    let mut loaded = Loaded::new();
    let mut maps = CounterMaps::new(&mut loaded.ebpf, SLOTS).unwrap();
    loaded.count(1, "DIRTY", 5);
    let taken: Vec<_> = (0..64).flat_map(|_| waits(&mut maps)).collect();
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
    assert_eq!(waits(&mut maps), []);
    assert_eq!(maps.owners().collect::<Vec<_>>(), [OWNER]);
    maps.retire(OWNER, 0, 10);
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
fn a_test_run_of_a_program_sends_its_records_and_is_measured() {
    needs!(is_root(), "programs need root");
    const RUNS: u64 = 3;
    const RECORDS: usize = 1024;
    let mut ebpf: Ebpf = EbpfLoader::new().map_max_entries(Ring::Bulk.map(), 1 << 20).load(OBJECT).unwrap();
    let Map::RingBuf(ring) = ebpf.take_map(Ring::Bulk.map()).unwrap() else { panic!("no ring") };
    let mut ring = aya::maps::RingBuf::try_from(Map::RingBuf(ring)).unwrap();
    let flood: &mut RawTracePoint = ebpf.program_mut("flood").unwrap().try_into().unwrap();
    flood.load().unwrap();
    let program = flood.fd().unwrap().as_fd();
    let _measured = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
    let before = bpf::statistics(program).unwrap();
    for run in 0..RUNS {
        bpf::test_run(program, &[run, 0]).unwrap();
    }
    let after = bpf::statistics(program).unwrap();
    // Some kernels measure test runs, and others do not.
    let bpf::Statistics { runs, ns, .. } = after.since(before);
    eprintln!("{runs} of {RUNS} runs measured, {ns} ns");
    assert!(runs == 0 || (runs == RUNS && ns > 0), "{runs} runs, {ns} ns");
    let mut records = 0;
    while ring.next().is_some() {
        records += 1;
    }
    assert_eq!(records, RUNS as usize * RECORDS);
}
