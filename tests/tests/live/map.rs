//! Reading real maps in batches and key by key, and running a program with BPF_PROG_TEST_RUN.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{Map, MapData};
use aya::programs::RawTracePoint;
use aya::{Ebpf, EbpfLoader};
use aya_obj::generated::bpf_map_type::{
    BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_PERCPU_ARRAY, BPF_MAP_TYPE_PERCPU_HASH,
};
use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_map_type};
use collector::source::kernel::bpf::{self, Rows};
use collector::source::kernel::load::OBJECT;
use collector_common::ring::Ring;
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
