//! The built ELF object has everything in the catalogue, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use aya_obj::generated::{BPF_CALL, BPF_JMP, bpf_func_id, bpf_insn, bpf_map_type};
use aya_obj::{Map, Object, ProgramSection};
use collector::source::kernel::load::{OBJECT, TYPED_OBJECT};
use collector_common::ring::{Kind, Ring};
use collector_common::{
    Hook, Key, Probe, SIGNALS, block, cgroup, compaction, kill, layout, lost, notice, oom, pass, reclaim, settings,
    slot, transfer,
};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

/// For benchmarks, not in the catalogue: see `collector-ebpf/src/bench.rs`.
const BENCH: [&str; 2] = ["flood", "empty"];

fn parsed() -> Object {
    Object::parse(OBJECT).unwrap()
}

fn probes() -> impl Iterator<Item = &'static Probe> {
    SIGNALS.iter().flat_map(|signal| signal.probes)
}

/// Program → its ELF section, which names the type of hook.
fn sections() -> BTreeMap<String, String> {
    let elf = object::File::parse(OBJECT).unwrap();
    let symbols = elf.symbols().filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.is_global());
    let named = symbols.filter_map(|symbol| {
        let section = elf.section_by_index(symbol.section_index()?).ok()?;
        Some((symbol.name().ok()?.to_owned(), section.name().ok()?.to_owned()))
    });
    // Functions that programs call are in the plain text section.
    named.filter(|(_, section)| section != ".text").collect()
}

#[test]
fn every_probe_has_its_program_of_the_right_kind() {
    let (object, sections) = (parsed(), sections());
    for Probe { program, hook, .. } in probes() {
        let made = object.programs.get(*program).unwrap_or_else(|| panic!("no program {program}"));
        let right = match hook {
            Hook::RawTracepoint { .. } => matches!(made.section, ProgramSection::RawTracePoint),
            Hook::TypedTracepoint { .. } => matches!(made.section, ProgramSection::BtfTracePoint),
            Hook::Entry(_) => matches!(made.section, ProgramSection::FEntry { .. }),
            Hook::Exit(_) => matches!(made.section, ProgramSection::FExit { .. }),
            Hook::Kprobe(_) => matches!(made.section, ProgramSection::KProbe),
            Hook::Kretprobe(_) => matches!(made.section, ProgramSection::KRetProbe),
            Hook::LibraryEntry(_) => matches!(made.section, ProgramSection::UProbe { .. }),
            Hook::LibraryReturn(_) => matches!(made.section, ProgramSection::URetProbe { .. }),
            Hook::Software(_) => matches!(made.section, ProgramSection::PerfEvent),
        };
        assert!(right, "{program} is {:?}, and should be for {hook:?}", made.section);
        let target = match hook {
            Hook::RawTracepoint { name, .. } => format!("raw_tp/{name}"),
            Hook::TypedTracepoint { name, .. } => format!("tp_btf/{name}"),
            Hook::Entry(function) => format!("fentry/{function}"),
            Hook::Exit(function) => format!("fexit/{function}"),
            Hook::Kprobe(function) => format!("kprobe/{function}"),
            Hook::Kretprobe(function) => format!("kretprobe/{function}"),
            Hook::Software(_) => "perf_event".to_owned(),
            Hook::LibraryEntry(_) => "uprobe".to_owned(),
            Hook::LibraryReturn(_) => "uretprobe".to_owned(),
        };
        assert_eq!(sections.get(*program), Some(&target), "{program}");
    }
}

/// For kernels with lockdown: the same programs, each tracepoint a typed one.
#[test]
fn the_typed_object_has_the_same_programs_and_calls_no_helper_that_reads_kernel_memory() {
    let (object, typed) = (parsed(), Object::parse(TYPED_OBJECT).unwrap());
    for (name, program) in &object.programs {
        // It would be the typed program that it replaces.
        let Some(other) = typed.programs.get(name) else {
            assert_eq!(name, "block_rq_complete_raw");
            continue;
        };
        let raw = matches!(program.section, ProgramSection::RawTracePoint);
        assert_eq!(
            matches!(other.section, ProgramSection::BtfTracePoint),
            raw || name == "block_rq_complete",
            "{name}"
        );
        assert!(!matches!(other.section, ProgramSection::RawTracePoint), "{name}");
    }
    assert!(typed.programs.keys().all(|name| object.programs.contains_key(name)));
    let maps = |object: &Object| object.maps.keys().cloned().collect::<BTreeSet<String>>();
    assert_eq!(maps(&typed), maps(&object));
    let readers = |object: &Object| {
        let helpers =
            [bpf_func_id::BPF_FUNC_probe_read_kernel as i32, bpf_func_id::BPF_FUNC_probe_read_kernel_str as i32];
        let call =
            |it: &bpf_insn| it.code == (BPF_JMP | BPF_CALL) as u8 && it.src_reg() == 0 && helpers.contains(&it.imm);
        object.functions.values().flat_map(|it| &it.instructions).filter(|it| call(it)).count()
    };
    assert!(readers(&object) > 0);
    assert_eq!(readers(&typed), 0);
}

#[test]
fn no_program_is_missing_from_the_catalogue() {
    for program in parsed().programs.keys() {
        let named = probes().any(|probe| probe.program == program)
            || BENCH.contains(&program.as_str())
            || program == pass::PROGRAM;
        assert!(named, "no signal names the program {program}");
    }
}

#[test]
fn names_are_unique_and_fallbacks_come_after_what_they_replace() {
    let names: Vec<_> = probes().map(|probe| probe.program).collect();
    for (index, probe) in probes().enumerate() {
        assert!(!names[..index].contains(&probe.program), "{} twice", probe.program);
        if let Some(first) = probe.instead_of {
            assert!(names[..index].contains(&first), "{} comes before {first}", probe.program);
        }
    }
}

#[test]
fn every_counter_map_has_rows_of_the_size_in_the_catalogue() {
    let object = parsed();
    let check = |name: &str, kind: bpf_map_type, key: u32, value: usize| {
        let map = object.maps.get(name).unwrap_or_else(|| panic!("no map {name}"));
        let made = (map.map_type(), map.key_size(), map.value_size());
        assert_eq!(made, (kind as u32, key, value as u32), "map {name}");
    };
    for counters in SIGNALS.iter().flat_map(|signal| signal.counters).chain([&lost::COUNTERS]) {
        match counters.key {
            Key::Slot => assert!(!object.maps.contains_key(counters.map), "map {}", counters.map),
            Key::Index | Key::Device => check(counters.map, bpf_map_type::BPF_MAP_TYPE_ARRAY, 4, 8 * counters.words),
        }
    }
    check(block::NUMBERS, bpf_map_type::BPF_MAP_TYPE_HASH, 8, 4);
    check(notice::MAP, bpf_map_type::BPF_MAP_TYPE_ARRAY, 4, 8 * notice::word::COUNT);
    check(slot::ROWS, bpf_map_type::BPF_MAP_TYPE_ARRAY, 4, 8 * slot::WORDS);
    check(pass::ROWS, bpf_map_type::BPF_MAP_TYPE_ARRAY, 4, 8 * pass::word::COUNT);
    check(pass::HEAD, bpf_map_type::BPF_MAP_TYPE_ARRAY, 4, 8 * pass::head::COUNT);
    check(slot::MARKS, bpf_map_type::BPF_MAP_TYPE_ARRAY, 4, slot::SHARDS);
    check(slot::CACHE, bpf_map_type::BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8 * slot::cache::COUNT);
}

#[test]
fn the_rings_are_rings_and_the_globals_have_the_size_of_their_types() {
    let object = parsed();
    for ring in [Ring::Critical, Ring::Bulk] {
        let kind = object.maps.get(ring.map()).map(Map::map_type);
        assert_eq!(kind, Some(bpf_map_type::BPF_MAP_TYPE_RINGBUF as u32), "ring {}", ring.map());
    }
    let elf = object::File::parse(OBJECT).unwrap();
    for (name, size) in
        [(layout::GLOBAL, size_of::<layout::Layout>()), (settings::GLOBAL, size_of::<settings::Settings>())]
    {
        let symbol = elf.symbols().find(|symbol| symbol.name() == Ok(name)).unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(symbol.size(), size as u64, "{name}");
        let section = elf.section_by_index(symbol.section_index().unwrap()).unwrap();
        let read_only = section.name().unwrap().starts_with(".rodata");
        assert!(read_only, "{name} is in {:?}: the verifier would not know its value", section.name());
    }
}

#[test]
fn records_have_the_size_of_their_types_and_distinct_kinds() {
    let records: Vec<_> = SIGNALS.iter().filter_map(|signal| signal.record).collect();
    for (index, record) in records.iter().enumerate() {
        let (size, ring) = match record.kind {
            Kind::OomKill => (size_of::<oom::Victim>(), Ring::Critical),
            Kind::CgroupChange => (size_of::<cgroup::Change>() - cgroup::PATH, Ring::Critical),
            Kind::ReclaimStall => (size_of::<reclaim::Stall>(), Ring::Bulk),
            Kind::CompactionStall => (size_of::<compaction::Stall>(), Ring::Bulk),
            Kind::BlockIo => (size_of::<block::Io>(), Ring::Bulk),
            Kind::SignalSent => (size_of::<kill::Sent>(), Ring::Bulk),
            Kind::AllocationRefused => (size_of::<transfer::Refusal>(), Ring::Bulk),
        };
        assert_eq!((record.size, record.ring), (size, ring), "{:?}", record.kind);
        assert_eq!(Kind::from_u32(record.kind as u32), Some(record.kind));
        assert!(records[..index].iter().all(|other| other.kind != record.kind), "{:?} twice", record.kind);
    }
}
